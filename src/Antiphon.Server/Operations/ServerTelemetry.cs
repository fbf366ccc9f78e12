using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Antiphon.Engine;

namespace Antiphon.Server;

/// <summary>Counts and times requests: for Prometheus, and as OpenTelemetry meters and traces with the GenAI conventions (status: development).</summary>
internal sealed class ServerTelemetry : IDisposable
{
    /// <summary>The name of the activity source and of the meter.</summary>
    public const string SourceName = "Antiphon.Server";

    private static readonly double[] Seconds = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640];
    private readonly ActivitySource source = new(SourceName);
    private readonly Meter meter = new(SourceName);
    private readonly System.Diagnostics.Metrics.Histogram<double> requestDuration;
    private readonly System.Diagnostics.Metrics.Histogram<double> firstToken;
    private readonly System.Diagnostics.Metrics.Histogram<double> perToken;
    private readonly System.Diagnostics.Metrics.Histogram<long> tokenUsage;
    private readonly ILogger<ServerTelemetry> logger;
    private readonly TimeProvider time;

    public ServerTelemetry(ILogger<ServerTelemetry> logger, TimeProvider time)
    {
        this.logger = logger;
        this.time = time;
        requestDuration = meter.CreateHistogram<double>("gen_ai.server.request.duration", "s", "Time from request to complete answer.");
        firstToken = meter.CreateHistogram<double>("gen_ai.server.time_to_first_token", "s", "Time from request to first token.");
        perToken = meter.CreateHistogram<double>("gen_ai.server.time_per_output_token", "s", "Time between tokens behind the first.");
        tokenUsage = meter.CreateHistogram<long>("gen_ai.client.token.usage", "{token}", "Tokens in and out.");
    }

    public Histogram TimeToFirstToken { get; } = new(Seconds);

    public Histogram InterToken { get; } = new(Seconds);

    public Histogram Duration { get; } = new(Seconds);

    public ConcurrentDictionary<string, long> Finished { get; } = new();

    /// <summary>Starts watching a request.</summary>
    public RequestTelemetry Start(string operation, string model, GenerationRequest request, string requestId)
    {
        Activity? activity = source.StartActivity($"{operation} {model}", ActivityKind.Server);
        activity?.SetTag("gen_ai.operation.name", operation);
        activity?.SetTag("gen_ai.provider.name", "antiphon");
        activity?.SetTag("gen_ai.request.model", model);
        activity?.SetTag("gen_ai.request.max_tokens", request.MaxTokens);
        activity?.SetTag("gen_ai.request.temperature", request.Sampling.Temperature);
        activity?.SetTag("gen_ai.request.choice.count", request.N);
        return new RequestTelemetry(this, activity, operation, model, requestId, time);
    }

    internal void Record(string operation, string model, string requestId, GenerationUsage usage, int? divergedAt, string outcome, double seconds)
    {
        var tags = new TagList { { "gen_ai.operation.name", operation }, { "gen_ai.request.model", model }, { "gen_ai.provider.name", "antiphon" } };
        requestDuration.Record(seconds, tags);
        tokenUsage.Record(usage.PromptTokens, [.. tags, new("gen_ai.token.type", "input")]);
        tokenUsage.Record(usage.CompletionTokens, [.. tags, new("gen_ai.token.type", "output")]);
        Duration.Observe(seconds);
        Finished.AddOrUpdate(outcome, 1, static (_, count) => count + 1);
        ServerLog.Done(logger, operation, requestId, model, usage.PromptTokens, usage.CachedTokens, divergedAt is int token ? $", departs from a cached prompt at token {token}" : string.Empty, usage.CompletionTokens, outcome, seconds);
    }

    internal void RecordFirst(string model, double seconds)
    {
        firstToken.Record(seconds, new KeyValuePair<string, object?>("gen_ai.request.model", model));
        TimeToFirstToken.Observe(seconds);
    }

    internal void RecordNext(string model, double seconds)
    {
        perToken.Record(seconds, new KeyValuePair<string, object?>("gen_ai.request.model", model));
        InterToken.Observe(seconds);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        source.Dispose();
        meter.Dispose();
    }
}

/// <summary>One request under observation.</summary>
internal sealed class RequestTelemetry(ServerTelemetry telemetry, Activity? activity, string operation, string model, string requestId, TimeProvider time) : IDisposable
{
    private readonly long start = time.GetTimestamp();
    private readonly Dictionary<int, long> lastToken = [];
    private GenerationUsage usage;
    private Generation? generation;
    private string outcome = "abort";

    /// <summary>The request was taken.</summary>
    public void Follow(Generation first) => generation = first;

    /// <summary>Takes note of an event.</summary>
    public void Observe(GenerationEvent item)
    {
        usage = item.Usage;
        if (item.Token is not null)
        {
            long now = time.GetTimestamp();
            if (lastToken.TryGetValue(item.Choice, out long last))
            {
                telemetry.RecordNext(model, time.GetElapsedTime(last, now).TotalSeconds);
            }
            else if (lastToken.Count == 0)
            {
                telemetry.RecordFirst(model, time.GetElapsedTime(start, now).TotalSeconds);
            }

            lastToken[item.Choice] = now;
        }

        if (item.FinishReason != FinishReason.None)
        {
            outcome = item.FinishReason switch { FinishReason.Length => "length", FinishReason.Stop => "stop", FinishReason.Error => "error", _ => "abort" };
        }
    }

    /// <summary>The answer went out whole.</summary>
    public void Complete() => activity?.SetStatus(ActivityStatusCode.Ok);

    /// <inheritdoc/>
    public void Dispose()
    {
        activity?.SetTag("gen_ai.usage.input_tokens", usage.PromptTokens);
        activity?.SetTag("gen_ai.usage.output_tokens", usage.CompletionTokens);
        activity?.SetTag("gen_ai.response.finish_reasons", new[] { outcome });
        telemetry.Record(operation, model, requestId, usage, generation?.DivergedAt, outcome, time.GetElapsedTime(start).TotalSeconds);
        activity?.Dispose();
    }
}
