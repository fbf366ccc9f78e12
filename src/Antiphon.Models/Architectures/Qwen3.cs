using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Qwen 3, dense and with experts: Llama with a norm on each query and key head.</summary>
internal static class Qwen3
{
    public static ArchitectureMapping FromConfig(JsonConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, "qwen3");
        AttentionSpec attention = Attention(config, sizes);
        var feedForward = new DenseSpec(config.Int("intermediate_size"), config.Activation("hidden_act", "silu"));
        int[] windows = Qwen2.Windows(config, sizes.Layers);
        return Llama.Map(
            sizes, i => new LayerSpec { Mixer = attention with { Window = windows[i] }, FeedForward = feedForward, Norm = sizes.Rms }, config, source);
    }

    public static ArchitectureMapping MixtureFromConfig(JsonConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, "qwen3_moe");
        AttentionSpec attention = Attention(config, sizes) with
        {
            Window = config.FlagOr("use_sliding_window", false) ? config.IntOr("sliding_window", 4096, 1, int.MaxValue) : 0,
        };
        Func<int, FeedForwardSpec> feedForward = FeedForwards(config);
        return Llama.Map(sizes, i => new LayerSpec { Mixer = attention, FeedForward = feedForward(i), Norm = sizes.Rms }, config, source);
    }

    public static ArchitectureMapping FromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "qwen3");
        return GgufDecoder.Map(sizes, Attention(config, source, sizes), new DenseSpec(config.Int("feed_forward_length"), Activation.Silu), source);
    }

    public static ArchitectureMapping MixtureFromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "qwen3_moe");
        int experts = config.Int("expert_count", 1, 1 << 16);
        var mixture = new MixtureSpec
        {
            Experts = experts,
            Used = config.Int("expert_used_count", 1, experts),
            ExpertWidth = config.Int("expert_feed_forward_length"),
            Activation = Activation.Silu,
            Router = new RouterSpec { Score = RouterScore.Softmax, Normalize = config.FlagOr("expert_weights_norm", true) },
        };
        return GgufDecoder.Map(sizes, Attention(config, source, sizes), mixture, source);
    }

    /// <summary>Dense and expert layers as Qwen's configs state them.</summary>
    public static Func<int, FeedForwardSpec> FeedForwards(JsonConfig config, bool normalize = false)
    {
        Activation activation = config.Activation("hidden_act", "silu");
        int experts = config.IntOr("num_experts", config.IntOr("num_local_experts", 0, 0, 1 << 16), 0, 1 << 16);
        int[] denseLayers = config.IntsOr("mlp_only_layers", []);
        int step = config.IntOr("decoder_sparse_step", 1);
        MixtureSpec? mixture = experts == 0 ? null : new MixtureSpec
        {
            Experts = experts,
            Used = config.Int("num_experts_per_tok", 1, experts),
            ExpertWidth = config.Int("moe_intermediate_size"),
            Activation = activation,
            Router = new RouterSpec { Score = RouterScore.Softmax, Normalize = config.FlagOr("norm_topk_prob", normalize) },
            SharedWidth = config.IntOr("shared_expert_intermediate_size", 0, 0),
            SharedGate = true,
        };
        return layer => mixture is null || (layer + 1) % step != 0 || Array.IndexOf(denseLayers, layer) >= 0
            ? new DenseSpec(config.Int("intermediate_size"), activation)
            : mixture;
    }

    private static AttentionSpec Attention(JsonConfig config, Dimensions sizes)
    {
        bool bias = config.FlagOr("attention_bias", false);
        return sizes.Attention(new RopeConfig(config).Build(sizes.HeadSize)) with
        {
            QueryKeyNorm = sizes.Rms, QueryKeyValueBias = bias, OutputBias = bias,
        };
    }

    private static AttentionSpec Attention(GgufConfig config, ModelSource source, Dimensions sizes) =>
        sizes.Attention(GgufRope.Build(config, source, sizes.HeadSize, interleaved: false)) with { QueryKeyNorm = sizes.Rms };
}
