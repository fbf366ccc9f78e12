using System.Text.Json;

namespace Antiphon.Server;

/// <summary>Management of models, on a port of its own.</summary>
internal static class AdminEndpoints
{
    /// <summary>Loads a configured model that sleeps, or, with a path, adds one.</summary>
    public static async Task LoadAsync(HttpContext context)
    {
        using JsonDocument body = await JsonBody.ReadAsync(context, 1 << 16);
        var fields = new JsonFields(body.RootElement);
        string id = fields.String("id") ?? throw ApiException.Invalid("id", "is missing");
        if (fields.String("path") is string path)
        {
            if (!OptionsCheck.IsName(id))
            {
                throw ApiException.Invalid("id", OptionsCheck.NameRule);
            }

            await context.Models().AddAsync(new ServedModelOptions { Id = id, Path = path }, context.RequestAborted);
        }
        else
        {
            using ModelLease lease = await context.Models().AcquireAsync(id, context.RequestAborted);
        }

        await ModelEndpoints.ListAsync(context);
    }

    /// <summary>Unloads a model; with <c>"forget": true</c> it is no longer offered.</summary>
    public static async Task UnloadAsync(HttpContext context)
    {
        using JsonDocument body = await JsonBody.ReadAsync(context, 1 << 16);
        var fields = new JsonFields(body.RootElement);
        string id = fields.String("id") ?? throw ApiException.Invalid("id", "is missing");
        await context.Models().UnloadAsync(id, fields.Boolean("forget") ?? false);
        await ModelEndpoints.ListAsync(context);
    }
}
