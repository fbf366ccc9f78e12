using System.Runtime.InteropServices;
using System.Text.Json;
using Antiphon.Conformance.Models;
using Antiphon.Models;
using Antiphon.Testing;

namespace Antiphon.Conformance.Tales;

/// <summary>The embedded model and its adapters against their reference runs.</summary>
[Collection(nameof(ModelRuns))]
public sealed class TalesTests(ITestOutputHelper output)
{
    private const double HeldOut = 0.20655;

    [Theory]
    [InlineData("", 0.0005)]
    [InlineData("tales.Q8_0.gguf", 0.004)]
    public void Held_out_value(string file, double tolerance)
    {
        string path = SharedMaterial.Path("models", "tales");
        int[] ids = MemoryMarshal.Cast<byte, int>(File.ReadAllBytes(SharedMaterial.Path("models", "tales", "reference", "heldout-ids.i32"))).ToArray();
        byte[] mask = File.ReadAllBytes(SharedMaterial.Path("models", "tales", "reference", "heldout-mask.u8"));
        using LoadedModel model = ModelLoader.Load(Path.Combine(path, file));
        double sum = 0;
        int scored = 0;
        for (int start = 0; start < ids.Length; start += 512)
        {
            float[] logits = Feeding.Logits(model.Backend, ids.AsSpan(start, 512), 512, 512);
            for (int i = 1; i < 512; i++)
            {
                if (mask[start + i] != 0)
                {
                    sum -= LogProbability(logits.AsSpan((i - 1) * model.Backend.VocabularySize, model.Backend.VocabularySize), ids[start + i]);
                    scored++;
                }
            }
        }

        output.WriteLine($"{sum / scored:f6} over {scored} tokens");
        Assert.Equal(13781, scored);
        Assert.InRange(sum / scored, HeldOut - tolerance, HeldOut + tolerance);
    }

    [Theory]
    [InlineData("")]
    [InlineData("tales.Q8_0.gguf")]
    public void Greedy_answers(string file)
    {
        bool isExact = file.Length == 0;
        using LoadedModel model = ModelLoader.Load(Path.Combine(SharedMaterial.Path("models", "tales"), file));
        Assert.Contains(2041, model.EosTokenIds);
        int compared = 0;
        foreach (string line in File.ReadLines(SharedMaterial.Path("models", "tales", "reference", "tasks.jsonl")).Take(80))
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement root = document.RootElement;

            // Q8_0's own weights move logits by more than the gap that the float path is held to.
            compared += Compare(model.Backend, root.GetProperty("prompt_ids"), root.GetProperty("greedy"), isExact ? 0.05 : 0.5);
        }

        output.WriteLine($"{compared} tokens");
        Assert.True(compared > 4000, $"only {compared} tokens were compared");
    }

    [Theory]
    [MemberData(nameof(Adapters))]
    public void Adapters_merged_into_the_model(string adapter)
    {
        Assert.SkipWhen(adapter == SharedMaterial.Missing, "shared/models/tales-adapters is absent");
        using LoadedModel model = ModelLoader.Load(
            SharedMaterial.Path("models", "tales"), new ModelLoadOptions { Adapters = [SharedMaterial.Path("models", "tales-adapters", adapter)] });
        int compared = 0;
        foreach (string line in File.ReadLines(SharedMaterial.Path("models", "tales-adapters", "adapters.jsonl")))
        {
            using JsonDocument document = JsonDocument.Parse(line);
            if (document.RootElement.GetProperty("adapter").GetString() == adapter)
            {
                compared += Compare(model.Backend, document.RootElement.GetProperty("prompt_ids"), document.RootElement, 0.05);
            }
        }

        output.WriteLine($"{compared} tokens");
        Assert.True(compared > 100, $"only {compared} tokens were compared");
    }

    [Fact]
    public void An_adapter_that_does_not_fit_is_refused()
    {
        string adapter = SharedMaterial.Path("models", "tales-adapters", "pirate");
        var e = Assert.Throws<ModelFormatException>(
            () => ModelLoader.Load(SharedMaterial.Path("models", "tales", "tales.Q8_0.gguf"), new ModelLoadOptions { Adapters = [adapter] }));
        Assert.Contains("adapter", e.Message, StringComparison.Ordinal);
        Assert.Throws<ModelFormatException>(
            () => ModelLoader.Load(SharedMaterial.Path("models", "tales-draft"), new ModelLoadOptions { Adapters = [adapter] }));
    }

    public static TheoryData<string> Adapters() => SharedMaterial.Entries(Directory.Exists, "models", "tales-adapters");

    /// <summary>
    /// Compares the choice at each token of an answer, given those before it, wherever the gap is wide enough to hold anyone to; returns how many.
    /// </summary>
    private static int Compare(IBackend backend, JsonElement promptIds, JsonElement answer, double smallestGap)
    {
        int[] prompt = [.. promptIds.EnumerateArray().Select(e => e.GetInt32())];
        int[] ids = [.. answer.GetProperty("ids").EnumerateArray().Select(e => e.GetInt32())];
        double[] gaps = [.. answer.GetProperty("gap").EnumerateArray().Select(e => e.GetDouble())];
        int[] whole = [.. prompt, .. ids[..^1]];
        float[] logits = Feeding.Logits(backend, whole, whole.Length, ids.Length);
        int compared = 0;
        for (int i = 0; i < ids.Length; i++)
        {
            if (gaps[i] >= smallestGap)
            {
                Assert.Equal(ids[i], Feeding.IndexOfGreatest(logits.AsSpan(i * backend.VocabularySize, backend.VocabularySize)));
                compared++;
            }
        }

        return compared;
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
}
