using Antiphon.Engine;
using Antiphon.Models;
using Antiphon.Testing;

namespace Antiphon.Conformance.Models;

/// <summary>Every embedding model in shared/conformance/models, through the engine, against sentence-transformers.</summary>
[Collection(nameof(ModelRuns))]
public sealed class EmbeddingConformanceTests(ITestOutputHelper output)
{
    public static TheoryData<string> Folders()
    {
        var data = new TheoryData<string>();
        foreach (string folder in Directory.GetDirectories(SharedMaterial.TryPath("conformance", "models") ?? AppContext.BaseDirectory).Order(StringComparer.Ordinal))
        {
            if (File.Exists(Path.Combine(folder, "cases.json")) && ReferenceCase.Open(folder).Task == "embedding")
            {
                data.Add(Path.GetFileName(folder));
            }
        }

        if (data.Count == 0)
        {
            data.Add(SharedMaterial.Missing);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public async Task Embeddings_are_those_of_sentence_transformers(string name)
    {
        Assert.SkipWhen(name == SharedMaterial.Missing, "shared/conformance/models is absent (set ANTIPHON_SHARED)");
        string folder = SharedMaterial.Path("conformance", "models", name);
        LoadedModel model;
        try
        {
            model = ModelLoader.Load(folder, new ModelLoadOptions { Threads = 2 });
        }
        catch (UnsupportedModelException e)
        {
            Assert.Skip(e.Message);
            throw;
        }

        using (model)
        {
            ReferenceCase reference = ReferenceCase.Open(folder);
            Pooling pooling = EmbeddingSpec.Read(model.Source).Pooling!.Value;
            foreach (int budget in new[] { 512, 16, 7, 1 })
            {
                await using InferenceEngine engine = new(model.Backend, null, new EngineOptions { BlockCount = 64, TokenBudget = budget, MaxSequences = Math.Min(budget, 8), PrefillChunk = budget });
                foreach ((string prompt, int[] tokens) in reference.Prompts)
                {
                    float[] expected = reference.Expected[$"{prompt}.embedding"].Values;
                    Task<EmbeddingResult>[] neighbours = [.. Enumerable.Range(1, 9).Select(i => engine.EmbedAsync(new EmbeddingRequest { Tokens = tokens[..(1 + (i * tokens.Length / 10))], Pooling = (Pooling)(i % 3) }))];
                    float[] vector = (await engine.EmbedAsync(new EmbeddingRequest { Tokens = tokens, Pooling = pooling })).Vector.ToArray();
                    double length = Math.Sqrt(vector.Sum(v => (double)v * v));
                    double error = expected.Zip(vector, (e, v) => Math.Abs(e - (v / length))).Max();
                    output.WriteLine($"{name} {prompt}, {budget} tokens a step: error {error:e2}");
                    Assert.Equal(expected.Length, vector.Length);
                    Assert.True(error <= 1e-4, $"{prompt}: error {error}");
                    await Task.WhenAll(neighbours);
                }
            }
        }
    }
}
