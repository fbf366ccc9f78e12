using Microsoft.Extensions.Options;

namespace Antiphon.Server;

/// <summary>What endpoints take from a request's context.</summary>
internal static class RequestContext
{
    /// <summary>Under which the name of the caller's key is kept.</summary>
    public static readonly object KeyName = new();

    public static AntiphonServerOptions ServerOptions(this HttpContext context) =>
        context.RequestServices.GetRequiredService<IOptions<AntiphonServerOptions>>().Value;

    public static ModelRegistry Models(this HttpContext context) => context.RequestServices.GetRequiredService<ModelRegistry>();

    public static ServerTelemetry Telemetry(this HttpContext context) => context.RequestServices.GetRequiredService<ServerTelemetry>();

    public static ILogger Logger(this HttpContext context) => context.RequestServices.GetRequiredService<ILogger<ModelRegistry>>();

    /// <summary>The salt of the prefix cache: the request's own, and the caller's key where callers are kept apart.</summary>
    public static string? CacheSalt(this HttpContext context, string? requested)
    {
        string? key = context.ServerOptions().IsolateCacheByKey ? (string?)context.Items[KeyName] : null;
        return key is null ? requested : $"{key}\n{requested}";
    }
}
