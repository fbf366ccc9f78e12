using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Qwen 2 and 2.5: Llama with biases on queries, keys and values, and windows on the upper layers when they are turned on.</summary>
internal static class Qwen2
{
    public static ArchitectureMapping FromConfig(JsonConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, "qwen2");
        AttentionSpec attention = sizes.Attention(new RopeConfig(config).Build(sizes.HeadSize)) with { QueryKeyValueBias = true };
        var feedForward = new DenseSpec(config.Int("intermediate_size"), config.Activation("hidden_act", "silu"));
        int[] windows = Windows(config, sizes.Layers);
        return Llama.Map(
            sizes, i => new LayerSpec { Mixer = attention with { Window = windows[i] }, FeedForward = feedForward, Norm = sizes.Rms }, config, source);
    }

    public static ArchitectureMapping FromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "qwen2");
        AttentionSpec attention = sizes.Attention(GgufRope.Build(config, source, sizes.HeadSize, interleaved: false)) with { QueryKeyValueBias = true };
        return GgufDecoder.Map(sizes, attention, new DenseSpec(config.Int("feed_forward_length"), Activation.Silu), source);
    }

    /// <summary>Windows as Qwen configs state them.</summary>
    public static int[] Windows(JsonConfig config, int layers)
    {
        bool used = config.FlagOr("use_sliding_window", false);
        int first = config.IntOr("max_window_layers", layers, 0);
        return config.Windows(layers, used ? config.IntOr("sliding_window", 4096, 1, int.MaxValue) : 0, i => i >= first);
    }
}
