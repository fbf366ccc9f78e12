namespace Antiphon.Models;

/// <summary>How the tokens of a sequence exchange information in a layer.</summary>
public abstract record MixerSpec;

/// <summary>Softmax attention with separate keys and values, grouped or not.</summary>
public sealed record AttentionSpec : MixerSpec
{
    /// <summary>Number of query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Number of key and value heads; divides <see cref="Heads"/>.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>Values of a query, key or value head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Factor on scores.</summary>
    public required float Scale { get; init; }

    /// <summary>How positions enter; null for none.</summary>
    public PositionSpec? Positions { get; init; }

    /// <summary>Keys that a query sees, its own included; 0 for all before it.</summary>
    public int Window { get; init; }

    /// <summary>c in c · tanh(scores / c); 0 for none.</summary>
    public float SoftCap { get; init; }

    /// <summary>A norm on each head's query and key before positions enter, or null.</summary>
    public NormSpec? QueryKeyNorm { get; init; }

    /// <summary>Whether that norm is taken over all heads together.</summary>
    public bool NormAcrossHeads { get; init; }

    /// <summary>Whether query, key and value projections have biases.</summary>
    public bool QueryKeyValueBias { get; init; }

    /// <summary>Whether the output projection has a bias.</summary>
    public bool OutputBias { get; init; }

    /// <summary>Whether each query head has a learned logit that takes part in the softmax and has no value.</summary>
    public bool Sinks { get; init; }

    /// <summary>Whether the query projection also gives, behind each head's query, a gate whose sigmoid multiplies the head's output.</summary>
    public bool OutputGate { get; init; }

    /// <summary>β in the query factor 1 + β ln(1 + ⌊position / <see cref="TemperatureLength"/>⌋); 0 for none.</summary>
    public float TemperatureBeta { get; init; }

    /// <summary>See <see cref="TemperatureBeta"/>.</summary>
    public int TemperatureLength { get; init; }
}

/// <summary>
/// Multi-head latent attention (DeepSeek-V2): keys and values of all heads come from one latent vector per token, which is what the cache keeps,
/// beside one rotated key part that the heads share.
/// </summary>
public sealed record LatentAttentionSpec : MixerSpec
{
    /// <summary>Number of heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Size of the compressed query; 0 where queries are not compressed.</summary>
    public required int QueryRank { get; init; }

    /// <summary>Size of the latent vector.</summary>
    public required int LatentRank { get; init; }

    /// <summary>Values of a head's query and key without position.</summary>
    public required int PlainSize { get; init; }

    /// <summary>Values of a head's query and key that are rotated.</summary>
    public required int RotatedSize { get; init; }

    /// <summary>Values of a head's output.</summary>
    public required int ValueSize { get; init; }

    /// <summary>Factor on scores.</summary>
    public required float Scale { get; init; }

    /// <summary>The rotation.</summary>
    public required RopeSpec Rope { get; init; }

    /// <summary>ε of the norms on the compressed query and on the latent vector.</summary>
    public required float CompressionNormEpsilon { get; init; }

    /// <summary>Whether the down and output projections have biases.</summary>
    public bool Bias { get; init; }
}

/// <summary>A gated delta net (Qwen3-Next): a recurrence over a matrix per head, behind a short causal convolution.</summary>
public sealed record GatedDeltaNetSpec : MixerSpec
{
    /// <summary>Number of query and key heads.</summary>
    public required int KeyHeads { get; init; }

    /// <summary>Number of value heads; a multiple of <see cref="KeyHeads"/>.</summary>
    public required int ValueHeads { get; init; }

    /// <summary>Values of a query or key head.</summary>
    public required int KeySize { get; init; }

    /// <summary>Values of a value head.</summary>
    public required int ValueSize { get; init; }

    /// <summary>Taps of the convolution, the token's own included.</summary>
    public required int ConvolutionWidth { get; init; }

    /// <summary>The norm on each head's output, before the gate.</summary>
    public required NormSpec OutputNorm { get; init; }

    /// <summary>Values of all query heads, which is also those of all key heads.</summary>
    public int KeyWidth => KeyHeads * KeySize;

    /// <summary>Values of all value heads.</summary>
    public int ValueWidth => ValueHeads * ValueSize;

    /// <summary>Channels of the convolution: queries, keys and values.</summary>
    public int Channels => (2 * KeyWidth) + ValueWidth;
}
