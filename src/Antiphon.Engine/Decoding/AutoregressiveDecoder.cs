using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>One token a step: run the last token, choose the next.</summary>
internal sealed class AutoregressiveDecoder : IDecoder
{
    public string Name => "autoregressive";

    public int SliceTokens => 1;

    public int Propose(Choice choice, StepBatch batch) => batch.Add(choice.Sequence!, choice.Tokens[^1..], LogitsWanted.Last);

    public void Consume(Choice choice, StepBatch batch, int slice, DecodingContext context)
    {
        choice.Sequence!.Commit(choice.Sequence.Tentative);
        Slice taken = batch.Slices[slice];
        choice.Next(LogitRow.Of(batch, slice, taken.Wanted == LogitsWanted.All ? taken.Count - 1 : 0), context);
    }
}
