using System.Text.Json.Nodes;
using Antiphon.Engine;
using Antiphon.Models;
using Antiphon.Testing;
using Microsoft.Extensions.AI;

namespace Antiphon.Tests;

/// <summary>A sentence-transformers folder with a decoder, from text to vector: its pooling, its prompts, its longest text; the folder is completed with a tokenizer that ends each text.</summary>
public sealed class SentenceModelTests : IDisposable
{
    private const int End = 2;
    private const int MaxTokens = 20;
    private readonly string folder = Directory.CreateTempSubdirectory("antiphon-sentence-").FullName;

    /// <inheritdoc/>
    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public async Task The_folder_says_how_texts_are_embedded()
    {
        await using LanguageModel model = await LoadAsync();
        IEmbeddingGenerator<string, Embedding<float>> generator = model.AsEmbeddingGenerator();
        Assert.Equal((Pooling.Last, "query", MaxTokens), (model.Embeddings.Pooling, model.Embeddings.DefaultPrompt, model.Embeddings.MaxTokens));
        int[] tokens = [.. "q:fox".Select(Id), End];
        Assert.Equal(tokens, model.Tokenize("q:fox", addSpecialTokens: true));
        GeneratedEmbeddings<Embedding<float>> result = await generator.GenerateAsync(["fox"]);
        Assert.Equal(tokens.Length, result.Usage!.InputTokenCount);
        EmbeddingResult last = await model.EmbedAsync(tokens, new EmbeddingOptions { Pooling = Pooling.Last });
        Assert.Equal(last.Vector.ToArray(), result[0].Vector.ToArray());
        Assert.NotEqual(last.Vector.ToArray(), (await model.EmbedAsync("fox", new EmbeddingOptions { PromptName = "document" })).Vector.ToArray());
        Assert.Equal(
            (await model.EmbedAsync([.. "fox".Select(Id), End])).Vector.ToArray(), (await model.EmbedAsync("fox", new EmbeddingOptions { Prompt = "" })).Vector.ToArray());
        InvalidRequestException refused = await Assert.ThrowsAsync<InvalidRequestException>(() => model.EmbedAsync("fox", new EmbeddingOptions { PromptName = "odd" }));
        Assert.Contains("query, document", refused.Message);
    }

    [Fact]
    public async Task A_text_longer_than_the_folder_allows_is_refused_or_cut_before_its_last_token()
    {
        await using LanguageModel model = await LoadAsync();
        string text = new('a', 40);
        ContextFullException refused = await Assert.ThrowsAsync<ContextFullException>(() => model.EmbedAsync(text));
        Assert.Equal((43, MaxTokens), (refused.PromptTokens, refused.ContextLength));
        EmbeddingResult cut = await model.EmbedAsync(text, new EmbeddingOptions { Truncate = true });
        Assert.Equal(MaxTokens, cut.Usage.PromptTokens);
        Assert.Equal((await model.EmbedAsync([.. ("q:" + text)[..(MaxTokens - 1)].Select(Id), End])).Vector.ToArray(), cut.Vector.ToArray());
    }

    [Fact]
    public async Task A_model_without_a_head_does_not_generate()
    {
        await using LanguageModel model = await LoadAsync();
        Assert.False(model.Engine.CanGenerate);
        await Assert.ThrowsAsync<InvalidRequestException>(() => Answer.Of(model.CompleteAsync("fox")));
    }

    private static int Id(char letter) => letter == ':' ? 40 : 10 + (letter - 'a');

    private Task<LanguageModel> LoadAsync()
    {
        string original = SharedMaterial.Path("conformance", "models", "qwen3-st-last");
        foreach (string file in Directory.GetFiles(original, "*", SearchOption.AllDirectories))
        {
            string copy = Path.Combine(folder, Path.GetRelativePath(original, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy, overwrite: true);
        }

        File.Delete(Path.Combine(folder, "expected.safetensors"));
        File.WriteAllText(Path.Combine(folder, "config_sentence_transformers.json"), """{"prompts":{"query":"q:","document":"d:"},"default_prompt_name":"query"}""");
        File.WriteAllText(Path.Combine(folder, "sentence_bert_config.json"), $$"""{"max_seq_length":{{MaxTokens}}}""");
        var vocabulary = new JsonObject { [":"] = 40 };
        for (char letter = 'a'; letter <= 'z'; letter++)
        {
            vocabulary[letter.ToString()] = Id(letter);
        }

        var end = new JsonObject { ["id"] = "<end>", ["ids"] = new JsonArray(End), ["tokens"] = new JsonArray("<end>") };
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), new JsonObject
        {
            ["version"] = "1.0",
            ["added_tokens"] = new JsonArray(new JsonObject
            {
                ["id"] = End, ["content"] = "<end>", ["special"] = true, ["single_word"] = false, ["lstrip"] = false, ["rstrip"] = false, ["normalized"] = false,
            }),
            ["normalizer"] = null,
            ["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = true },
            ["post_processor"] = new JsonObject
            {
                ["type"] = "TemplateProcessing",
                ["single"] = new JsonArray(
                    new JsonObject { ["Sequence"] = new JsonObject { ["id"] = "A", ["type_id"] = 0 } },
                    new JsonObject { ["SpecialToken"] = new JsonObject { ["id"] = "<end>", ["type_id"] = 0 } }),
                ["pair"] = new JsonArray(
                    new JsonObject { ["Sequence"] = new JsonObject { ["id"] = "A", ["type_id"] = 0 } },
                    new JsonObject { ["Sequence"] = new JsonObject { ["id"] = "B", ["type_id"] = 0 } }),
                ["special_tokens"] = new JsonObject { ["<end>"] = end },
            },
            ["decoder"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = true },
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = new JsonArray() },
        }.ToJsonString());
        return LanguageModel.LoadAsync(folder, new LanguageModelOptions { Threads = 1 });
    }
}
