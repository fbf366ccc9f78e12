using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>The weights of a model in the forms that the forward pass reads.</summary>
internal sealed unsafe class ModelWeights
{
    public required WeightMatrix Embeddings { get; init; }

    public required WeightMatrix? Positions { get; init; }

    public required NormWeights? EmbeddingNorm { get; init; }

    public required LayerWeights[] Layers { get; init; }

    public required NormWeights FinalNorm { get; init; }

    /// <summary>Null when the spec has none.</summary>
    public required WeightMatrix? Head { get; init; }

    public required float* HeadBias { get; init; }
}

/// <summary>A norm with its weights; pointers are null where the spec has none.</summary>
internal sealed unsafe class NormWeights
{
    public required NormSpec Spec { get; init; }

    public required float* Weight { get; init; }

    public required float* Bias { get; init; }

    public required int Length { get; init; }
}

/// <summary>A linear layer; the bias is null where there is none.</summary>
internal sealed unsafe class Linear(WeightMatrix weight, float* bias)
{
    public WeightMatrix Weight { get; } = weight;

    public float* Bias { get; } = bias;
}

/// <summary>The weights of one layer. Norms are null where the placement has none.</summary>
internal sealed class LayerWeights
{
    public required LayerSpec Spec { get; init; }

    public required NormWeights? MixerNorm { get; init; }

    public required NormWeights? MixerPostNorm { get; init; }

    public required NormWeights? FeedForwardNorm { get; init; }

    public required NormWeights? FeedForwardPostNorm { get; init; }

    public required MixerWeights? Mixer { get; init; }

    public required FeedForwardWeights? FeedForward { get; init; }
}

internal abstract class MixerWeights;

internal sealed unsafe class AttentionWeights : MixerWeights
{
    public required Linear Query { get; init; }

    public required Linear Key { get; init; }

    public required Linear Value { get; init; }

    public required Linear Output { get; init; }

    public required NormWeights? QueryNorm { get; init; }

    public required NormWeights? KeyNorm { get; init; }

    public required float* Sinks { get; init; }
}

internal sealed unsafe class LatentAttentionWeights : MixerWeights
{
    /// <summary>Hidden values to queries, where queries are not compressed; else to the compressed query.</summary>
    public required Linear QueryDown { get; init; }

    public required NormWeights? QueryNorm { get; init; }

    public required Linear? QueryUp { get; init; }

    /// <summary>Hidden values to the latent vector and the shared rotated key.</summary>
    public required Linear KeyValueDown { get; init; }

    public required NormWeights LatentNorm { get; init; }

    /// <summary>For each head, [latent, plain]: a plain query part to a query of latent vectors.</summary>
    public required WeightMatrix[] KeyUp { get; init; }

    /// <summary>For each head, [value, latent]: a weighted latent vector to the head's output.</summary>
    public required WeightMatrix[] ValueUp { get; init; }

    public required Linear Output { get; init; }
}

internal sealed unsafe class GatedDeltaNetWeights : MixerWeights
{
    /// <summary>Hidden values to all queries, all keys, all values.</summary>
    public required WeightMatrix QueryKeyValue { get; init; }

    /// <summary>Hidden values to the output gate.</summary>
    public required WeightMatrix Gate { get; init; }

    /// <summary>Hidden values to, for each key head, the update strengths of its value heads and then their decays.</summary>
    public required WeightMatrix StrengthAndDecay { get; init; }

    /// <summary>[taps, channels].</summary>
    public required float* Convolution { get; init; }

    /// <summary>−exp(A) of each value head.</summary>
    public required float* DecayFactor { get; init; }

    public required float* DecayBias { get; init; }

    public required NormWeights OutputNorm { get; init; }

    public required WeightMatrix Output { get; init; }
}

internal abstract class FeedForwardWeights;

internal sealed class DenseWeights : FeedForwardWeights
{
    public required Linear? Gate { get; init; }

    public required Linear Up { get; init; }

    public required Linear Down { get; init; }
}

internal sealed unsafe class MixtureWeights : FeedForwardWeights
{
    public required Linear Router { get; init; }

    public required float* SelectionBias { get; init; }

    public required DenseWeights[] Experts { get; init; }

    public required DenseWeights? Shared { get; init; }

    public required WeightMatrix? SharedGate { get; init; }
}
