using Microsoft.Extensions.Options;

namespace Antiphon.Server;

/// <summary>
/// Decides by the matched endpoint's metadata, never by the path, who may pass. What matches no endpoint needs a key, too, so that a stranger
/// learns nothing about the routes.
/// </summary>
internal sealed class AccessMiddleware(RequestDelegate next, ApiKeys keys, IOptions<AntiphonServerOptions> options)
{
    public Task InvokeAsync(HttpContext context)
    {
        Check(context);
        return next(context);
    }

    private void Check(HttpContext context)
    {
        EndpointAccess access = context.GetEndpoint()?.Metadata.GetMetadata<EndpointAccessMetadata>()?.Access ?? EndpointAccess.Key;
        bool onAdminPort = options.Value.AdminPort is int port && context.Connection.LocalPort == port;
        if (access == EndpointAccess.Admin && !onAdminPort)
        {
            access = EndpointAccess.Key;
            context.SetEndpoint(null);
        }

        bool admin = access == EndpointAccess.Admin;
        if (access == EndpointAccess.Public || !(admin ? keys.AdminRequired : keys.Required))
        {
            return;
        }

        string? name = keys.Match(ReadKey(context.Request), admin);
        if (name is null)
        {
            context.Response.Headers.WWWAuthenticate = "Bearer";
            throw new ApiException(401, "authentication_error", "a valid key is needed: send \"Authorization: Bearer KEY\" or \"X-Api-Key: KEY\"", null, "invalid_api_key");
        }

        context.Items[RequestContext.KeyName] = name;
    }

    private static string? ReadKey(HttpRequest request)
    {
        const string Scheme = "Bearer ";
        string? authorization = request.Headers.Authorization;
        if (authorization is not null && authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            return authorization[Scheme.Length..].Trim();
        }

        return request.Headers["X-Api-Key"];
    }
}
