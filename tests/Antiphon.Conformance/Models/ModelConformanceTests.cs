using Antiphon.Models;
using Antiphon.Testing;

namespace Antiphon.Conformance.Models;

/// <summary>Every decoder in shared/conformance/models, from safetensors and from GGUF, against Hugging Face transformers.</summary>
[Collection(nameof(ModelRuns))]
public sealed class ModelConformanceTests(ITestOutputHelper output)
{
    private static readonly string[] FileNames = ["model.safetensors", "model.gguf"];

    public static TheoryData<string> Files()
    {
        var data = new TheoryData<string>();
        foreach (string folder in Directory.GetDirectories(SharedMaterial.TryPath("conformance", "models") ?? AppContext.BaseDirectory).Order(StringComparer.Ordinal))
        {
            foreach (string file in FileNames.Where(f => File.Exists(Path.Combine(folder, f)) && File.Exists(Path.Combine(folder, "cases.json"))))
            {
                data.Add($"{Path.GetFileName(folder)}/{file}");
            }
        }

        if (data.Count == 0)
        {
            data.Add(SharedMaterial.Missing);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Logits_are_those_of_transformers(string file)
    {
        (ReferenceCase reference, LoadedModel model) = Open(file);
        using (model)
        {
            (double tolerance, double deviation) = reference.Tolerance();
            Dictionary<string, float[]>? rounded =
                model.Source is GgufFile && RoundedWeights.IsRounded(reference.Folder) ? RoundedWeights.Logits(reference.Folder, reference) : null;
            foreach ((string name, int[] prompt) in reference.Prompts)
            {
                (float[] expected, int rows) = reference.Expected[$"{name}.logits"];
                expected = rounded?[name] ?? expected;
                foreach (int chunk in new[] { prompt.Length, 1, 7, 16 })
                {
                    float[] actual = Feeding.Logits(model.Backend, prompt, chunk, rows);
                    double error = Error(expected, actual);
                    output.WriteLine($"{file} {name} in chunks of {chunk}: error {error / deviation:e2} of the deviation");
                    Assert.True(error <= tolerance, $"{name} in chunks of {chunk}: error {error} > {tolerance}");
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Greedy_tokens_are_those_of_transformers(string file)
    {
        (ReferenceCase reference, LoadedModel model) = Open(file);
        using (model)
        {
            int[] tokens = Feeding.Greedy(model.Backend, reference.Prompts["short"], reference.Greedy.Length);
            for (int i = 0; i < tokens.Length && reference.Gaps[i] >= 5e-3; i++)
            {
                Assert.Equal(reference.Greedy[i], tokens[i]);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Chunks_do_not_change_a_bit(string file)
    {
        (ReferenceCase reference, LoadedModel model) = Open(file);
        using (model)
        {
            int[] prompt = reference.Prompts["long"];
            float[] whole = Feeding.Logits(model.Backend, prompt, prompt.Length, 8);
            foreach (int chunk in new[] { 1, 7, 16 })
            {
                Assert.Equal(whole, Feeding.Logits(model.Backend, prompt, chunk, 8));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Neighbours_do_not_change_a_bit(string file)
    {
        (ReferenceCase reference, LoadedModel model) = Open(file, threads: 2);
        using (model)
        {
            int[] prompt = reference.Prompts["long"];
            int[] asked = reference.Prompts["short"];
            float[] alone = Feeding.Logits(model.Backend, asked, asked.Length, 1);
            float[] aloneNext = Feeding.Logits(model.Backend, [.. asked, reference.Greedy[0]], asked.Length, 1, asked.Length);
            using KvCache cache = Feeding.Cache(model.Backend, 9, prompt.Length);
            using StepBatch batch = new();
            Sequence[] sequences = [.. Enumerable.Range(0, 9).Select(i => new Sequence(cache) { PlannedLength = i == 4 ? asked.Length : prompt.Length })];
            for (int i = 0; i < sequences.Length; i++)
            {
                ReadOnlySpan<int> tokens = i == 4 ? asked : prompt.AsSpan(i, 1 + (11 * i % 60));
                Assert.True(sequences[i].TryReserve(tokens.Length));
                batch.Add(sequences[i], tokens, LogitsWanted.Last);
            }

            model.Backend.Forward(batch);
            Assert.Equal(alone, batch.Logits(4));
            batch.Clear();
            foreach (Sequence sequence in sequences)
            {
                sequence.Commit(sequence.Tentative);
                Assert.True(sequence.TryReserve(1));
                batch.Add(sequence, [reference.Greedy[0]], LogitsWanted.Last);
            }

            model.Backend.Forward(batch);
            Assert.Equal(aloneNext, batch.Logits(4));
            foreach (Sequence sequence in sequences)
            {
                sequence.Dispose();
            }
        }
    }

    /// <summary>Opens a case; what the product itself calls unsupported skips with its words.</summary>
    private static (ReferenceCase Reference, LoadedModel Model) Open(string file, int threads = 1)
    {
        Assert.SkipWhen(file == SharedMaterial.Missing, "shared/conformance/models is absent (set ANTIPHON_SHARED)");
        string[] parts = file.Split('/');
        string folder = SharedMaterial.Path("conformance", "models", parts[0]);
        bool isGguf = parts[1].EndsWith(".gguf", StringComparison.Ordinal);
        LoadedModel model;
        try
        {
            model = ModelLoader.Load(
                isGguf ? Path.Combine(folder, parts[1]) : folder,
                new ModelLoadOptions { Threads = threads, AdjustSpec = isGguf ? GgufGaps.For(folder) : null });
        }
        catch (UnsupportedModelException e)
        {
            Assert.Skip(e.Message);
            throw;
        }

        ReferenceCase reference = ReferenceCase.Open(folder);
        if (reference.Task is not null)
        {
            model.Dispose();
            Assert.Skip($"task '{reference.Task}' has no logits of a decoder");
        }

        return (reference, model);
    }

    private static double Error(float[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        double worst = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double error = Math.Abs((double)expected[i] - actual[i]);
            worst = double.IsNaN(error) ? double.PositiveInfinity : Math.Max(worst, error);
        }

        return worst;
    }
}
