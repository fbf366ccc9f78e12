namespace Antiphon.Engine;

/// <summary>What state the engine is in.</summary>
public enum EngineState
{
    /// <summary>Takes requests.</summary>
    Running,

    /// <summary>Finishes what it has and takes nothing new.</summary>
    Draining,

    /// <summary>Stopped.</summary>
    Stopped,

    /// <summary>Failed for good: see <see cref="InferenceEngine.Fault"/>.</summary>
    Faulted,
}

/// <summary>A snapshot of what the engine does and did. Counters only rise.</summary>
public sealed record EngineStatistics
{
    /// <summary>The engine's state.</summary>
    public required EngineState State { get; init; }

    /// <summary>Sequences that run.</summary>
    public required int Running { get; init; }

    /// <summary>Sequences that wait, preempted ones included.</summary>
    public required int Waiting { get; init; }

    /// <summary>Cache blocks in the pool.</summary>
    public required int CacheBlocks { get; init; }

    /// <summary>Cache blocks that sequences use; the others are free or hold prefixes that can be dropped at once.</summary>
    public required int CacheBlocksUsed { get; init; }

    /// <summary>Cache blocks that hold prefixes nobody uses at the moment.</summary>
    public required int CacheBlocksIdle { get; init; }

    /// <summary>Share of the pool in use, 0 to 1.</summary>
    public double CacheUsage => (double)CacheBlocksUsed / CacheBlocks;

    /// <summary>Prompt tokens for which the prefix cache was asked.</summary>
    public required long PrefixQueryTokens { get; init; }

    /// <summary>Prompt tokens that it had.</summary>
    public required long PrefixHitTokens { get; init; }

    /// <summary>Cached blocks dropped to make room.</summary>
    public required long PrefixEvictions { get; init; }

    /// <summary>Prompt tokens of admitted requests.</summary>
    public required long PromptTokens { get; init; }

    /// <summary>Tokens generated.</summary>
    public required long GeneratedTokens { get; init; }

    /// <summary>Requests that ended, however.</summary>
    public required long Finished { get; init; }

    /// <summary>Sequences that had to give way and be computed anew.</summary>
    public required long Preemptions { get; init; }

    /// <summary>Steps done.</summary>
    public required long Steps { get; init; }

    /// <summary>Forward passes that failed.</summary>
    public required long ForwardFailures { get; init; }

    /// <summary>How long the current step has been running; zero between steps. A watchdog compares it with what a step may take.</summary>
    public required TimeSpan StepAge { get; init; }
}
