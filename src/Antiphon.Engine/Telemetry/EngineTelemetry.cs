using System.Diagnostics.Metrics;

namespace Antiphon.Engine;

/// <summary>
/// Counters of an engine, written by its thread and read by any, and the instruments of the meter <c>Antiphon.Engine</c> that show them.
/// Each carries the tag <c>engine</c> with the engine's name.
/// </summary>
internal sealed class EngineTelemetry : IDisposable
{
    public const string MeterName = "Antiphon.Engine";

    private readonly Meter meter;
    private readonly TimeProvider time;
    private readonly Histogram<double> firstToken;
    private readonly Histogram<double> interToken;
    private readonly Histogram<double> queueTime;
    private readonly Histogram<int> stepTokens;

    public EngineTelemetry(EngineOptions options, Func<EngineStatistics> read)
    {
        time = options.TimeProvider;
        meter = new Meter(new MeterOptions(MeterName) { Tags = [new("engine", options.Name)] });
        InstrumentAdvice<double> seconds = new()
        {
            HistogramBucketBoundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
        };
        firstToken = meter.CreateHistogram("antiphon.time_to_first_token", "s", "From arrival to the first token of a choice.", null, seconds);
        interToken = meter.CreateHistogram("antiphon.inter_token_time", "s", "Between two tokens of a choice.", null, seconds);
        queueTime = meter.CreateHistogram("antiphon.queue_time", "s", "From arrival to admission.", null, seconds);
        stepTokens = meter.CreateHistogram<int>("antiphon.step_tokens", "{token}", "Tokens in a step.");
        meter.CreateObservableGauge("antiphon.requests_running", () => read().Running, "{sequence}", "Sequences that run.");
        meter.CreateObservableGauge("antiphon.requests_waiting", () => read().Waiting, "{sequence}", "Sequences that wait.");
        meter.CreateObservableGauge("antiphon.kv_cache_usage", () => read().CacheUsage, "1", "Share of the cache blocks in use.");
        meter.CreateObservableCounter("antiphon.prefix_cache_queries", () => read().PrefixQueryTokens, "{token}", "Prompt tokens looked up in the prefix cache.");
        meter.CreateObservableCounter("antiphon.prefix_cache_hits", () => read().PrefixHitTokens, "{token}", "Prompt tokens found in the prefix cache.");
        meter.CreateObservableCounter("antiphon.prompt_tokens", () => read().PromptTokens, "{token}", "Prompt tokens of admitted requests.");
        meter.CreateObservableCounter("antiphon.generation_tokens", () => read().GeneratedTokens, "{token}", "Tokens generated.");
        meter.CreateObservableCounter("antiphon.preemptions", () => read().Preemptions, "{sequence}", "Sequences that gave way and were computed anew.");
        meter.CreateObservableCounter("antiphon.steps", () => read().Steps, "{step}", "Engine steps.");
        meter.CreateObservableCounter("antiphon.forward_failures", () => read().ForwardFailures, "{step}", "Failed forward passes.");
    }

    // Written by the engine thread only; a torn read cannot happen on 64-bit machines and a late one does no harm.
    public long PrefixQueryTokens;
    public long PrefixHitTokens;
    public long PromptTokens;
    public long GeneratedTokens;
    public long Finished;
    public long Preemptions;
    public long Steps;
    public long ForwardFailures;

    public void CountToken(long now, long since, bool first)
    {
        GeneratedTokens++;
        (first ? firstToken : interToken).Record(time.GetElapsedTime(since, now).TotalSeconds);
    }

    public void CountStep(int tokens)
    {
        Steps++;
        stepTokens.Record(tokens);
    }

    public void CountAdmission(Generation generation, int cached)
    {
        PromptTokens += generation.Prompt.Length;
        PrefixQueryTokens += generation.Prompt.Length;
        PrefixHitTokens += cached;
        queueTime.Record(time.GetElapsedTime(generation.ArrivalTimestamp).TotalSeconds);
    }

    public void Dispose() => meter.Dispose();
}
