namespace Antiphon.Engine;

/// <summary>What a policy may know of a sequence that runs or waits.</summary>
/// <param name="Order">Order of arrival: rises by one with each choice of each request.</param>
/// <param name="Arrival">When the request came, since the engine started.</param>
/// <param name="Priority">The request's <see cref="GenerationRequest.Priority"/>.</param>
/// <param name="PromptTokens">Tokens of the prompt.</param>
/// <param name="MaxTokens">Most tokens that it may generate.</param>
public readonly record struct SchedulingEntry(long Order, TimeSpan Arrival, int Priority, int PromptTokens, int MaxTokens);

/// <summary>
/// Says who goes first. The order serves twice: sequences are admitted from its front, and when cache blocks run out the running sequence at its end
/// gives way.
/// </summary>
public interface ISchedulingPolicy
{
    /// <summary>The name in configuration.</summary>
    string Name { get; }

    /// <summary>Whether a waiting sequence may displace running ones that come after it, when there is no room for it otherwise.</summary>
    bool PreemptsForAdmission { get; }

    /// <summary>Negative when <paramref name="left"/> goes before <paramref name="right"/>. A total order that does not change while an entry waits or runs.</summary>
    int Compare(in SchedulingEntry left, in SchedulingEntry right);
}
