using System.Diagnostics;
using Antiphon.Engine;
using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Benchmarks;

/// <summary>A product that a model computes: weights of a format and size, times so many tokens, so often.</summary>
internal sealed record CapturedShape(TensorFormat Format, int Rows, int Columns, int Tokens, long Calls);

/// <summary>The same requests through the engine, with all of its batching: what it asked of the model, how long it took, and what came out.</summary>
internal sealed class WholeRun
{
    private const int Requests = 12;

    private readonly List<int[]> answers = [];

    /// <summary>How often a step had so many tokens and rows of logits.</summary>
    public Dictionary<(int Tokens, int Logits), int> Steps { get; private set; } = [];

    /// <summary>Median time of all requests.</summary>
    public double Seconds { get; private set; }

    /// <summary>Prompt and answer tokens per second.</summary>
    public double TokensPerSecond { get; private set; }

    /// <summary>Runs the requests, once to warm up.</summary>
    public static async Task<WholeRun> MeasureAsync(LoadedModel model, int rounds)
    {
        WholeRun run = new();
        List<double> times = [];
        long tokens = 0;
        for (int round = -1; round < rounds; round++)
        {
            using CapturingBackend backend = new(model.Backend);

            // No clock decides the size of chunks: every run has the same steps.
            await using InferenceEngine engine = new(
                backend, null, new EngineOptions { MaxSequences = 8, PrefillTime = TimeSpan.Zero, PrefillChunk = 128, PrefixCaching = false, ContextLength = 1024 });
            var random = new Random(7);
            long start = Stopwatch.GetTimestamp();
            Generation[] generations =
            [
                .. Enumerable.Range(0, Requests).Select(i => engine.Submit(new GenerationRequest
                {
                    PromptTokens = [.. Enumerable.Range(0, 4 + random.Next(300)).Select(_ => random.Next(model.Backend.VocabularySize))],
                    MaxTokens = 8 + random.Next(32), IgnoreEos = true, Sampling = SamplingOptions.Greedy,
                })),
            ];
            GenerationResult[] results = await Task.WhenAll(generations.Select(g => g.CompleteAsync()));
            if (round < 0)
            {
                continue;
            }

            times.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            run.Steps = backend.Steps;
            run.answers.Clear();
            run.answers.AddRange(results.Select(r => r.Choices[0].Tokens.ToArray()));
            tokens = results.Sum(r => (long)r.Usage.PromptTokens + r.Usage.CompletionTokens);

            // What the engine asked for is what requests of these lengths need: every prompt token once, and every answer's token but the last.
            long computed = backend.Steps.Sum(s => (long)s.Key.Tokens * s.Value);
            if (computed != tokens - Requests)
            {
                throw new InvalidOperationException($"captured {computed} tokens, the requests need {tokens - Requests}");
            }
        }

        run.Seconds = Statistics.Median(times);
        run.TokensPerSecond = tokens / run.Seconds;
        return run;
    }

    /// <summary>The products of these steps: all matrices of the model with all tokens, the head with the rows of logits.</summary>
    public IReadOnlyList<CapturedShape> Shapes(LoadedModel model)
    {
        Dictionary<(TensorFormat Format, int Rows, int Columns, int Tokens), long> calls = [];
        foreach (TensorView tensor in model.Source.Tensors.Where(t => t.Shape.Count == 2))
        {
            bool table = tensor.Shape[0] == model.Spec.VocabularySize;
            if (table && !model.Spec.TiedHead && tensor.Name.Contains("emb", StringComparison.Ordinal))
            {
                continue;
            }

            foreach (((int tokens, int logits), int count) in Steps)
            {
                int rows = table ? logits : tokens;
                if (rows > 0)
                {
                    var key = (tensor.Format, (int)tensor.Shape[0], (int)tensor.Shape[1], rows);
                    calls[key] = calls.GetValueOrDefault(key) + count;
                }
            }
        }

        return [.. calls.Select(c => new CapturedShape(c.Key.Format, c.Key.Rows, c.Key.Columns, c.Key.Tokens, c.Value))];
    }

    /// <summary>Share of all answers' tokens that come before the first difference to another run's.</summary>
    public double SharedPrefix(WholeRun other) =>
        answers.Zip(other.answers, (a, b) => a.Zip(b).TakeWhile(pair => pair.First == pair.Second).Count()).Sum() / (double)answers.Sum(a => a.Length);

    private sealed class CapturingBackend(IBackend inner) : IBackend
    {
        public Dictionary<(int Tokens, int Logits), int> Steps { get; } = [];

        public int VocabularySize => inner.VocabularySize;

        public bool HasHead => inner.HasHead;

        public int Width => inner.Width;

        public int ContextLength => inner.ContextLength;

        public long CacheBytesPerToken => inner.CacheBytesPerToken;

        public KvCache CreateCache(int blockSize, int blockCount) => inner.CreateCache(blockSize, blockCount);

        public void Forward(StepBatch batch)
        {
            inner.Forward(batch);
            (int, int) kind = (batch.Tokens.Length, batch.LogitsRows);
            Steps[kind] = Steps.GetValueOrDefault(kind) + 1;
        }

        public void Dispose()
        {
            // The model is the caller's.
        }
    }
}
