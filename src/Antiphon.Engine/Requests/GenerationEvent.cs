namespace Antiphon.Engine;

/// <summary>Why a choice ended.</summary>
public enum FinishReason
{
    /// <summary>It has not.</summary>
    None,

    /// <summary>A stop token, an end token, a stop string, or a mask that is complete.</summary>
    Stop,

    /// <summary>As many tokens as asked for, or the context is full.</summary>
    Length,

    /// <summary>The caller cancelled.</summary>
    Cancelled,

    /// <summary>It failed: see <see cref="Generation.Error"/>.</summary>
    Error,
}

/// <summary>A token and its log-probability.</summary>
/// <param name="Token">The token.</param>
/// <param name="Logprob">Natural logarithm of its probability under the raw logits: at most 0, at least <see cref="Floor"/>.</param>
public readonly record struct TokenLogprob(int Token, float Logprob)
{
    /// <summary>What stands for minus infinity.</summary>
    public const float Floor = -9999f;
}

/// <summary>Counts of a request so far.</summary>
/// <param name="PromptTokens">Tokens of the prompt.</param>
/// <param name="CachedTokens">Those of them that came from the prefix cache.</param>
/// <param name="CompletionTokens">Generated tokens over all choices, stop tokens included.</param>
public readonly record struct GenerationUsage(int PromptTokens, int CachedTokens, int CompletionTokens)
{
    /// <summary>Prompt and completion.</summary>
    public int TotalTokens => PromptTokens + CompletionTokens;
}

/// <summary>One step of one choice: a token, or the end, or both. Each choice ends with exactly one event that has a <see cref="FinishReason"/>.</summary>
public readonly record struct GenerationEvent
{
    /// <summary>Which choice, from 0.</summary>
    public int Choice { get; init; }

    /// <summary>The token; null when the choice ended without a further one (cancelled, failed).</summary>
    public int? Token { get; init; }

    /// <summary>
    /// Text that is now certain to be part of the answer; empty while it could still become part of a character or of a stop string.
    /// The texts of a choice's events make up its answer.
    /// </summary>
    public string Text { get; init; }

    /// <summary>The token's log-probability, when asked for.</summary>
    public float? Logprob { get; init; }

    /// <summary>The most likely tokens, most likely first, when asked for; else null.</summary>
    public IReadOnlyList<TokenLogprob>? TopLogprobs { get; init; }

    /// <summary>Set in the choice's last event.</summary>
    public FinishReason FinishReason { get; init; }

    /// <summary>The stop string that ended the choice; null when something else did.</summary>
    public string? StopString { get; init; }

    /// <summary>Counts of the whole request up to this event.</summary>
    public GenerationUsage Usage { get; init; }
}

/// <summary>A log-probability with its alternatives.</summary>
/// <param name="Chosen">The token that was taken (of a prompt: that stands there).</param>
/// <param name="Top">The most likely tokens, most likely first.</param>
public sealed record PositionLogprobs(TokenLogprob Chosen, IReadOnlyList<TokenLogprob> Top);

/// <summary>A whole answer.</summary>
/// <param name="Index">Which choice, from 0.</param>
/// <param name="Tokens">Its tokens; a stop token that ended it is the last of them.</param>
/// <param name="Text">Its text.</param>
/// <param name="FinishReason">Why it ended.</param>
/// <param name="StopString">The stop string that ended it, if one did.</param>
/// <param name="Logprobs">One for each token when asked for, else empty.</param>
public sealed record GenerationChoice(
    int Index, IReadOnlyList<int> Tokens, string Text, FinishReason FinishReason, string? StopString, IReadOnlyList<PositionLogprobs> Logprobs);

/// <summary>All answers to a request.</summary>
/// <param name="Choices">In order of their index.</param>
/// <param name="Usage">Final counts.</param>
/// <param name="PromptLogprobs">One for each prompt token when asked for (null for the first, which nothing predicts), else empty.</param>
public sealed record GenerationResult(
    IReadOnlyList<GenerationChoice> Choices, GenerationUsage Usage, IReadOnlyList<PositionLogprobs?> PromptLogprobs);
