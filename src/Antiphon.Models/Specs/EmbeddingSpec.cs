namespace Antiphon.Models;

/// <summary>How the hidden states of a text's tokens become one vector.</summary>
public enum Pooling
{
    /// <summary>The mean of all.</summary>
    Mean,

    /// <summary>The last token's: in a causal model the only one that has seen the whole text.</summary>
    Last,

    /// <summary>The first token's ("CLS").</summary>
    First,
}

/// <summary>What a model's files say about the embeddings that it makes; a property is null where they say nothing.</summary>
public sealed record EmbeddingSpec
{
    /// <summary>How hidden states are pooled.</summary>
    public Pooling? Pooling { get; init; }

    /// <summary>Longest text, in tokens, if less than the context.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Texts to put in front of what is embedded, by name: <c>query</c>.</summary>
    public IReadOnlyDictionary<string, string> Prompts { get; init; } = new Dictionary<string, string>();

    /// <summary>The name among <see cref="Prompts"/> of the one that is used when none is asked for.</summary>
    public string? DefaultPrompt { get; init; }

    /// <summary>
    /// Reads it: from modules.json and what belongs to it (sentence-transformers), or from the GGUF metadata <c>pooling_type</c>. Files that say nothing give
    /// a spec without values.
    /// </summary>
    /// <exception cref="ModelFormatException">A file is damaged.</exception>
    /// <exception cref="UnsupportedModelException">The model pools in another way, or has further layers behind its pooling.</exception>
    public static EmbeddingSpec Read(ModelSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        return source switch
        {
            HuggingFaceFolder { Modules: not null } folder => SentenceTransformerModules.Read(folder),
            GgufFile gguf => Read(gguf.Metadata),
            _ => new EmbeddingSpec(),
        };
    }

    private static EmbeddingSpec Read(GgufMetadata metadata)
    {
        string key = $"{metadata.GetString("general.architecture")}.pooling_type";
        return !metadata.TryGetInt32(key, out int type) ? new EmbeddingSpec() : new EmbeddingSpec
        {
            Pooling = type switch
            {
                0 => null,
                1 => Models.Pooling.Mean,
                2 => Models.Pooling.First,
                3 => Models.Pooling.Last,
                _ => throw new UnsupportedModelException($"{key} {type}"),
            },
        };
    }
}
