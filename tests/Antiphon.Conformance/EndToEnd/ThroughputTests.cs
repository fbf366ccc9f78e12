using System.Diagnostics;
using Antiphon.Conformance.Models;
using Antiphon.Engine;
using Antiphon.Testing;

namespace Antiphon.Conformance.EndToEnd;

/// <summary>What batching gains. Printed; a busy machine must not fail a test.</summary>
[Collection(nameof(ModelRuns))]
public sealed class ThroughputTests(ITestOutputHelper output)
{
    [Fact]
    public async Task Sixteen_streams_beside_one()
    {
        await using LanguageModel model = await LanguageModel.LoadAsync(
            SharedMaterial.Path("models", "SmolLM2-135M-Instruct.Q4_1.gguf"), new LanguageModelOptions { Engine = new EngineOptions { ContextLength = 512 } });

        // Warm: kernels of both batch sizes generated, loops compiled.
        await MeasureAsync(model, 1, 64);
        await MeasureAsync(model, 16, 64);
        double one = await MeasureAsync(model, 1, 64);
        double sixteen = await MeasureAsync(model, 16, 64);
        output.WriteLine($"decode, {Environment.ProcessorCount} threads: one stream {one:f1} tokens/s, sixteen {sixteen:f1} tokens/s, ratio {sixteen / one:f2}");
        Assert.True(sixteen > one, $"sixteen streams ({sixteen:f1} tokens/s) are slower than one ({one:f1})");
    }

    /// <summary>Tokens a second over all streams, from the moment that all have their first token until the first has its last.</summary>
    private static async Task<double> MeasureAsync(LanguageModel model, int streams, int tokens)
    {
        var times = new long[streams][];
        await Task.WhenAll(Enumerable.Range(0, streams).Select(async i =>
        {
            times[i] = new long[tokens];
            int count = 0;
            await foreach (GenerationEvent _ in model.Engine.Submit(new GenerationRequest
            {
                PromptTokens = [.. model.Tokenize($"Story number {i} begins with")], MaxTokens = tokens, IgnoreEos = true, Sampling = SamplingOptions.Greedy,
            }))
            {
                times[i][count++] = Stopwatch.GetTimestamp();
            }
        }));
        long begin = times.Max(t => t[0]);
        long end = times.Min(t => t[^1]);
        int counted = times.Sum(t => t.Count(at => at > begin && at <= end));
        return counted / Stopwatch.GetElapsedTime(begin, end).TotalSeconds;
    }
}
