using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Phi-3, 3.5 and 4: Llama with fused projections, partial rotation and LongRoPE.</summary>
internal static class Phi3
{
    public static ArchitectureMapping FromConfig(JsonConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, "phi3", 1e-5);
        AttentionSpec attention = sizes.Attention(new RopeConfig(config).Build(sizes.HeadSize)) with
        {
            Window = config.IntOr("sliding_window", 0, 1, int.MaxValue),
        };
        return Llama.Map(sizes, attention, new DenseSpec(config.Int("intermediate_size"), config.Activation("hidden_act", "silu")), config, source);
    }

    public static ArchitectureMapping FromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "phi3");
        AttentionSpec attention = sizes.Attention(GgufRope.Build(config, source, sizes.HeadSize, interleaved: false)) with
        {
            Window = config.IntOr("attention.sliding_window", 0, 0, int.MaxValue),
        };
        var feedForward = new DenseSpec(config.Int("feed_forward_length"), Activation.Silu);
        return GgufDecoder.Map(
            sizes,
            _ => new LayerSpec { Mixer = attention, FeedForward = feedForward, Norm = sizes.Rms },
            source,
            ("ffn_gate_up", "blk.{i}.ffn_up"));
    }
}
