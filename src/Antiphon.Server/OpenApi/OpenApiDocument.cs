namespace Antiphon.Server;

/// <summary><c>GET /openapi.json</c>: the description of all endpoints, which is part of the assembly. A test holds it against the endpoints' metadata.</summary>
internal static class OpenApiDocument
{
    private static readonly Lazy<byte[]> Document = new(() =>
    {
        using Stream stream = typeof(OpenApiDocument).Assembly.GetManifestResourceStream("openapi.json")!;
        using var memory = new MemoryStream();
        stream.CopyTo(memory);
        return memory.ToArray();
    });

    public static async Task WriteAsync(HttpContext context)
    {
        context.Response.ContentType = "application/json; charset=utf-8";
        await context.Response.Body.WriteAsync(Document.Value, context.RequestAborted);
    }
}
