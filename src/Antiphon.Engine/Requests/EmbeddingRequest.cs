using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>A text, in tokens, of which one vector is wanted. It waits, runs and shares steps and cache with all other requests.</summary>
public sealed record EmbeddingRequest
{
    /// <summary>The text: at least one token, each in the vocabulary, at most <see cref="InferenceEngine.ContextLength"/>.</summary>
    public required IReadOnlyList<int> Tokens { get; init; }

    /// <summary>How the tokens' hidden states become one vector.</summary>
    public Pooling Pooling { get; init; }

    /// <summary>Rank for the <c>priority</c> policy: lower goes first.</summary>
    public int Priority { get; init; }

    /// <summary>Requests share cached prefixes only with requests of the same salt; null is a salt of its own, shared by all that give none.</summary>
    public string? CacheSalt { get; init; }
}

/// <summary>A text's vector.</summary>
/// <param name="Vector">The pooled hidden state, behind the model's final norm: <see cref="InferenceEngine.EmbeddingWidth"/> values, of whatever length they make.</param>
/// <param name="Usage">What it took.</param>
public sealed record EmbeddingResult(ReadOnlyMemory<float> Vector, GenerationUsage Usage);
