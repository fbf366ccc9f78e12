using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>What a token does alone in a layer.</summary>
public abstract record FeedForwardSpec;

/// <summary>A dense feed-forward part: down(act(gate x) · up x), or down(act(up x)) without a gate.</summary>
/// <param name="Width">Inner values.</param>
/// <param name="Activation">The activation.</param>
/// <param name="Gated">Whether there is a gate.</param>
/// <param name="Bias">Whether its projections have biases.</param>
public sealed record DenseSpec(int Width, Activation Activation, bool Gated = true, bool Bias = false) : FeedForwardSpec;

/// <summary>A mixture of experts, with or without an expert that every token passes.</summary>
public sealed record MixtureSpec : FeedForwardSpec
{
    /// <summary>Number of experts.</summary>
    public required int Experts { get; init; }

    /// <summary>Experts that a token uses.</summary>
    public required int Used { get; init; }

    /// <summary>Inner values of an expert.</summary>
    public required int ExpertWidth { get; init; }

    /// <summary>The experts' activation; experts are gated.</summary>
    public required Activation Activation { get; init; }

    /// <summary>How experts are chosen and weighted.</summary>
    public required RouterSpec Router { get; init; }

    /// <summary>
    /// Where above 0, experts have gpt-oss's gate instead: (up + 1) · gate · sigmoid(<see cref="GateAlpha"/> gate), the gate at most this,
    /// up within plus and minus this.
    /// </summary>
    public float GateLimit { get; init; }

    /// <summary>See <see cref="GateLimit"/>.</summary>
    public float GateAlpha { get; init; }

    /// <summary>Whether the experts' projections have biases.</summary>
    public bool ExpertBias { get; init; }

    /// <summary>Inner values of the expert that every token passes; 0 for none.</summary>
    public int SharedWidth { get; init; }

    /// <summary>Whether the sigmoid of a learned product weighs the shared expert.</summary>
    public bool SharedGate { get; init; }
}

/// <summary>How a mixture chooses and weighs experts.</summary>
public sealed record RouterSpec
{
    /// <summary>From logits to scores.</summary>
    public required RouterScore Score { get; init; }

    /// <summary>Whether the weights of the chosen experts are divided by their sum.</summary>
    public bool Normalize { get; init; }

    /// <summary>Added to that sum.</summary>
    public float NormalizeEpsilon { get; init; }

    /// <summary>Factor on weights.</summary>
    public float Factor { get; init; } = 1;

    /// <summary>Whether the router's projection has a bias.</summary>
    public bool Bias { get; init; }

    /// <summary>Whether a learned bias is added to scores for the choice, not for the weights.</summary>
    public bool SelectionBias { get; init; }

    /// <summary>Groups of experts, of which only the best are looked at; 1 for no grouping.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>Groups that are looked at.</summary>
    public int GroupsUsed { get; init; } = 1;

    /// <summary>Whether a group's score is the sum of its two best scores (DeepSeek-V3), else its best (V2).</summary>
    public bool GroupByTwoBest { get; init; }
}

/// <summary>From router logits to scores.</summary>
public enum RouterScore
{
    /// <summary>Softmax over all experts.</summary>
    Softmax,

    /// <summary>Sigmoid of each logit.</summary>
    Sigmoid,

    /// <summary>The logits choose; the weights are the softmax over the chosen.</summary>
    SoftmaxOfChosen,
}
