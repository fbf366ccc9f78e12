using Antiphon.Server;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Primitives;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Puts the server's endpoints into an application.</summary>
public static class AntiphonEndpointExtensions
{
    /// <summary>
    /// Adds Host check, access check and error bodies, and maps all endpoints. Call it once, on the application itself: what it adds guards every endpoint
    /// of the application.
    /// </summary>
    public static WebApplication MapAntiphon(this WebApplication app)
    {
        ArgumentNullException.ThrowIfNull(app);
        AntiphonServerOptions options = app.Services.GetRequiredService<IOptions<AntiphonServerOptions>>().Value;
        app.UseMiddleware<ErrorMiddleware>();
        if (!options.AllowedHosts.Contains("*"))
        {
            // Not ASP.NET Core's own filter, which would refuse without a body. Without a Host header (HTTP/1.0) it is no browser that could have been deceived.
            StringSegment[] hosts = [.. options.AllowedHosts];
            app.Use((context, next) => !context.Request.Host.HasValue || HostString.MatchesAny(context.Request.Host.Host, hosts)
                ? next(context)
                : throw new ApiException(400, "invalid_request_error", "the Host header names a host that this server does not answer for", null, "host_not_allowed"));
        }

        app.UseRouting();
        if (options.CorsOrigins.Count > 0)
        {
            app.UseCors(policy => policy.WithOrigins([.. options.CorsOrigins]).AllowAnyHeader().AllowAnyMethod());
        }

        app.UseMiddleware<AccessMiddleware>();
        Map("GET", "/health", EndpointAccess.Public, HealthEndpoints.HealthAsync);
        Map("GET", "/ready", EndpointAccess.Public, HealthEndpoints.ReadyAsync);
        Map("GET", "/openapi.json", EndpointAccess.Public, OpenApiDocument.WriteAsync);
        Map("GET", "/metrics", options.PublicMetrics ? EndpointAccess.Public : EndpointAccess.Key, HealthEndpoints.MetricsAsync);
        Map("GET", "/v1/models", EndpointAccess.Key, ModelEndpoints.ListAsync);
        Map("GET", "/v1/models/{**model}", EndpointAccess.Key, ModelEndpoints.GetAsync);
        Map("POST", "/v1/chat/completions", EndpointAccess.Key, ChatEndpoint.HandleAsync);
        Map("POST", "/v1/completions", EndpointAccess.Key, CompletionEndpoint.HandleAsync);
        Map("POST", "/tokenize", EndpointAccess.Key, TokenEndpoints.TokenizeAsync);
        Map("POST", "/detokenize", EndpointAccess.Key, TokenEndpoints.DetokenizeAsync);
        if (options.AdminPort is not null)
        {
            Map("GET", "/admin/models", EndpointAccess.Admin, ModelEndpoints.ListAsync);
            Map("POST", "/admin/models/load", EndpointAccess.Admin, AdminEndpoints.LoadAsync);
            Map("POST", "/admin/models/unload", EndpointAccess.Admin, AdminEndpoints.UnloadAsync);
        }

        return app;

        void Map(string method, string path, EndpointAccess access, RequestDelegate handler) =>
            app.MapMethods(path, [method], handler).WithMetadata(new EndpointAccessMetadata(access));
    }
}
