using System.Text.Json;

namespace Antiphon.Server;

/// <summary><c>GET /v1/models</c> and <c>GET /v1/models/{model}</c>.</summary>
internal static class ModelEndpoints
{
    /// <summary>Lists what can be asked for.</summary>
    public static Task ListAsync(HttpContext context) =>
        JsonBody.WriteAsync(context, 200, context.Models().List(), static (writer, models) =>
        {
            writer.WriteStartObject();
            writer.WriteString("object", "list");
            writer.WriteStartArray("data");
            foreach (ModelStatus model in models)
            {
                Write(writer, model);
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        });

    /// <summary>One model.</summary>
    public static Task GetAsync(HttpContext context)
    {
        string id = (string)context.Request.RouteValues["model"]!;
        ModelStatus status = context.Models().List().FirstOrDefault(model => model.Id == id || model.Aliases.Contains(id))
            ?? throw ModelRegistry.Unknown(id);
        return JsonBody.WriteAsync(context, 200, status, static (writer, model) => Write(writer, model));
    }

    private static void Write(Utf8JsonWriter writer, ModelStatus model)
    {
        writer.WriteStartObject();
        writer.WriteString("id", model.Id);
        writer.WriteString("object", "model");
        writer.WriteNumber("created", model.Created.ToUnixTimeSeconds());
        writer.WriteString("owned_by", "antiphon");
        writer.WriteString("status", model.State);
        if (model.ContextLength is int length)
        {
            writer.WriteNumber("max_model_len", length);
        }

        writer.WriteStartArray("aliases");
        foreach (string alias in model.Aliases)
        {
            writer.WriteStringValue(alias);
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    }
}
