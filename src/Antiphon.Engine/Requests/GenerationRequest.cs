namespace Antiphon.Engine;

/// <summary>
/// What a caller asks of the engine: a prompt in tokens, and how to continue it. Immutable once submitted; <see cref="InferenceEngine.Submit"/>
/// checks every field and refuses the whole request with an <see cref="InvalidRequestException"/> that names the field.
/// </summary>
public sealed record GenerationRequest
{
    /// <summary>Largest <see cref="N"/>.</summary>
    public const int MaximumN = 16;

    /// <summary>Largest <see cref="TopLogprobs"/>.</summary>
    public const int MaximumTopLogprobs = 20;

    /// <summary>Most <see cref="StopStrings"/>.</summary>
    public const int MaximumStopStrings = 16;

    /// <summary>Longest stop string, in UTF-16 units.</summary>
    public const int MaximumStopLength = 1024;

    /// <summary>Most <see cref="StopTokens"/>.</summary>
    public const int MaximumStopTokens = 1024;

    /// <summary>The prompt: at least one token, each in the vocabulary.</summary>
    public required IReadOnlyList<int> PromptTokens { get; init; }

    /// <summary>Most tokens to generate per choice, at least 1; null: until the context is full.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Tokens per choice before a stop token, an end token or a stop string counts; 0 to <see cref="MaxTokens"/>.</summary>
    public int MinTokens { get; init; }

    /// <summary>How tokens are chosen.</summary>
    public SamplingOptions Sampling { get; init; } = SamplingOptions.Default;

    /// <summary>Tokens that end a choice, beside the vocabulary's end tokens. Their text is not part of the answer.</summary>
    public IReadOnlyList<int> StopTokens { get; init; } = [];

    /// <summary>Texts that end a choice. Neither they nor anything behind them is part of the answer, wherever the token borders are.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>Whether the vocabulary's end tokens do not end a choice.</summary>
    public bool IgnoreEos { get; init; }

    /// <summary>Number of independent answers, 1 to <see cref="MaximumN"/>.</summary>
    public int N { get; init; } = 1;

    /// <summary>Seed of the random draws. The same request with the same seed gives the same answer, whatever runs beside it; null: one is drawn, see <see cref="Generation.Seed"/>.</summary>
    public long? Seed { get; init; }

    /// <summary>Whether each token comes with its log-probability under the raw logits: before bias, mask, penalties and temperature.</summary>
    public bool Logprobs { get; init; }

    /// <summary>Number of most likely tokens to report with each token, 0 to <see cref="MaximumTopLogprobs"/>; needs <see cref="Logprobs"/> or <see cref="PromptLogprobs"/>.</summary>
    public int TopLogprobs { get; init; }

    /// <summary>Whether the log-probabilities of the prompt's own tokens are wanted (<see cref="Generation.PromptLogprobs"/>). Such a prompt is always computed in full.</summary>
    public bool PromptLogprobs { get; init; }

    /// <summary>Rank for the <c>priority</c> policy: lower goes first.</summary>
    public int Priority { get; init; }

    /// <summary>Requests share cached prefixes only with requests of the same salt; null is a salt of its own, shared by all that give none.</summary>
    public string? CacheSalt { get; init; }

    /// <summary>Whose the prefixes are that the request leaves in the cache, for <see cref="EngineOptions.PrefixShare"/>; null: one owner for all requests that name none.</summary>
    public string? CacheOwner { get; init; }

    /// <summary>Whether text is wanted. Without it no decoder runs and no string is made; stop strings need it.</summary>
    public bool WantText { get; init; } = true;

    /// <summary>Whether control tokens are left out of the text.</summary>
    public bool SkipSpecialTokens { get; init; } = true;

    /// <summary>Makes the rule that says which tokens a choice (by index) may take next: a grammar, a schema; null: every token. Called on the engine thread.</summary>
    public Func<int, ILogitsMask>? CreateMask { get; init; }
}
