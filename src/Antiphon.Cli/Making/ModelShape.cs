namespace Antiphon.Cli.Making;

/// <summary>The sizes of a published model, without its weights. All have Llama's layers: RMS norms, grouped attention with rotary positions, a gated feed-forward network, and a head that is the embedding table.</summary>
internal sealed record ModelShape
{
    /// <summary>Its name on the command line.</summary>
    public required string Name { get; init; }

    /// <summary>The GGUF name of the architecture: llama or qwen3.</summary>
    public required string Architecture { get; init; }

    public required int Layers { get; init; }

    public required int Width { get; init; }

    public required int InnerWidth { get; init; }

    public required int Heads { get; init; }

    public required int KeyValueHeads { get; init; }

    public required int HeadSize { get; init; }

    public required int Vocabulary { get; init; }

    public required int Context { get; init; }

    public required float RopeBase { get; init; }

    public required float Epsilon { get; init; }

    /// <summary>The context that Llama 3's rotary scaling starts from, with factors 32, 1 and 4; 0: no scaling.</summary>
    public int ScaledFrom { get; init; }

    /// <summary>How text is cut into words (tokenizer.ggml.pre).</summary>
    public required string WordRule { get; init; }

    /// <summary>Whether each query and key head has a norm.</summary>
    public bool HeadNorms => Architecture == "qwen3";

    /// <summary>The shapes, by size.</summary>
    public static IReadOnlyList<ModelShape> All { get; } =
    [
        new()
        {
            Name = "tiny", Architecture = "qwen3", Layers = 2, Width = 256, InnerWidth = 768, Heads = 4, KeyValueHeads = 2, HeadSize = 64,
            Vocabulary = 1024, Context = 1024, RopeBase = 10_000, Epsilon = 1e-6f, WordRule = "qwen2",
        },
        new()
        {
            Name = "smollm2-135m", Architecture = "llama", Layers = 30, Width = 576, InnerWidth = 1536, Heads = 9, KeyValueHeads = 3, HeadSize = 64,
            Vocabulary = 49_152, Context = 8192, RopeBase = 100_000, Epsilon = 1e-5f, WordRule = "smollm",
        },
        new()
        {
            Name = "qwen3-0.6b", Architecture = "qwen3", Layers = 28, Width = 1024, InnerWidth = 3072, Heads = 16, KeyValueHeads = 8, HeadSize = 128,
            Vocabulary = 151_936, Context = 40_960, RopeBase = 1_000_000, Epsilon = 1e-6f, WordRule = "qwen2",
        },
        new()
        {
            Name = "llama-3.2-1b", Architecture = "llama", Layers = 16, Width = 2048, InnerWidth = 8192, Heads = 32, KeyValueHeads = 8, HeadSize = 64,
            Vocabulary = 128_256, Context = 131_072, RopeBase = 500_000, Epsilon = 1e-5f, ScaledFrom = 8192, WordRule = "llama-bpe",
        },
    ];
}
