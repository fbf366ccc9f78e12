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

    /// <summary>What a failure of the engine looks like to a client.</summary>
    public static ApiException From(EngineException exception) => exception switch
    {
        ContextFullException full => new ApiException(400, "invalid_request_error", full.Message, "messages", "context_length_exceeded")
        {
            Lengths = (full.PromptTokens, full.ContextLength),
        },
        InvalidRequestException invalid => Invalid(FieldNames.FromEngine(invalid.Field), invalid.Message[(invalid.Message.IndexOf(':', StringComparison.Ordinal) + 2)..]),
        QueueFullException => new ApiException(429, "rate_limit_error", "too many requests are waiting: try again later", null, "queue_full") { RetryAfter = 1 },
        EngineStoppedException => new ApiException(503, "service_unavailable", "the model is shutting down or failed: try again later", null, "unavailable") { RetryAfter = 5 },
        _ => new ApiException(500, "server_error", "the request failed inside the engine; others are not affected", null, "engine_error"),
    };
}
