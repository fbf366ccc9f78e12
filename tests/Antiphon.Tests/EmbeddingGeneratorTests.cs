using Antiphon.Engine;
using Antiphon.Models;
using Microsoft.Extensions.AI;

namespace Antiphon.Tests;

public sealed class EmbeddingGeneratorTests(TalesFixture tales)
{
    private readonly IEmbeddingGenerator<string, Embedding<float>> generator = tales.Model.AsEmbeddingGenerator();

    private static string[] Texts { get; } = [.. Enumerable.Range(0, 33).Select(i => string.Concat(Enumerable.Repeat($"A fox met miller number {i} at the river. ", 1 + (i % 5))))];

    [Fact]
    public async Task A_result_has_vectors_of_length_one_usage_and_the_models_id()
    {
        string[] texts = ["The fox ran.", "The miller slept by the river."];
        GeneratedEmbeddings<Embedding<float>> result = await generator.GenerateAsync(texts);
        Assert.Equal(2, result.Count);
        long tokens = texts.Sum(t => (long)tales.Model.Tokenize(t, addSpecialTokens: true).Count);
        Assert.Equal((tokens, tokens, 0L), (result.Usage!.InputTokenCount, result.Usage.TotalTokenCount, result.Usage.CachedInputTokenCount));
        Assert.All(result, e =>
        {
            Assert.Equal(tales.Model.Engine.EmbeddingWidth, e.Dimensions);
            Assert.Equal(1, Norm(e.Vector.Span), 5);
            Assert.Equal("Tales", e.ModelId);
            Assert.NotNull(e.CreatedAt);
        });
        Assert.Empty(await generator.GenerateAsync([]));
    }

    [Fact]
    public async Task Alike_texts_are_nearer_than_others()
    {
        ReadOnlyMemory<float> asked = await generator.GenerateVectorAsync("Once upon a time a fox lived by a river.");
        ReadOnlyMemory<float> alike = await generator.GenerateVectorAsync("Long ago a fox lived near a river.");
        ReadOnlyMemory<float> other = await generator.GenerateVectorAsync("Calculate 3 + 4 - 2.");
        Assert.True(Dot(asked, alike) > Dot(asked, other), $"{Dot(asked, alike)} and {Dot(asked, other)}");
    }

    /// <summary>One text a call, all in one call, among chats, in chunks of all sizes, with forced preemption: the same bits.</summary>
    [Fact]
    public async Task A_vector_is_the_same_alone_and_beside_others()
    {
        float[][] alone = new float[Texts.Length][];
        for (int i = 0; i < alone.Length; i++)
        {
            alone[i] = (await generator.GenerateVectorAsync(Texts[i])).ToArray();
        }

        foreach ((int budget, int chunk, int blocks) in new[] { (100, 23, 72), (24, 5, 60), (24, 1, 60) })
        {
            await using LanguageModel busy = await Tales.LoadAsync(new LanguageModelOptions
            {
                Threads = 2, Engine = new EngineOptions { BlockSize = 4, BlockCount = blocks, MaxSequences = 24, TokenBudget = budget, PrefillChunk = chunk },
            });
            IChatClient chat = busy.AsChatClient();
            string expected = (await tales.Model.AsChatClient().GetResponseAsync(Answer.Story, new ChatOptions { Temperature = 0, MaxOutputTokens = 40 })).Text;
            Task<ChatResponse>[] chats = [.. Enumerable.Range(0, 8).Select(_ => chat.GetResponseAsync(Answer.Story, new ChatOptions { Temperature = 0, MaxOutputTokens = 40 }))];
            IEmbeddingGenerator<string, Embedding<float>> shared = busy.AsEmbeddingGenerator();
            Task<GeneratedEmbeddings<Embedding<float>>> whole = shared.GenerateAsync(Texts);
            Task<ReadOnlyMemory<float>>[] single = [.. Texts.Select(t => shared.GenerateVectorAsync(t))];
            GeneratedEmbeddings<Embedding<float>> all = await whole;
            for (int i = 0; i < alone.Length; i++)
            {
                Assert.Equal(alone[i], all[i].Vector.ToArray());
                Assert.Equal(alone[i], (await single[i]).ToArray());
            }

            Assert.All(await Task.WhenAll(chats), c => Assert.Equal(expected, c.Text));
            await OverlapTests.AssertAllReturnedAsync(busy.Engine);
        }
    }

    [Fact]
    public async Task Dimensions_cut_and_normalise_anew()
    {
        float[] whole = (await generator.GenerateVectorAsync(Texts[1])).ToArray();
        float[] cut = (await generator.GenerateVectorAsync(Texts[1], new EmbeddingGenerationOptions { Dimensions = 10 })).ToArray();
        Assert.Equal(10, cut.Length);
        double norm = Norm(whole.AsSpan(0, 10));
        for (int i = 0; i < cut.Length; i++)
        {
            Assert.Equal(whole[i] / norm, cut[i], 5);
        }

        foreach (int wrong in new[] { 0, -1, whole.Length + 1 })
        {
            InvalidRequestException refused = await Assert.ThrowsAsync<InvalidRequestException>(
                () => tales.Model.AsEmbeddingGenerator(new EmbeddingOptions { Dimensions = wrong }).GenerateAsync([Texts[1]]));
            Assert.Equal("Dimensions", refused.Field);
        }

        await Assert.ThrowsAsync<InvalidRequestException>(() => generator.GenerateAsync([Texts[1]], new EmbeddingGenerationOptions { Dimensions = whole.Length + 1 }));
    }

    [Fact]
    public async Task Pooling_can_be_chosen_and_normalising_left_out()
    {
        int[] tokens = [.. tales.Model.Tokenize(Texts[2], addSpecialTokens: true)];
        float[] mean = new float[tales.Model.Engine.EmbeddingWidth];
        for (int i = 1; i <= tokens.Length; i++)
        {
            // In a causal model the state of a token is that of the last token of the text up to it.
            EmbeddingResult last = await tales.Model.EmbedAsync(tokens[..i], new EmbeddingOptions { Pooling = Pooling.Last, Normalize = false });
            for (int j = 0; j < mean.Length; j++)
            {
                mean[j] += last.Vector.Span[j] / tokens.Length;
            }

            if (i == 1)
            {
                EmbeddingResult first = await tales.Model.EmbedAsync(tokens, new EmbeddingOptions { Pooling = Pooling.First, Normalize = false });
                Assert.Equal(last.Vector.ToArray(), first.Vector.ToArray());
            }
        }

        float[] pooled = (await generator.GenerateVectorAsync(Texts[2], With(("pooling", "mean"), ("normalize", false)))).ToArray();
        for (int j = 0; j < mean.Length; j++)
        {
            Assert.Equal(mean[j], pooled[j], 3);
        }

        Assert.NotEqual(1, Norm(pooled), 2);
    }

    [Fact]
    public async Task A_text_that_is_too_long_is_refused_with_both_numbers_or_cut_when_asked()
    {
        await using LanguageModel small = await Tales.LoadAsync(new LanguageModelOptions { Threads = 1, Engine = new EngineOptions { BlockSize = 4, BlockCount = 5 } });
        IEmbeddingGenerator<string, Embedding<float>> own = small.AsEmbeddingGenerator();
        int[] tokens = [.. small.Tokenize(Texts[4], addSpecialTokens: true)];
        ContextFullException refused = await Assert.ThrowsAsync<ContextFullException>(() => own.GenerateAsync(["ok", Texts[4], "ok"]));
        Assert.Equal((tokens.Length, 20), (refused.PromptTokens, refused.ContextLength));
        Assert.Contains(tokens.Length.ToString(), refused.Message);
        GeneratedEmbeddings<Embedding<float>> cut = await own.GenerateAsync([Texts[4]], With(("truncate", true)));
        Assert.Equal(20, cut.Usage!.InputTokenCount);
        EmbeddingResult beginning = await small.EmbedAsync(tokens[..20]);
        Assert.Equal(beginning.Vector.ToArray(), cut[0].Vector.ToArray());
        Assert.Equal(beginning.Vector.ToArray(), (await small.EmbedAsync(tokens, new EmbeddingOptions { Truncate = true })).Vector.ToArray());
        await OverlapTests.AssertAllReturnedAsync(small.Engine);
    }

    [Fact]
    public async Task One_call_with_many_texts_does_not_fill_the_queue()
    {
        await using LanguageModel small = await Tales.LoadAsync(new LanguageModelOptions { Threads = 1, Engine = new EngineOptions { BlockCount = 64, MaxSequences = 3, QueueLimit = 3 } });
        GeneratedEmbeddings<Embedding<float>> result = await small.AsEmbeddingGenerator().GenerateAsync(Texts);
        for (int i = 0; i < Texts.Length; i++)
        {
            Assert.Equal((await generator.GenerateVectorAsync(Texts[i])).ToArray(), result[i].Vector.ToArray());
        }
    }

    [Fact]
    public async Task Cancelling_a_call_ends_all_its_texts()
    {
        await using LanguageModel small = await Tales.LoadAsync(new LanguageModelOptions { Threads = 1, Engine = new EngineOptions { BlockCount = 200, TokenBudget = 32 } });
        using var stop = new CancellationTokenSource();
        string[] many = [.. Enumerable.Repeat(string.Concat(Texts.Take(8)), 2000)];
        Task<GeneratedEmbeddings<Embedding<float>>> call = small.AsEmbeddingGenerator().GenerateAsync(many, null, stop.Token);
        await Task.Delay(50);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        await OverlapTests.AssertAllReturnedAsync(small.Engine);
        Assert.True(small.Engine.GetStatistics().Finished < many.Length);
    }

    [Fact]
    public async Task Options_are_kept_reported_or_refused()
    {
        EmbeddingGenerationOptions odd = With(("odd", 1));
        odd.ModelId = "other";
        GeneratedEmbeddings<Embedding<float>> result = await generator.GenerateAsync(["ok"], odd);
        Assert.Equal(2, Assert.IsAssignableFrom<IReadOnlyList<string>>(result.AdditionalProperties!["antiphon.ignored_options"]).Count);
        EmbeddingGenerationOptions raw = new() { RawRepresentationFactory = _ => new EmbeddingOptions { Dimensions = 5 } };
        Assert.Equal(5, (await generator.GenerateAsync(["ok"], raw))[0].Dimensions);
        Assert.Equal(7, (await tales.Model.AsEmbeddingGenerator(new EmbeddingOptions { Dimensions = 7 }).GenerateAsync(["ok"]))[0].Dimensions);
        float[] prompted = (await generator.GenerateVectorAsync("ok", With(("prompt", "query: ")))).ToArray();
        Assert.Equal((await generator.GenerateVectorAsync("query: ok")).ToArray(), prompted);
        foreach (EmbeddingGenerationOptions wrong in new[]
        {
            With(("pooling", "max")), With(("normalize", "yes")), With(("prompt_name", "query")), With(("prompt", 1)), new() { RawRepresentationFactory = _ => "?" },
        })
        {
            await Assert.ThrowsAsync<InvalidRequestException>(() => generator.GenerateAsync(["ok"], wrong));
        }

        await Assert.ThrowsAsync<ArgumentException>(() => generator.GenerateAsync(["ok", null!]));
        await Assert.ThrowsAsync<InvalidRequestException>(() => tales.Model.EmbedAsync(Array.Empty<int>()));
    }

    [Fact]
    public void Services_are_the_metadata_the_model_the_engine_and_the_generator()
    {
        EmbeddingGeneratorMetadata metadata = generator.GetService<EmbeddingGeneratorMetadata>()!;
        Assert.Equal(("antiphon", "Tales", (int?)tales.Model.Engine.EmbeddingWidth), (metadata.ProviderName, metadata.DefaultModelId, metadata.DefaultModelDimensions));
        Assert.Same(tales.Model, generator.GetService<LanguageModel>());
        Assert.Same(tales.Model.Engine, generator.GetService<InferenceEngine>());
        Assert.Same(generator, generator.GetService<IEmbeddingGenerator>());
        Assert.Null(generator.GetService<string>());
        Assert.Null(generator.GetService(typeof(IEmbeddingGenerator), "key"));
        generator.Dispose();
        Assert.Equal(EngineState.Running, tales.Model.Engine.State);
    }

    private static EmbeddingGenerationOptions With(params ReadOnlySpan<(string Key, object Value)> properties)
    {
        var options = new EmbeddingGenerationOptions { AdditionalProperties = [] };
        foreach ((string key, object value) in properties)
        {
            options.AdditionalProperties[key] = value;
        }

        return options;
    }

    private static double Norm(ReadOnlySpan<float> vector)
    {
        double square = 0;
        foreach (float value in vector)
        {
            square += (double)value * value;
        }

        return Math.Sqrt(square);
    }

    private static double Dot(ReadOnlyMemory<float> one, ReadOnlyMemory<float> other) => one.ToArray().Zip(other.ToArray(), (a, b) => (double)a * b).Sum();
}
