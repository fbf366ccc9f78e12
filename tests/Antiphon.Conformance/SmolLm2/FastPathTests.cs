using System.Text.Json;
using Antiphon.Conformance.Models;
using Antiphon.Conformance.Tokenizers;
using Antiphon.Kernels;
using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;
using Antiphon.Models;
using Antiphon.Testing;
using Antiphon.Text;

namespace Antiphon.Conformance.SmolLm2;

/// <summary>The fast path (bfloat16 products by generated kernels, or those of integers where there is no bfloat16) against the exact one: what the reference's README allows paths that round activations.</summary>
[Collection(nameof(ModelRuns))]
public sealed class FastPathTests(ITestOutputHelper output)
{
    private static string ModelPath => SharedMaterial.Path("models", "SmolLM2-135M-Instruct.Q4_1.gguf");

    [Theory]
    [InlineData(null)]
    [InlineData(TensorFormat.BF16)]
    [InlineData(TensorFormat.F16)]
    public void Distributions_stay_near_and_choices_equal(TensorFormat? format)
    {
        RequireKernels();
        using FloatCopy? copy = format is { } floats ? new FloatCopy(ModelPath, floats) : null;
        string path = copy?.Path ?? ModelPath;
        using LoadedModel exact = ModelLoader.Load(path);
        using LoadedModel fast = ModelLoader.Load(path, new ModelLoadOptions { Precision = MatrixPrecision.Fast });
        double divergence = 0;
        int same = 0;
        int total = 0;
        int compared = 0;
        foreach (string line in File.ReadLines(SharedMaterial.Path("conformance", "smollm2", "greedy.jsonl")).Take(12))
        {
            using JsonDocument document = JsonDocument.Parse(line);
            int[] Numbers(string name) => [.. document.RootElement.GetProperty(name).EnumerateArray().Select(e => e.GetInt32())];
            int[] prompt = Numbers("prompt_ids");
            int[] ids = Numbers("ids");
            double[] gaps = [.. document.RootElement.GetProperty("gap").EnumerateArray().Select(e => e.GetDouble())];
            int[] whole = [.. prompt, .. ids[..^1]];
            float[] one = Feeding.Logits(exact.Backend, whole, whole.Length, ids.Length);
            float[] other = Feeding.Logits(fast.Backend, whole, whole.Length, ids.Length);
            int width = exact.Backend.VocabularySize;
            for (int i = 0; i < ids.Length; i++)
            {
                ReadOnlySpan<float> p = one.AsSpan(i * width, width);
                ReadOnlySpan<float> q = other.AsSpan(i * width, width);
                divergence += Divergence(p, q);
                same += Feeding.IndexOfGreatest(p) == Feeding.IndexOfGreatest(q) ? 1 : 0;
                total++;
                if (gaps[i] >= 0.5)
                {
                    Assert.Equal(ids[i], Feeding.IndexOfGreatest(q));
                    compared++;
                }
            }
        }

        output.WriteLine($"{total} positions: mean divergence {divergence / total:e2}, same choice {100.0 * same / total:f2} %, {compared} clear choices");
        Assert.True(compared > 100, "hardly any choice was compared");
        Assert.True(divergence / total < 0.002, $"mean divergence {divergence / total}");
        Assert.True(same >= 0.97 * total, $"{same} of {total} choices are the same");
    }

    [Fact]
    public void Perplexity_moves_by_less_than_a_third_of_a_percent()
    {
        RequireKernels();
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(SharedMaterial.Path("conformance", "smollm2", "perplexity.json")));
        JsonElement reference = document.RootElement;
        string text = File.ReadAllText(Path.Combine(SharedMaterial.Path("conformance", "smollm2"), reference.GetProperty("file").GetString()!));
        using LoadedModel fast = ModelLoader.Load(ModelPath, new ModelLoadOptions { Precision = MatrixPrecision.Fast });
        int[] ids = Tokenizer.FromVocabulary(GgufVocabularies.Read(((GgufFile)fast.Source).Metadata)).Encode(text, addSpecialTokens: false);
        int window = reference.GetProperty("window").GetInt32();
        int first = reference.GetProperty("scored_from").GetInt32();
        int windows = Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1" ? reference.GetProperty("windows").GetInt32() : 4;
        double expected = 0;
        double actual = 0;
        for (int w = 0; w < windows; w++)
        {
            ReadOnlySpan<int> tokens = ids.AsSpan(w * window, window);
            float[] logits = Feeding.Logits(fast.Backend, tokens[..^1], (window / 2) - 1, window - first);
            expected += reference.GetProperty("nll_per_window")[w].GetDouble();
            for (int i = 0; i < window - first; i++)
            {
                ReadOnlySpan<float> row = logits.AsSpan(i * fast.Backend.VocabularySize, fast.Backend.VocabularySize);
                actual -= row[tokens[first + i]] - LogSum(row);
            }
        }

        double ratio = Math.Exp((actual - expected) / (windows * (window - first)));
        output.WriteLine($"{windows} windows: perplexity times {ratio:f5}");
        Assert.InRange(ratio, 0.997, 1.003);
    }

    [Fact]
    public void Any_chunks_give_the_same_bits()
    {
        RequireKernels();
        using LoadedModel fast = ModelLoader.Load(ModelPath, new ModelLoadOptions { Precision = MatrixPrecision.Fast });
        int[] prompt = [.. Enumerable.Range(0, 150).Select(i => 1000 + (i * 37 % 20000))];
        float[] whole = Feeding.Logits(fast.Backend, prompt, prompt.Length, 3);
        foreach (int chunk in (int[])[1, 7, 16, 70])
        {
            Assert.Equal(whole, Feeding.Logits(fast.Backend, prompt, chunk, 3));
        }
    }

    private static void RequireKernels()
    {
        bool there = PackedKernels.TryCreate(null, out PackedKernels? kernels, out string? reason);
        kernels?.Dispose();
        using var integers = new MultiScaleKernels();
        Assert.SkipUnless(there || integers.IsGenerated, $"no fast path here: {reason}");
    }

    private static double LogSum(ReadOnlySpan<float> logits)
    {
        double greatest = logits[Feeding.IndexOfGreatest(logits)];
        double sum = 0;
        foreach (float logit in logits)
        {
            sum += Math.Exp(logit - greatest);
        }

        return greatest + Math.Log(sum);
    }

    private static double Divergence(ReadOnlySpan<float> p, ReadOnlySpan<float> q)
    {
        double pSum = LogSum(p);
        double qSum = LogSum(q);
        double sum = 0;
        for (int i = 0; i < p.Length; i++)
        {
            double logP = p[i] - pSum;
            sum += Math.Exp(logP) * (logP - (q[i] - qSum));
        }

        return sum;
    }
}
