using System.Text;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Options;

namespace Antiphon.Server;

/// <summary>
/// <c>GET /openapi.json</c>: the description of all endpoints, which is part of the assembly, with the limits of this server. Tests hold it against the endpoints'
/// metadata, and requests made from it against the endpoints.
/// </summary>
internal sealed class OpenApiDocument
{
    private readonly byte[] document;

    public OpenApiDocument(IOptions<AntiphonServerOptions> options)
    {
        using Stream stream = typeof(OpenApiDocument).Assembly.GetManifestResourceStream("openapi.json")!;
        JsonNode root = JsonNode.Parse(stream)!;
        JsonNode schemas = root["components"]!["schemas"]!;
        schemas["Conversation"]!["properties"]!["messages"]!["maxItems"] = options.Value.MaximumMessages;
        schemas["Conversation"]!["properties"]!["tools"]!["maxItems"] = options.Value.MaximumTools;
        schemas["CompletionRequest"]!["properties"]!["prompt"]!["anyOf"]![2]!["maxItems"] = options.Value.MaximumPrompts;
        document = Encoding.UTF8.GetBytes(root.ToJsonString());
    }

    public static async Task WriteAsync(HttpContext context)
    {
        context.Response.ContentType = "application/json; charset=utf-8";
        await context.Response.Body.WriteAsync(context.RequestServices.GetRequiredService<OpenApiDocument>().document, context.RequestAborted);
    }
}
