using Antiphon.Conformance.Models;
using Antiphon.Engine;
using Antiphon.Models;
using Antiphon.Testing;

namespace Antiphon.Conformance.EndToEnd;

/// <summary>
/// The logits of every token of every request are, to the bit, those that the request gives alone: whatever runs beside it, however its prompt is cut, whether its
/// prefix is in the cache, and when it had to give way and was computed anew.
/// </summary>
[Collection(nameof(ModelRuns))]
public sealed class InvarianceTests(ITestOutputHelper output)
{
    private static readonly int[] Chunks = [1, 7, 16, 512];

    private static bool IsLong => Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1";

    public static TheoryData<string> Features => FeaturedModels.Names;

    [Theory]
    [MemberData(nameof(Features))]
    public async Task Small_models(string feature)
    {
        foreach (string folder in FeaturedModels.With(feature))
        {
            await CheckAsync(folder, 33, longest: 60, answer: 12);
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("tales.Q8_0.gguf")]
    public Task Tales(string file) => CheckAsync(Path.Combine(SharedMaterial.Path("models", "tales"), file), 33, longest: 60, answer: 12);

    /// <summary>The fast path, with its attention in tiles and its bfloat16 cache.</summary>
    [Theory]
    [InlineData("tales", 60)]
    [InlineData("tales/tales.Q8_0.gguf", 60)]
    [InlineData("SmolLM2-135M-Instruct.Q4_1.gguf", 60)]
    public Task Fast_path(string file, int longest) =>
        CheckAsync(Path.Combine(SharedMaterial.Path("models"), file), IsLong ? 33 : 9, longest, answer: IsLong ? 12 : 9, MatrixPrecision.Fast);

    [Fact]
    public Task SmolLm2() => CheckAsync(SharedMaterial.Path("models", "SmolLM2-135M-Instruct.Q4_1.gguf"), IsLong ? 33 : 9, longest: 20, answer: IsLong ? 12 : 9);

    private async Task CheckAsync(string path, int count, int longest, int answer, MatrixPrecision precision = MatrixPrecision.Exact)
    {
        using LoadedModel model = ModelLoader.Load(path, new ModelLoadOptions { Threads = 2, Precision = precision });
        GenerationRequest[] requests = Create(model.Backend.VocabularySize, count, longest, answer);
        Run[] alone = await AloneAsync(model, requests, 512);
        foreach (int chunk in Chunks[..^1])
        {
            AssertSame(alone, await AloneAsync(model, requests, chunk), $"alone, in chunks of {chunk}");
        }

        long preemptions = 0;
        foreach (int beside in new[] { 8, 32 }.Where(n => n < count))
        {
            foreach (int chunk in Chunks)
            {
                await using var engine = new InferenceEngine(model.Backend, null, new EngineOptions { MaxSequences = beside + 1, BlockCount = 33 * 8, PrefillChunk = chunk, PrefillTime = TimeSpan.Zero });
                string what = $"beside {beside}, in chunks of {chunk}";
                AssertSame(alone, await TogetherAsync(engine, requests), what);
                long cold = engine.GetStatistics().PrefixHitTokens;
                AssertSame(alone, await TogetherAsync(engine, requests), what + ", with a warm cache");
                EngineStatistics statistics = engine.GetStatistics();
                Assert.True(statistics.PrefixHitTokens > cold, "the cache was not used");
                Assert.Equal((0, 0, 0), (statistics.Running, statistics.Waiting, statistics.CacheBlocksUsed));
            }

            int blocks = ((longest + answer + 3) / 4) + 3;
            await using var tight = new InferenceEngine(model.Backend, null, new EngineOptions { MaxSequences = beside + 1, BlockSize = 4, BlockCount = blocks });
            AssertSame(alone, await TogetherAsync(tight, requests), $"beside {beside}, in {blocks} blocks");
            Assert.Equal(0, tight.GetStatistics().CacheBlocksUsed);
            preemptions += tight.GetStatistics().Preemptions;
        }

        output.WriteLine($"{path}: {alone.Sum(r => r.Hashes.Count)} rows of logits, {preemptions} preemptions");
        Assert.True(preemptions > 0, "nothing was preempted");
    }

    private static GenerationRequest[] Create(int vocabulary, int count, int longest, int answer)
    {
        var random = new Random(7);
        int[] common = [.. Enumerable.Range(0, longest).Select(_ => random.Next(vocabulary))];
        return
        [
            .. Enumerable.Range(0, count).Select(i =>
            {
                int length = i % 4 == 0 ? longest - (i % 3) : random.Next(1, longest);
                int shared = i % 2 == 0 ? random.Next(length) : 0;
                return new GenerationRequest
                {
                    PromptTokens = [.. common[..shared], .. Enumerable.Range(shared, length - shared).Select(_ => random.Next(vocabulary))],
                    MaxTokens = answer,
                    Seed = i,
                    Sampling = i % 3 == 0 ? SamplingOptions.Greedy : new SamplingOptions { Temperature = 1.2f, TopP = i % 3 == 1 ? 0.9f : 1 },
                    Logprobs = true,
                    TopLogprobs = 5,
                    PromptLogprobs = i % 8 == 5,
                };
            }),
        ];
    }

    private static async Task<Run[]> AloneAsync(LoadedModel model, GenerationRequest[] requests, int chunk)
    {
        await using var engine = new InferenceEngine(
            model.Backend, null, new EngineOptions { MaxSequences = 1, BlockCount = 32, TokenBudget = chunk, PrefillChunk = chunk, PrefillTime = TimeSpan.Zero, PrefixCaching = false });
        var runs = new Run[requests.Length];
        for (int i = 0; i < runs.Length; i++)
        {
            runs[i] = await RunAsync(engine, requests[i]);
        }

        return runs;
    }

    private static Task<Run[]> TogetherAsync(InferenceEngine engine, GenerationRequest[] requests) => Task.WhenAll(requests.Select(r => RunAsync(engine, r)));

    private static async Task<Run> RunAsync(InferenceEngine engine, GenerationRequest request)
    {
        var witness = new LogitsWitness();
        return new Run(await engine.Submit(request with { CreateMask = _ => witness }).CompleteAsync(), witness.Hashes);
    }

    private static void AssertSame(Run[] expected, Run[] actual, string what)
    {
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(expected[i].Hashes.SequenceEqual(actual[i].Hashes), $"request {i}, {what}: other logits from token {Difference(expected[i].Hashes, actual[i].Hashes)} on");
            Assert.Equal(expected[i].Result.Choices[0].Tokens, actual[i].Result.Choices[0].Tokens);
            Assert.Equal(Bits(expected[i].Result.Choices[0].Logprobs), Bits(actual[i].Result.Choices[0].Logprobs));
            Assert.Equal(Bits(expected[i].Result.PromptLogprobs), Bits(actual[i].Result.PromptLogprobs));
        }
    }

    private static int Difference(List<ulong> one, List<ulong> other) => one.Zip(other).TakeWhile(p => p.First == p.Second).Count();

    private static IEnumerable<(int, int)> Bits(IEnumerable<PositionLogprobs?> positions) =>
        positions.Where(p => p is not null).SelectMany(p => p!.Top.Prepend(p.Chosen)).Select(l => (l.Token, BitConverter.SingleToInt32Bits(l.Logprob)));

    private sealed record Run(GenerationResult Result, List<ulong> Hashes);
}
