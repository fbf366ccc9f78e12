using System.Diagnostics;
using Antiphon.Conformance.Models;
using Antiphon.Engine;
using Antiphon.Testing;

namespace Antiphon.Conformance.EndToEnd;

/// <summary>How long requests wait for one another. The figures are printed; the asserted bounds leave room for a busy machine.</summary>
[Collection(nameof(ModelRuns))]
public sealed class LatencyTests(ITestOutputHelper output)
{
    private const int LongPrompt = 1500;

    private static readonly bool AllOfIt = Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1";

    [Fact]
    public async Task Short_prompts_and_running_answers_beside_long_prompts()
    {
        await using LanguageModel model = await LoadAsync(prefixCaching: false);
        using var enough = new CancellationTokenSource();

        // Warm: kernels generated, loops compiled.
        await Task.WhenAll(Enumerable.Range(0, 6).Select(i => Submit(model, i, i % 2 == 0 ? 24 : 600, 24).CompleteAsync()));

        List<double> whole = [];
        Task[] longs = [.. Enumerable.Range(0, 2).Select(i => Task.Run(async () =>
        {
            for (int n = 0; !enough.IsCancellationRequested; n++)
            {
                double time = await FirstTokenAsync(Submit(model, 1000 + (100 * i) + n, LongPrompt, 2));
                lock (whole)
                {
                    whole.Add(time);
                }
            }
        }))];
        List<double> between = [];
        Task[] streams = [.. Enumerable.Range(0, 4).Select(i => Task.Run(async () =>
        {
            for (int n = 0; !enough.IsCancellationRequested; n++)
            {
                long last = 0;
                await foreach (GenerationEvent _ in Submit(model, 2000 + (100 * i) + n, 16, 200))
                {
                    long now = Stopwatch.GetTimestamp();
                    if (last != 0)
                    {
                        lock (between)
                        {
                            between.Add(Stopwatch.GetElapsedTime(last, now).TotalMilliseconds);
                        }
                    }

                    last = now;
                }
            }
        }))];

        await Task.Delay(500);
        List<double> first = [];
        List<double> waited = [];
        for (int n = 0; n < (AllOfIt ? 200 : 20); n++)
        {
            long steps = model.Engine.GetStatistics().Steps;
            first.Add(await FirstTokenAsync(Submit(model, 3000 + n, 24, 1)));
            waited.Add(model.Engine.GetStatistics().Steps - steps);
            await Task.Delay(n * 37 % 100);
        }

        await enough.CancelAsync();
        await Task.WhenAll([.. longs, .. streams]);
        first.Sort();
        waited.Sort();
        between.Sort();
        whole.Sort();
        double median = At(between, 0.5);
        output.WriteLine(
            $"with prompts of {LongPrompt} tokens under way all the time and 4 answers running: time to first token of {first.Count} prompts of 24 tokens "
            + $"p50 {At(first, 0.5):f1} ms, p99 {At(first, 0.99):f1} ms; between tokens of the answers ({between.Count}) p50 {median:f1} ms, p99 {At(between, 0.99):f1} ms "
            + $"= {At(between, 0.99) / median:f2} x; steps until the first token p50 {At(waited, 0.5)}, p99 {At(waited, 0.99)}; of the long prompts p50 {At(whole, 0.5):f1} ms");

        // The step under way, with a chunk of a long prompt, and one of its own: counted, so that a busy machine does not matter. Where the test's own threads have to wait for
        // a processor, another step may pass before it has sent its prompt or seen its token.
        Assert.True(At(waited, 0.9) <= 2, $"a tenth of the short prompts waited for {At(waited, 0.9)} steps or more");
        if (AllOfIt)
        {
            Assert.True(At(first, 0.99) <= 2 * At(between, 0.99), "the slowest short prompts took longer than two of the slowest steps");
            Assert.True(At(between, 0.99) <= 2 * median, "the slowest tokens of running answers took more than twice the median");
        }

        // Two steps for a short prompt, and many for a long one.
        Assert.True(At(first, 0.5) < At(whole, 0.5) / 2, $"a short prompt waited {At(first, 0.5):f1} ms, a long one {At(whole, 0.5):f1} ms");
    }

    [Fact]
    public async Task A_shared_prefix_saves_its_share_of_the_time_to_the_first_token()
    {
        const int Length = 1000;
        const int Shared = 900;
        await using LanguageModel model = await LoadAsync(prefixCaching: true);
        await Submit(model, 1, Length, 1).CompleteAsync();
        List<double> cold = [];
        List<double> warm = [];
        for (int round = 0; round < (AllOfIt ? 15 : 3); round++)
        {
            int[] prompt = Prompt(model, 100 + round, Length);
            int[] other = [.. prompt[..Shared], .. Prompt(model, 500 + round, Length)[Shared..]];
            cold.Add(await FirstTokenAsync(Submit(model, prompt, 1)));
            long start = Stopwatch.GetTimestamp();
            GenerationResult second = await Submit(model, other, 1).CompleteAsync();
            warm.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
            Assert.InRange(second.Usage.CachedTokens, Shared - 32, Shared);
        }

        cold.Sort();
        warm.Sort();
        double ratio = At(warm, 0.5) / At(cold, 0.5);
        output.WriteLine($"prompts of {Length} tokens: first token after {At(cold, 0.5):f1} ms cold, {At(warm, 0.5):f1} ms with {Shared} of them cached: {ratio:f3} x");
        Assert.True(ratio < 0.5, $"nine tenths of the prompt were cached, and the first token still took {ratio:f2} of the time");
    }

    private static Task<LanguageModel> LoadAsync(bool prefixCaching) => LanguageModel.LoadAsync(
        SharedMaterial.Path("models", "SmolLM2-135M-Instruct.Q4_1.gguf"),
        new LanguageModelOptions { Precision = Antiphon.Models.MatrixPrecision.Fast, Engine = new EngineOptions { ContextLength = 2048, PrefixCaching = prefixCaching } });

    private static Generation Submit(LanguageModel model, int number, int promptTokens, int tokens) => Submit(model, Prompt(model, number, promptTokens), tokens);

    private static Generation Submit(LanguageModel model, int[] prompt, int tokens) => model.Engine.Submit(new GenerationRequest
    {
        PromptTokens = prompt, MaxTokens = tokens, IgnoreEos = true, Sampling = SamplingOptions.Greedy,
    });

    private static int[] Prompt(LanguageModel model, int number, int length)
    {
        var random = new Random(number);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(1000, model.Engine.VocabularySize - 1000))];
    }

    private static async Task<double> FirstTokenAsync(Generation generation)
    {
        long start = Stopwatch.GetTimestamp();
        double first = 0;
        await foreach (GenerationEvent _ in generation)
        {
            first = first == 0 ? Stopwatch.GetElapsedTime(start).TotalMilliseconds : first;
        }

        return first;
    }

    private static double At(List<double> sorted, double share) => sorted[Math.Min(sorted.Count - 1, (int)Math.Ceiling(share * sorted.Count) - 1)];
}
