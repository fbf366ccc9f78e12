using Antiphon.Engine;

namespace Antiphon.Server;

/// <summary>A request that is answered with an OpenAI error body. Messages are written here, never taken from a library's exception.</summary>
internal sealed class ApiException(int status, string type, string message, string? parameter = null, string? code = null)
    : Exception(message)
{
    /// <summary>The HTTP status.</summary>
    public int Status => status;

    /// <summary>The error's <c>type</c>.</summary>
    public string Type => type;

    /// <summary>The error's <c>param</c>: the field at fault.</summary>
    public string? Parameter => parameter;

    /// <summary>The error's <c>code</c>.</summary>
    public string? Code => code;

    /// <summary>Seconds for <c>Retry-After</c>, if the same request may succeed later.</summary>
    public int? RetryAfter { get; init; }

    /// <summary>Prompt and context length, where the prompt is too long.</summary>
    public (int Prompt, int Context)? Lengths { get; init; }

    /// <summary>A field of the request is wrong.</summary>
    public static ApiException Invalid(string? parameter, string message, string? code = null) =>
        new(StatusCodes.Status400BadRequest, "invalid_request_error", parameter is null ? message : $"{parameter}: {message}", parameter, code);

    /// <summary>What any failure looks like to a client. One that is the server's own goes to the log, too.</summary>
    public static ApiException Of(Exception exception, HttpContext context)
    {
        ApiException error = exception switch
        {
            ApiException own => own,
            EngineException engine => From(engine),
            BadHttpRequestException bad => new ApiException(bad.StatusCode, "invalid_request_error", "the request is malformed or arrived too slowly"),
            _ => new ApiException(500, "server_error", $"the request failed inside the server (id {context.TraceIdentifier})", null, "internal_error"),
        };
        if (error.Status == 500)
        {
            ServerLog.Failed(context.Logger(), exception, context.TraceIdentifier);
        }

        return error;
    }

    /// <summary>What a failure of the engine looks like to a client.</summary>
    /// <param name="exception">The failure.</param>
    /// <param name="promptField">The field from which the prompt came.</param>
    public static ApiException From(EngineException exception, string? promptField = null) => exception switch
    {
        ContextFullException full => new ApiException(400, "invalid_request_error", full.Message, promptField, "context_length_exceeded")
        {
            Lengths = (full.PromptTokens, full.ContextLength),
        },
        InvalidRequestException invalid => Invalid(FieldNames.FromEngine(invalid.Field), invalid.Message[(invalid.Message.IndexOf(':', StringComparison.Ordinal) + 2)..]),
        QueueFullException => new ApiException(429, "rate_limit_error", "too many requests are waiting: try again later", null, "queue_full") { RetryAfter = 1 },
        EngineStoppedException => new ApiException(503, "service_unavailable", "the model is shutting down or failed: try again later", null, "unavailable") { RetryAfter = 5 },
        _ => new ApiException(500, "server_error", "the request failed inside the engine; others are not affected", null, "engine_error"),
    };
}
