using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using Antiphon.Conformance.Models;
using Antiphon.Conformance.Tokenizers;
using Antiphon.Models;
using Antiphon.Testing;
using Antiphon.Text;

namespace Antiphon.Conformance.SmolLm2;

/// <summary>SmolLM2-135M-Instruct in Q4_1 against the same weights, dequantised, in PyTorch.</summary>
[Collection(nameof(ModelRuns))]
public sealed class SmolLm2Tests(ITestOutputHelper output)
{
    private const string FileName = "SmolLM2-135M-Instruct.Q4_1.gguf";

    [Fact]
    public void Logits_of_the_first_prompt()
    {
        float[] expected = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(SharedMaterial.Path("conformance", "smollm2", "first-prompt-last-logits.f32"))).ToArray();
        int[] prompt = Cases().First().Prompt;
        using LoadedModel model = ModelLoader.Load(SharedMaterial.Path("models", FileName));
        float[] actual = Feeding.Logits(model.Backend, prompt, prompt.Length, 1);
        double error = expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max();
        output.WriteLine($"largest error {error:e2}");
        Assert.True(error <= 5e-3, $"error {error}");
    }

    [Fact]
    public void Greedy_continuations_and_their_log_probabilities()
    {
        using LoadedModel model = ModelLoader.Load(SharedMaterial.Path("models", FileName));
        double worst = 0;
        int compared = 0;
        foreach (GreedyCase one in Cases())
        {
            // One pass over prompt and answer gives the logits from which each token of the answer was chosen.
            int[] whole = [.. one.Prompt, .. one.Ids[..^1]];
            float[] logits = Feeding.Logits(model.Backend, whole, whole.Length, one.Ids.Length);
            for (int i = 0; i < one.Ids.Length; i++)
            {
                ReadOnlySpan<float> row = logits.AsSpan(i * model.Backend.VocabularySize, model.Backend.VocabularySize);
                worst = Math.Max(worst, Math.Abs(LogProbability(row, one.Ids[i]) - one.LogProbabilities[i]));
                if (one.Gaps[i] >= 0.02)
                {
                    Assert.Equal(one.Ids[i], Feeding.IndexOfGreatest(row));
                    compared++;
                }
            }
        }

        output.WriteLine($"{compared} tokens, largest error of a log-probability {worst:e2}");
        Assert.True(worst <= 2e-3, $"error {worst}");
        Assert.True(compared > 100, "hardly any token was compared");
    }

    [Fact]
    public void Greedy_token_by_token()
    {
        using LoadedModel model = ModelLoader.Load(SharedMaterial.Path("models", FileName));
        GreedyCase one = Cases().ElementAt(1);
        int end = Array.FindIndex(one.Gaps, g => g < 0.02) is int first and >= 0 ? first : one.Ids.Length;
        Assert.Equal(one.Ids[..end], Feeding.Greedy(model.Backend, one.Prompt, end));
    }

    /// <summary>A few windows of the text; all 48 with ANTIPHON_LONG=1.</summary>
    [Fact]
    public void Log_probabilities_of_a_text()
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(SharedMaterial.Path("conformance", "smollm2", "perplexity.json")));
        JsonElement reference = document.RootElement;
        float[] expected = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(SharedMaterial.Path("conformance", "smollm2", "wikitext-logprobs.f32"))).ToArray();
        string text = File.ReadAllText(Path.Combine(SharedMaterial.Path("conformance", "smollm2"), reference.GetProperty("file").GetString()!));
        using LoadedModel model = ModelLoader.Load(SharedMaterial.Path("models", FileName));
        int[] ids = Tokenizer.FromVocabulary(GgufVocabularies.Read(((GgufFile)model.Source).Metadata)).Encode(text, addSpecialTokens: false);
        Assert.Equal(reference.GetProperty("token_count").GetInt32(), ids.Length);
        Assert.Equal(reference.GetProperty("token_ids_sha256_int32le").GetString(), Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes(ids.AsSpan()))));

        int window = reference.GetProperty("window").GetInt32();
        int first = reference.GetProperty("scored_from").GetInt32();
        int all = reference.GetProperty("windows").GetInt32();
        int windows = Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1" ? all : 2;
        double sum = 0;
        double worst = 0;
        for (int w = 0; w < windows; w++)
        {
            ReadOnlySpan<int> tokens = ids.AsSpan(w * window, window);
            float[] logits = Feeding.Logits(model.Backend, tokens[..^1], (window / 2) - 1, window - first);
            double own = 0;
            for (int i = 0; i < window - first; i++)
            {
                double value = LogProbability(logits.AsSpan(i * model.Backend.VocabularySize, model.Backend.VocabularySize), tokens[first + i]);
                worst = Math.Max(worst, Math.Abs(value - expected[(w * (window - first)) + i]));
                own -= value;
            }

            Assert.Equal(reference.GetProperty("nll_per_window")[w].GetDouble(), own, 0.05);
            sum += own;
        }

        output.WriteLine($"{windows} windows: perplexity {Math.Exp(sum / (windows * (window - first))):f5}, largest error of a log-probability {worst:e2}");
        Assert.True(worst <= 2e-3, $"error {worst}");
        if (windows == all)
        {
            Assert.Equal(reference.GetProperty("perplexity").GetDouble(), Math.Exp(sum / (windows * (window - first))), 0.005);
        }
    }

    private static double LogProbability(ReadOnlySpan<float> logits, int token)
    {
        double greatest = logits[Feeding.IndexOfGreatest(logits)];
        double sum = 0;
        foreach (float logit in logits)
        {
            sum += Math.Exp(logit - greatest);
        }

        return logits[token] - greatest - Math.Log(sum);
    }

    private static IEnumerable<GreedyCase> Cases()
    {
        foreach (string line in File.ReadLines(SharedMaterial.Path("conformance", "smollm2", "greedy.jsonl")))
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement root = document.RootElement;
            yield return new GreedyCase(
                [.. root.GetProperty("prompt_ids").EnumerateArray().Select(e => e.GetInt32())],
                [.. root.GetProperty("ids").EnumerateArray().Select(e => e.GetInt32())],
                [.. root.GetProperty("logprobs").EnumerateArray().Select(e => e.GetDouble())],
                [.. root.GetProperty("gap").EnumerateArray().Select(e => e.GetDouble())]);
        }
    }

    private sealed record GreedyCase(int[] Prompt, int[] Ids, double[] LogProbabilities, double[] Gaps);
}
