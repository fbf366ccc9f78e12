namespace Antiphon.Engine;

/// <summary>Any failure that the engine reports about a request or about itself.</summary>
public class EngineException : Exception
{
    /// <summary>Creates the exception.</summary>
    public EngineException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}

/// <summary>A field of a request, or of the engine's options, has a value that is not allowed.</summary>
public sealed class InvalidRequestException : EngineException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="field">The field's name as declared, for instance <c>MaxTokens</c> or <c>Sampling.TopP</c>.</param>
    /// <param name="message">What is wrong, and what would be right.</param>
    public InvalidRequestException(string field, string message)
        : base($"{field}: {message}") => Field = field;

    /// <summary>The field's name.</summary>
    public string Field { get; }
}

/// <summary>The prompt leaves no room for an answer in the context, or the text of an embedding is longer than that. Nothing is cut or dropped to make it fit.</summary>
public sealed class ContextFullException : EngineException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="promptTokens">Tokens in the prompt.</param>
    /// <param name="contextLength">Tokens that a sequence may have.</param>
    /// <param name="forAnswer">Whether an answer was to follow.</param>
    public ContextFullException(int promptTokens, int contextLength, bool forAnswer = true)
        : base(forAnswer
            ? $"the prompt has {promptTokens} tokens, but the context holds {contextLength}, of which at least one is needed for the answer: shorten the prompt or raise the context length"
            : $"the text has {promptTokens} tokens, but {contextLength} are the most that can be embedded: split the text, or ask for it to be cut")
    {
        PromptTokens = promptTokens;
        ContextLength = contextLength;
    }

    /// <summary>Tokens in the prompt (n_prompt).</summary>
    public int PromptTokens { get; }

    /// <summary>Tokens that a sequence may have (n_ctx).</summary>
    public int ContextLength { get; }
}

/// <summary>As many requests are waiting as may wait. Try again later.</summary>
public sealed class QueueFullException : EngineException
{
    /// <summary>Creates the exception.</summary>
    public QueueFullException(int limit)
        : base($"{limit} requests are waiting, which is the limit: try again later") => Limit = limit;

    /// <summary>The most requests that may wait.</summary>
    public int Limit { get; }
}

/// <summary>The engine takes no requests any more: it drains, was disposed, or failed for good (then <see cref="Exception.InnerException"/> says why).</summary>
public sealed class EngineStoppedException : EngineException
{
    /// <summary>Creates the exception.</summary>
    public EngineStoppedException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}

/// <summary>The forward pass of a step failed; the requests of that step end with this error, others go on.</summary>
public sealed class ForwardFailedException : EngineException
{
    /// <summary>Creates the exception.</summary>
    public ForwardFailedException(Exception innerException)
        : base("the forward pass failed", innerException)
    {
    }
}

/// <summary>Choosing the next token failed for this request alone: not-a-number logits, a mask that forbids every token, a mask or decoder that threw.</summary>
public sealed class DecodingFailedException : EngineException
{
    /// <summary>Creates the exception.</summary>
    public DecodingFailedException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
