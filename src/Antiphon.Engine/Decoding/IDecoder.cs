using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>
/// A decoding strategy: which tokens a running answer computes in a step, and what follows from their logits. Whatever it proposes is a slice like all
/// others, so every strategy works with batching and the paged cache.
/// </summary>
internal interface IDecoder
{
    /// <summary>The name in configuration.</summary>
    string Name { get; }

    /// <summary>Most tokens that <see cref="Propose"/> adds; so many cache rows are reserved before.</summary>
    int SliceTokens { get; }

    /// <summary>Adds the slice of a choice of which only the last token is pending.</summary>
    /// <returns>The index of the slice.</returns>
    int Propose(Choice choice, StepBatch batch);

    /// <summary>
    /// Reads the logits of a slice: one that was proposed, or the last chunk of a prompt. Takes at least one token by <see cref="Choice.Next"/>, none after the
    /// choice has ended, and commits the rows of the tokens that stay.
    /// </summary>
    void Consume(Choice choice, StepBatch batch, int slice, DecodingContext context);
}

/// <summary>What decoders share in a step.</summary>
internal sealed class DecodingContext(SamplingWorkspace workspace, EngineTelemetry telemetry)
{
    public LogprobReader Logprobs { get; } = new(workspace);

    public EngineTelemetry Telemetry { get; } = telemetry;

    /// <summary>When the forward pass of this step was done, in ticks of the engine's clock.</summary>
    public long Now { get; set; }
}
