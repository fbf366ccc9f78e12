using Microsoft.Extensions.Options;

namespace Antiphon.Server;

/// <summary>
/// Decides by the matched endpoint's metadata, never by the path, who may pass. What matches no endpoint needs a key, too, so that a stranger
/// learns nothing about the routes.
/// </summary>
internal sealed class AccessMiddleware(RequestDelegate next, ApiKeys keys, IOptions<AntiphonServerOptions> options, ILogger<AccessMiddleware> logger)
{
    public async Task InvokeAsync(HttpContext context)
    {
        context.Response.Headers["X-Request-Id"] = context.TraceIdentifier;
        try
        {
            Check(context);
            await next(context);
            if (!context.Response.HasStarted && context.Response.StatusCode is 404 or 405 && context.GetEndpoint()?.Metadata.GetMetadata<EndpointAccessMetadata>() is null)
            {
                await JsonBody.WriteErrorAsync(context, context.Response.StatusCode == 405
                    ? new ApiException(405, "invalid_request_error", "this path does not take that method", null, "method_not_allowed")
                    : new ApiException(404, "invalid_request_error", "there is nothing at this path: see /openapi.json", null, "not_found"));
            }
        }
        catch (ApiException exception) when (!context.Response.HasStarted)
        {
            await JsonBody.WriteErrorAsync(context, exception);
        }
        catch (Engine.EngineException exception) when (!context.Response.HasStarted)
        {
            await JsonBody.WriteErrorAsync(context, ApiException.From(exception));
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The client is gone: nobody reads an answer.
        }
        catch (BadHttpRequestException exception) when (!context.Response.HasStarted)
        {
            await JsonBody.WriteErrorAsync(context, new ApiException(exception.StatusCode, "invalid_request_error", "the request is malformed"));
        }
        catch (Exception exception) when (!context.Response.HasStarted)
        {
            ServerLog.Failed(logger, exception, context.TraceIdentifier);
            await JsonBody.WriteErrorAsync(context, new ApiException(500, "server_error", $"the request failed inside the server (id {context.TraceIdentifier})", null, "internal_error"));
        }
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
