using System.Diagnostics;
using System.Globalization;
using Antiphon.Engine;
using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Benchmarks;

/// <summary>What the ways to choose a token cost: tokens per second of streams that run together, each way in turn.</summary>
internal static class SamplingTimes
{
    private const int Tokens = 24;

    private static readonly (string Name, SamplingOptions Options)[] ways =
    [
        ("greedy", SamplingOptions.Greedy),
        ("temperature 1", SamplingOptions.Default),
        ("temperature 0.8, top-k 40", new() { Temperature = 0.8f, TopK = 40 }),
        ("temperature 0.8, top-p 0.95", new() { Temperature = 0.8f, TopP = 0.95f }),
        ("temperature 0.8, min-p 0.05", new() { Temperature = 0.8f, MinP = 0.05f }),
    ];

    public static async Task<int> PrintAsync(string[] args)
    {
        int threads = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : CpuFeatures.Current.Cores;
        int rounds = args.Length > 2 ? int.Parse(args[2], CultureInfo.InvariantCulture) : 5;
        int streams = args.Length > 3 ? int.Parse(args[3], CultureInfo.InvariantCulture) : 16;
        using ComputeTeam team = new(threads);
        using LoadedModel model = ModelLoader.Load(args[0], new ModelLoadOptions { Team = team, Precision = MatrixPrecision.Fast });
        await using InferenceEngine engine = new(model.Backend, null, new EngineOptions { MaxSequences = streams, PrefixCaching = false, ContextLength = 256 });
        var speeds = ways.ToDictionary(way => way.Name, _ => new List<double>());
        for (int round = -1; round < rounds; round++)
        {
            foreach ((string name, SamplingOptions options) in ways)
            {
                long start = Stopwatch.GetTimestamp();
                await Task.WhenAll(Enumerable.Range(0, streams).Select(i => engine.Submit(new GenerationRequest
                {
                    PromptTokens = [i + 5], MaxTokens = Tokens, IgnoreEos = true, Sampling = options, Seed = i,
                }).CompleteAsync()));
                if (round >= 0)
                {
                    speeds[name].Add(streams * Tokens / Stopwatch.GetElapsedTime(start).TotalSeconds);
                }
            }
        }

        Console.WriteLine($"{args[0]}, {model.Backend.VocabularySize} tokens of vocabulary, {streams} streams, {threads} threads, tokens/s, medians of {rounds} rounds");
        foreach ((string name, List<double> all) in speeds)
        {
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name,-30} {Statistics.Median(all):F1}"));
        }

        return 0;
    }
}
