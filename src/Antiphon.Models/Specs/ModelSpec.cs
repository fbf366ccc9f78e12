namespace Antiphon.Models;

/// <summary>
/// A transformer as data: what a backend needs to know beside the weights. An architecture is a mapping from its config to a spec;
/// a backend is an interpreter of specs.
/// </summary>
public sealed record ModelSpec
{
    /// <summary>The architecture's name in its file: <c>qwen3</c>.</summary>
    public required string Architecture { get; init; }

    /// <summary>Number of tokens in the vocabulary, which is the number of logits.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Values of the residual stream per token.</summary>
    public required int Width { get; init; }

    /// <summary>Longest sequence that the model was made for, in tokens.</summary>
    public required int ContextLength { get; init; }

    /// <summary>The layers, first to last.</summary>
    public required IReadOnlyList<LayerSpec> Layers { get; init; }

    /// <summary>The norm before the head.</summary>
    public required NormSpec FinalNorm { get; init; }

    /// <summary>Factor on token embeddings.</summary>
    public float EmbeddingScale { get; init; } = 1;

    /// <summary>A norm on token embeddings, for models that have one.</summary>
    public NormSpec? EmbeddingNorm { get; init; }

    /// <summary>A learned position table that is added to embeddings, or null.</summary>
    public LearnedPositionsSpec? LearnedPositions { get; init; }

    /// <summary>Whether there is a head, which makes logits of hidden states; models made for embeddings alone may have none.</summary>
    public bool HasHead { get; init; } = true;

    /// <summary>Whether the head is the embedding table.</summary>
    public bool TiedHead { get; init; }

    /// <summary>Whether the head has a bias.</summary>
    public bool HeadBias { get; init; }

    /// <summary>Factor on logits, before the soft cap.</summary>
    public float LogitScale { get; init; } = 1;

    /// <summary>c in c · tanh(logits / c); 0 for none.</summary>
    public float LogitSoftCap { get; init; }
}

/// <summary>A learned table of position embeddings.</summary>
/// <param name="Count">Rows of the table.</param>
/// <param name="Offset">Row of position 0.</param>
public sealed record LearnedPositionsSpec(int Count, int Offset);

/// <summary>One layer.</summary>
public sealed record LayerSpec
{
    /// <summary>How tokens exchange information; null for layers that have only a feed-forward part.</summary>
    public required MixerSpec? Mixer { get; init; }

    /// <summary>What each token does alone; null for layers that have only a mixer.</summary>
    public required FeedForwardSpec? FeedForward { get; init; }

    /// <summary>The kind of the layer's norms.</summary>
    public required NormSpec Norm { get; init; }

    /// <summary>Where the norms stand.</summary>
    public NormPlacement Placement { get; init; } = NormPlacement.Pre;

    /// <summary>How the two parts join the residual stream.</summary>
    public ResidualForm Residual { get; init; } = ResidualForm.Sequential;

    /// <summary>Factor on what each part adds to the residual stream.</summary>
    public float ResidualScale { get; init; } = 1;
}

/// <summary>Where the norms of a layer stand.</summary>
public enum NormPlacement
{
    /// <summary>x += part(norm(x)).</summary>
    Pre,

    /// <summary>x += norm(part(x)).</summary>
    Post,

    /// <summary>x += norm(part(norm(x))).</summary>
    Sandwich,
}

/// <summary>How mixer and feed-forward part join the residual stream.</summary>
public enum ResidualForm
{
    /// <summary>The mixer first; the feed-forward part sees its result.</summary>
    Sequential,

    /// <summary>Both read the same normed input and are added together.</summary>
    Parallel,

    /// <summary>Both read the layer's input, each through a norm of its own, and are added together.</summary>
    ParallelTwoNorms,
}

/// <summary>A norm.</summary>
/// <param name="Kind">Its formula.</param>
/// <param name="Epsilon">Added to the mean square or the variance, inside the root.</param>
/// <param name="HasWeight">Whether it multiplies with a learned weight.</param>
/// <param name="HasBias">Whether it adds a learned bias.</param>
public sealed record NormSpec(NormKind Kind, float Epsilon, bool HasWeight = true, bool HasBias = false);

/// <summary>Formulas of norms.</summary>
public enum NormKind
{
    /// <summary>x / sqrt(mean(x²) + ε).</summary>
    Rms,

    /// <summary>(x − mean(x)) / sqrt(var(x) + ε).</summary>
    Layer,
}
