using Antiphon.Cli.Making;
using Antiphon.Kernels;
using Antiphon.Models;
using Antiphon.Testing;

namespace Antiphon.Cli.Tests;

/// <summary>Models with random weights.</summary>
public sealed class MakeModelTests
{
    public static TheoryData<string> Types => [.. TypeMix.All.Select(m => m.Name)];

    [Theory]
    [MemberData(nameof(Types))]
    public async Task A_model_of_every_type_loads_and_generates(string type)
    {
        using var folder = new TemporaryFolder();
        string file = folder["tiny.gguf"];
        CommandRun made = await CommandRun.Of("make-model", "tiny", "--format", type, "--output", file);
        made.AssertSucceeded();
        Assert.Contains("parameters", made.Out);
        Assert.Equal(["tiny.gguf"], folder.Files);
        await using LanguageModel model = await LanguageModel.LoadAsync(file, cancellationToken: TestContext.Current.CancellationToken);
        int tokens = 0;
        await foreach (AnswerPart part in model.GenerateAsync(
            "the quick fox", new GenerationOptions { MaxTokens = 5, Sampling = new() { Temperature = 0 } }, TestContext.Current.CancellationToken))
        {
            tokens = part.Usage.CompletionTokens;
        }

        Assert.InRange(tokens, 1, 5);
    }

    [Fact]
    public async Task The_same_seed_gives_the_same_bytes()
    {
        using var folder = new TemporaryFolder();
        foreach ((string name, string seed) in new[] { ("a", "5"), ("b", "5"), ("c", "6") })
        {
            (await CommandRun.Of("make-model", "tiny", "--format", "Q4_K_M", "--seed", seed, "-o", folder[name])).AssertSucceeded();
        }

        byte[] first = File.ReadAllBytes(folder["a"]);
        Assert.Equal(first, File.ReadAllBytes(folder["b"]));
        Assert.NotEqual(first, File.ReadAllBytes(folder["c"]));
    }

    [Fact]
    public void Shapes_are_those_of_the_published_models()
    {
        // Parameters as the models' cards state them, the tied head counted once.
        Assert.Equal(596_049_920, Parameters("qwen3-0.6b"));
        Assert.Equal(1_235_814_400 + 32, Parameters("llama-3.2-1b"));
        Assert.Equal(134_515_008, Parameters("smollm2-135m"));

        static long Parameters(string name) =>
            new RandomModel(ModelShape.All.Single(s => s.Name == name), TypeMix.All[0], 0).Parameters;
    }

    [Fact]
    public void Mixed_types_are_chosen_as_llama_cpp_chooses_them()
    {
        TypeMix mix = TypeMix.All.Single(m => m.Name == "Q4_K_M");
        int[] finer = [.. Enumerable.Range(0, 28).Where(layer => mix.OfLayer("ffn_down", layer, 28, 3072) == TensorFormat.Q6_K)];
        Assert.Equal([0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27], finer);
        Assert.All(Enumerable.Range(0, 28), layer => Assert.Equal(TensorFormat.Q4_K, mix.OfLayer("ffn_up", layer, 28, 1024)));
        Assert.Equal(TensorFormat.Q5_0, mix.OfLayer("ffn_up", 3, 30, 576));
        Assert.Equal(TensorFormat.Q6_K, mix.OfEmbeddings(1024));
        Assert.Equal(TensorFormat.Q8_0, mix.OfEmbeddings(576));
        Assert.Equal(TensorFormat.Q6_K, TypeMix.All.Single(m => m.Name == "Q4_0").OfEmbeddings(2048));
        Assert.Equal(TensorFormat.BF16, TypeMix.All.Single(m => m.Name == "BF16").OfEmbeddings(2048));
    }

    [Theory]
    [InlineData(TensorFormat.Q8_0, 0)]
    [InlineData(TensorFormat.Q4_0, 0)]
    [InlineData(TensorFormat.Q4_1, 0)]
    [InlineData(TensorFormat.Q5_0, 0)]
    [InlineData(TensorFormat.Q5_1, 0)]
    [InlineData(TensorFormat.IQ4_NL, 0)]
    [InlineData(TensorFormat.Q4_K, 0)]
    [InlineData(TensorFormat.Q4_K, 2)]
    [InlineData(TensorFormat.Q5_K, 0)]
    [InlineData(TensorFormat.Q5_K, 2)]
    [InlineData(TensorFormat.Q6_K, 208)]
    public void Weights_have_the_deviation_asked_for_and_normal_scales(TensorFormat format, int scaleAt)
    {
        const int Columns = 8192;
        float deviation = RandomBlocks.Deviation(format, Columns);
        byte[] blocks = new byte[format.ByteCount(1 << 16)];
        new RandomBlocks(format, deviation, 3).Fill(blocks, new SplitMix(4, 5));
        for (int at = scaleAt; at < blocks.Length; at += format.BlockBytes())
        {
            Assert.True(Half.IsNormal(BitConverter.ToHalf(blocks, at)), $"block {at / format.BlockBytes()}");
        }

        float[] values = new float[1 << 16];
        BlockDecoder.Decode(format, blocks, values);
        Assert.InRange(values.Average(), -0.02 * deviation, 0.02 * deviation);
        Assert.InRange(Math.Sqrt(values.Average(v => (double)v * v)), 0.97 * deviation, 1.03 * deviation);
    }

    [Fact]
    public void The_vocabulary_of_each_shape_reads_back_what_it_writes()
    {
        foreach (ModelShape shape in ModelShape.All)
        {
            using var stream = new MemoryStream();
            var writer = new GgufWriter(stream);
            SyntheticVocabulary.Add(writer, shape);
            writer.Finish();
            using var folder = new TemporaryFolder();
            using ModelSource source = ModelFiles.Open(folder.Write("vocabulary.gguf", stream.ToArray()));
            Text.Tokenizer tokenizer = TokenizerLoader.Load(source);
            Assert.Equal(shape.Vocabulary, tokenizer.VocabularySize);
            const string Words = "The quick fox, naïve 狐 \t\n— 12345!";
            Assert.Equal(Words, tokenizer.Decode(tokenizer.Encode(Words)));
            Assert.Equal(2, tokenizer.Encode("<|im_start|><|im_end|>", parseSpecialTokens: true).Length);
        }

    }

    [Fact]
    public async Task What_cannot_be_made_is_said_in_one_line_and_leaves_nothing()
    {
        using var folder = new TemporaryFolder();
        (await CommandRun.Of("make-model", "gpt-9")).AssertFailed(2, "gpt-9", "qwen3-0.6b");
        (await CommandRun.Of("make-model", "tiny", "--format", "Q9")).AssertFailed(2, "Q9", "Q8_0");
        (await CommandRun.Of("make-model", "tiny", "-o", folder["none/there.gguf"])).AssertFailed(1, "folder");
        (await CommandRun.Of("make-model", "tiny", "-o", folder.Write("old.gguf", "kept"))).AssertFailed(1, "already");
        Assert.Equal("kept", File.ReadAllText(folder["old.gguf"]));
        using var stop = new CancellationTokenSource();
        await stop.CancelAsync();
        Assert.Equal(130, (await CommandRun.Of(["make-model", "tiny", "-o", folder["stopped.gguf"]], "", stop.Token)).ExitCode);
        Assert.Equal(["old.gguf"], folder.Files);
    }

    [Fact]
    public void A_file_that_is_stopped_half_way_throws()
    {
        using var stop = new CancellationTokenSource();
        var model = new RandomModel(ModelShape.All[0], TypeMix.All[0], 0);
        using var stream = new MemoryStream();
        Assert.ThrowsAny<OperationCanceledException>(() => model.Write(stream, new StopAt(stop), stop.Token));
        Assert.InRange(stream.Length, 1, model.TensorBytes);
    }

    private sealed class StopAt(CancellationTokenSource stop) : IProgress<(double Share, string Note)>
    {
        public void Report((double Share, string Note) value)
        {
            if (value.Share > 0.2)
            {
                stop.Cancel();
            }
        }
    }
}
