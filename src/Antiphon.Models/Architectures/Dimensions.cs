namespace Antiphon.Models;

/// <summary>The sizes that every decoder has, read and checked.</summary>
internal sealed record Dimensions
{
    public required int Vocabulary { get; init; }

    public required int Width { get; init; }

    public required int Context { get; init; }

    public required int Layers { get; init; }

    public required int Heads { get; init; }

    public required int KeyValueHeads { get; init; }

    public required int HeadSize { get; init; }

    public required float Epsilon { get; init; }

    public required string Architecture { get; init; }

    public float HeadScale => (float)(1 / Math.Sqrt(HeadSize));

    public static Dimensions From(JsonConfig config, string architecture, double epsilon = 1e-6, bool hasHeads = true)
    {
        int heads = config.Int("num_attention_heads", 1, 1 << 16);
        int width = config.Int("hidden_size", 1, 1 << 20);
        int keyValueHeads = config.IntOr("num_key_value_heads", heads, 1, heads);
        int headSize = hasHeads ? config.IntOr("head_dim", Math.Max(1, width / heads), 1, 1 << 14) : 1;
        if (hasHeads && heads % keyValueHeads != 0)
        {
            throw new ModelFormatException($"the config's num_key_value_heads ({keyValueHeads}) must divide its num_attention_heads ({heads})");
        }

        return new Dimensions
        {
            Architecture = architecture,
            Vocabulary = config.Int("vocab_size"),
            Width = width,
            Context = config.Int("max_position_embeddings", 1, int.MaxValue),
            Layers = config.Int("num_hidden_layers", 1, 1 << 12),
            Heads = heads,
            KeyValueHeads = keyValueHeads,
            HeadSize = headSize,
            Epsilon = (float)config.PositiveOr("rms_norm_eps", epsilon),
        };
    }

    public static Dimensions From(GgufConfig config, ModelSource source, string architecture)
    {
        int heads = config.Int("attention.head_count", 1, 1 << 16);
        int width = config.Int("embedding_length", 1, 1 << 20);
        int keyValueHeads = config.IntOr("attention.head_count_kv", heads, 1, heads);
        if (heads % keyValueHeads != 0)
        {
            throw new ModelFormatException($"the metadata's {architecture}.attention.head_count_kv ({keyValueHeads}) must divide its head_count ({heads})");
        }

        int headSize = config.IntOr("attention.key_length", Math.Max(1, width / heads), 1, 1 << 14);
        bool isRms = config.Has("attention.layer_norm_rms_epsilon");
        return new Dimensions
        {
            Architecture = architecture,
            Vocabulary = VocabularyOf(config, source),
            Width = width,
            Context = config.Int("context_length", 1, int.MaxValue),
            Layers = config.Int("block_count", 1, 1 << 12),
            Heads = heads,
            KeyValueHeads = keyValueHeads,
            HeadSize = headSize,
            Epsilon = (float)config.PositiveOr(isRms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", 1e-5),
        };
    }

    public NormSpec Rms => new(NormKind.Rms, Epsilon);

    /// <summary>Plain grouped attention of these sizes.</summary>
    public AttentionSpec Attention(PositionSpec? positions) => new()
    {
        Heads = Heads,
        KeyValueHeads = KeyValueHeads,
        HeadSize = HeadSize,
        Scale = HeadScale,
        Positions = positions,
    };

    /// <summary>A model of these sizes whose layers are given one by one.</summary>
    public ModelSpec Model(Func<int, LayerSpec> layer, bool tied, NormSpec? norm = null)
    {
        LayerSpec[] layers = new LayerSpec[Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            layers[i] = layer(i);
        }

        return new ModelSpec
        {
            Architecture = Architecture,
            VocabularySize = Vocabulary,
            Width = Width,
            ContextLength = Context,
            Layers = layers,
            FinalNorm = norm ?? Rms,
            TiedHead = tied,
        };
    }

    private static int VocabularyOf(GgufConfig config, ModelSource source)
    {
        if (!source.TryGetTensor("token_embd.weight", out TensorView table) || table.Shape.Count != 2 || table.Shape[0] is < 1 or > ConfigReader.LargestSize)
        {
            throw new ModelFormatException($"{source.Path}: token_embd.weight is missing or is not a matrix of [vocabulary, width]");
        }

        return config.IntOr("vocab_size", (int)table.Shape[0]);
    }
}
