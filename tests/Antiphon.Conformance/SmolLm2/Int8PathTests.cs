using System.Text.Json;
using Antiphon.Conformance.Models;
using Antiphon.Conformance.Tokenizers;
using Antiphon.Models;
using Antiphon.Testing;
using Antiphon.Text;

namespace Antiphon.Conformance.SmolLm2;

/// <summary>The path of integer products (W8A16 by two passes, W8A8 by one) against the exact one on a real model.</summary>
[Collection(nameof(ModelRuns))]
public sealed class Int8PathTests(ITestOutputHelper output)
{
    private static string ModelPath => SharedMaterial.Path("models", "SmolLM2-135M-Instruct.Q4_1.gguf");

    [Fact]
    public void Two_passes_keep_the_likelihood_to_a_thousandth_and_one_pass_does_not_come_near()
    {
        double exact = Likelihood(MatrixPrecision.Exact);
        double two = Likelihood(MatrixPrecision.Int8);
        double one = Likelihood(MatrixPrecision.Int8OnePass);
        output.WriteLine($"nats a token: exact {exact:f6}, two passes {two - exact:+0.000000;-0.000000}, one pass {one - exact:+0.000000;-0.000000}");
        Assert.InRange(two - exact, -1e-3, 1e-3);
        Assert.True(one - exact > 5 * Math.Abs(two - exact), "one pass is as good as two: then two are a waste");
    }

    [Theory]
    [InlineData(MatrixPrecision.Int8)]
    [InlineData(MatrixPrecision.Int8OnePass)]
    public void Any_chunks_give_the_same_bits(MatrixPrecision precision)
    {
        using LoadedModel model = ModelLoader.Load(ModelPath, new ModelLoadOptions { Precision = precision });
        int[] prompt = [.. Enumerable.Range(0, 100).Select(i => 1000 + (i * 37 % 20000))];
        float[] whole = Feeding.Logits(model.Backend, prompt, prompt.Length, 3);
        foreach (int chunk in (int[])[1, 7, 16, 70])
        {
            Assert.Equal(whole, Feeding.Logits(model.Backend, prompt, chunk, 3));
        }
    }

    /// <summary>Mean negative log-likelihood of the scored halves of a few windows of WikiText-2.</summary>
    private static double Likelihood(MatrixPrecision precision)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(SharedMaterial.Path("conformance", "smollm2", "perplexity.json")));
        JsonElement reference = document.RootElement;
        string text = File.ReadAllText(Path.Combine(SharedMaterial.Path("conformance", "smollm2"), reference.GetProperty("file").GetString()!));
        using LoadedModel model = ModelLoader.Load(ModelPath, new ModelLoadOptions { Precision = precision });
        int[] ids = Tokenizer.FromVocabulary(GgufVocabularies.Read(((GgufFile)model.Source).Metadata)).Encode(text, addSpecialTokens: false);
        int window = reference.GetProperty("window").GetInt32();
        int first = reference.GetProperty("scored_from").GetInt32();
        int windows = Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1" ? reference.GetProperty("windows").GetInt32() : 4;
        double total = 0;
        for (int w = 0; w < windows; w++)
        {
            ReadOnlySpan<int> tokens = ids.AsSpan(w * window, window);
            float[] logits = Feeding.Logits(model.Backend, tokens[..^1], (window / 2) - 1, window - first);
            for (int i = 0; i < window - first; i++)
            {
                total -= LogLikelihood(logits.AsSpan(i * model.Backend.VocabularySize, model.Backend.VocabularySize), tokens[first + i]);
            }
        }

        return total / (windows * (window - first));
    }

    private static double LogLikelihood(ReadOnlySpan<float> logits, int token)
    {
        double greatest = logits[Feeding.IndexOfGreatest(logits)];
        double sum = 0;
        foreach (float logit in logits)
        {
            sum += Math.Exp(logit - greatest);
        }

        return logits[token] - greatest - Math.Log(sum);
    }
}
