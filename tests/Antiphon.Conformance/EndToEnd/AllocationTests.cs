using Antiphon.Conformance.Models;
using Antiphon.Engine;
using Antiphon.Models;
using Antiphon.Testing;

namespace Antiphon.Conformance.EndToEnd;

/// <summary>A steady decode step on a real backend allocates nothing on the managed heap.</summary>
[Collection(nameof(ModelRuns))]
public sealed class AllocationTests
{
    // Token lists and event rings double at 65 and 129 tokens; snapshots of recurrent state take their memory while there are more of them to come.
    private const int From = 70;
    private const int To = 120;

    public static TheoryData<string> Features => FeaturedModels.Names;

    [Theory]
    [InlineData("tales")]
    [InlineData("tales/tales.Q8_0.gguf")]
    [InlineData("SmolLM2-135M-Instruct.Q4_1.gguf")]
    public Task Real_models(string path) => CheckAsync(SharedMaterial.Path(["models", .. path.Split('/')]));

    [Theory]
    [MemberData(nameof(Features))]
    public async Task Small_models(string feature)
    {
        foreach (string folder in FeaturedModels.With(feature))
        {
            await CheckAsync(folder);
        }
    }

    [Theory]
    [InlineData("tales.Q8_0.gguf")]
    public Task Fast_path(string file) => CheckAsync(SharedMaterial.Path("models", "tales", file), MatrixPrecision.Fast);

    private static async Task CheckAsync(string path, MatrixPrecision precision = MatrixPrecision.Exact)
    {
        using LoadedModel model = ModelLoader.Load(path, new ModelLoadOptions { Threads = 2, RecurrentSnapshotBytes = 1 << 16, Precision = precision });
        using var measured = new MeasuredBackend(model.Backend);
        await using var engine = new InferenceEngine(measured, null, new EngineOptions { BlockCount = 64 });
        SamplingOptions sampled = new() { Temperature = 0.8f, TopK = 40, TopP = 0.9f, MinP = 0.01f, RepetitionPenalty = 1.1f, RepetitionWindow = 32 };
        for (int i = 0; i < 4; i++)
        {
            engine.Submit(new GenerationRequest
            {
                PromptTokens = [i + 3], MaxTokens = To + 8, Seed = i, WantText = false, Sampling = i % 2 == 0 ? SamplingOptions.Greedy : sampled,
            });
        }

        measured.Gate.Set();
        await engine.DrainAsync();
        long[] steady = [.. measured.Allocated.Zip(measured.Allocated.Skip(1), (before, after) => after - before).Skip(From).Take(To - From)];
        Assert.Equal(To - From, steady.Length);
        Assert.All(measured.Sizes[From..To], size => Assert.Equal(4, size));
        Assert.All(steady, bytes => Assert.Equal(0, bytes));
    }

    /// <summary>Notes how much the engine's thread had allocated when each step began.</summary>
    private sealed class MeasuredBackend(IBackend inner) : IBackend
    {
        public ManualResetEventSlim Gate { get; } = new();

        public List<long> Allocated { get; } = new(1000);

        public List<int> Sizes { get; } = new(1000);

        public int VocabularySize => inner.VocabularySize;

        public bool HasHead => inner.HasHead;

        public int Width => inner.Width;

        public int ContextLength => inner.ContextLength;

        public long CacheBytesPerToken => inner.CacheBytesPerToken;

        public KvCache CreateCache(int blockSize, int blockCount) => inner.CreateCache(blockSize, blockCount);

        public void Forward(StepBatch batch)
        {
            Gate.Wait();
            Allocated.Add(GC.GetAllocatedBytesForCurrentThread());
            Sizes.Add(batch.Tokens.Length);
            inner.Forward(batch);
        }

        public void Dispose() => Gate.Dispose();
    }
}
