namespace Antiphon.Engine;

/// <summary>How the engine runs. Checked by the engine's constructor, which throws an <see cref="InvalidRequestException"/> that names the field.</summary>
public sealed record EngineOptions
{
    /// <summary>The engine's name in metrics; default <c>default</c>.</summary>
    public string Name { get; init; } = "default";

    /// <summary>Tokens in a cache block, 1 to 1024; default 16.</summary>
    public int BlockSize { get; init; } = 16;

    /// <summary>Blocks in the pool; null: from <see cref="CacheBytes"/>.</summary>
    public int? BlockCount { get; init; }

    /// <summary>
    /// Bytes of the pool; null: automatic, which is what <see cref="MaxSequences"/> sequences of full context length would take, at most half of the
    /// free memory, and at least one sequence of full length if three quarters of the free memory hold that.
    /// </summary>
    public long? CacheBytes { get; init; }

    /// <summary>Longest sequence, prompt and answer, in tokens; null: as long as the model and the pool allow.</summary>
    public int? ContextLength { get; init; }

    /// <summary>Most sequences that run at once (each choice of a request is one); default 32.</summary>
    public int MaxSequences { get; init; } = 32;

    /// <summary>Most tokens in one step, at least <see cref="MaxSequences"/>; default 512. Running answers go first, prompts share the rest.</summary>
    public int TokenBudget { get; init; } = 512;

    /// <summary>Most prompt tokens, over all prompts, in a step that also carries running answers; default 256. <see cref="PrefillTime"/> usually allows fewer.</summary>
    public int PrefillChunk { get; init; } = 256;

    /// <summary>
    /// About how long prompts may hold up a step that also carries running answers, which bounds the time between their tokens; default 50 ms. The engine learns what a token
    /// costs and cuts prompts accordingly; steps without running answers may take five times as long, up to <see cref="TokenBudget"/>. Where a step of answers alone takes
    /// longer than this, prompts may double it. Zero: no clock, only <see cref="PrefillChunk"/> and <see cref="TokenBudget"/>. The size of chunks changes no answer.
    /// </summary>
    public TimeSpan PrefillTime { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>Most requests that may wait beside those that run; default 1024. More are refused with <see cref="QueueFullException"/>.</summary>
    public int QueueLimit { get; init; } = 1024;

    /// <summary>Whether requests share the cache blocks of equal prefixes; default true. When false, only choices of one request share.</summary>
    public bool PrefixCaching { get; init; } = true;

    /// <summary>
    /// The share of the pool, above 0 and at most 1, up to which past prefixes of one <see cref="GenerationRequest.CacheOwner"/> are dropped by age alone; default 0.5.
    /// When room is needed, those of owners with more go first, so that one caller's many prompts do not push out everybody else's. What nobody else needs, all may use.
    /// </summary>
    public double PrefixShare { get; init; } = 0.5;

    /// <summary>Who goes first; default <see cref="FcfsPolicy"/>.</summary>
    public ISchedulingPolicy Policy { get; init; } = new FcfsPolicy();

    /// <summary>After how many failed forward passes in a row the engine gives up and refuses further requests; default 3.</summary>
    public int MaxForwardFailures { get; init; } = 3;

    /// <summary>The clock of arrivals and latencies.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;
}
