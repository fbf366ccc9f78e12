using Antiphon.Engine;
using Antiphon.Models;

namespace Antiphon;

/// <summary>How a text becomes a vector. Values that are not allowed are refused with an <see cref="InvalidRequestException"/> that names the field.</summary>
public sealed record EmbeddingOptions
{
    /// <summary>How the hidden states of the text's tokens become one; null: as the model's files say, and their mean where they say nothing.</summary>
    public Pooling? Pooling { get; init; }

    /// <summary>Whether vectors get length 1, so that their dot product is their cosine; default true.</summary>
    public bool Normalize { get; init; } = true;

    /// <summary>
    /// How many values of a vector are kept, from the first on, 1 to <see cref="InferenceEngine.EmbeddingWidth"/>; null: all. For models that were trained for
    /// that (Matryoshka); normalising comes afterwards.
    /// </summary>
    public int? Dimensions { get; init; }

    /// <summary>Whether a text that is too long is cut at its end; else, which is the default, it is refused with a <see cref="ContextFullException"/>.</summary>
    public bool Truncate { get; init; }

    /// <summary>The name of one of the model's own prompts (<see cref="EmbeddingSpec.Prompts"/>: often <c>query</c> and <c>document</c>), put in front of the text; null: the model's default, if it has one.</summary>
    public string? PromptName { get; init; }

    /// <summary>A text to put in front instead; empty for none at all.</summary>
    public string? Prompt { get; init; }

    /// <summary>Rank for the engine's <c>priority</c> policy: lower goes first.</summary>
    public int Priority { get; init; }

    /// <summary>Requests share cached prefixes only with requests of the same salt.</summary>
    public string? CacheSalt { get; init; }
}
