namespace Antiphon.Cli;

/// <summary>A piece of a prompt: requests that carry the same piece in the same place share that text.</summary>
/// <param name="Seed">What the text is made from.</param>
/// <param name="Tokens">Its length in tokens.</param>
internal readonly record struct PromptPart(long Seed, int Tokens);

/// <summary>A request that a load generator is going to send.</summary>
/// <param name="At">Seconds after the start at which it is due; 0 in a closed loop, where it is due when a client is free.</param>
/// <param name="Parts">Its prompt.</param>
/// <param name="OutputTokens">Length of the answer.</param>
internal sealed record PlannedRequest(double At, IReadOnlyList<PromptPart> Parts, int OutputTokens)
{
    /// <summary>Length of the prompt in tokens.</summary>
    public int PromptTokens => Parts.Sum(p => p.Tokens);
}
