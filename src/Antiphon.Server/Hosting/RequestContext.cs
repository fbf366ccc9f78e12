using Antiphon.Engine;
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

    /// <summary>A request as this caller's: prefixes that it leaves in the cache are its own, and kept apart from those of others where that is wanted.</summary>
    public static GenerationRequest Owned(this HttpContext context, GenerationRequest request)
    {
        string? key = (string?)context.Items[KeyName];
        return request with
        {
            CacheOwner = key,
            CacheSalt = key is not null && context.ServerOptions().IsolateCacheByKey ? $"{key}\n{request.CacheSalt}" : request.CacheSalt,
        };
    }
}
