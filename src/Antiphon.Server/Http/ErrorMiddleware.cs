namespace Antiphon.Server;

/// <summary>Gives each request its id, and each failure, of whatever comes behind, OpenAI's error body. The first of all, so that nothing is answered without.</summary>
internal sealed class ErrorMiddleware(RequestDelegate next)
{
    public async Task InvokeAsync(HttpContext context)
    {
        context.Response.Headers["X-Request-Id"] = context.TraceIdentifier;
        try
        {
            await next(context);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            return; // The client is gone: nobody reads an answer.
        }
        catch (Exception exception) when (!context.Response.HasStarted)
        {
            await JsonBody.WriteErrorAsync(context, ApiException.Of(exception, context));
            return;
        }

        if (!context.Response.HasStarted && context.Response.StatusCode >= 400 && context.Response.ContentType is null)
        {
            await JsonBody.WriteErrorAsync(context, Bare(context.Response.StatusCode));
        }
    }

    /// <summary>The body of a refusal by ASP.NET Core itself.</summary>
    private static ApiException Bare(int status) => status switch
    {
        404 => new ApiException(404, "invalid_request_error", "there is nothing at this path: see /openapi.json", null, "not_found"),
        405 => new ApiException(405, "invalid_request_error", "this path does not take that method", null, "method_not_allowed"),
        _ => new ApiException(status, status < 500 ? "invalid_request_error" : "server_error", "the request was refused"),
    };
}
