using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>gpt-oss: attention sinks, a window on every other layer, YaRN with fractional bounds, clamped SwiGLU experts.</summary>
internal static class GptOss
{
    private const float DefaultAlpha = 1.702f;
    private const float DefaultLimit = 7;

    public static ArchitectureMapping FromConfig(JsonConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, "gpt_oss", 1e-5);
        bool bias = config.FlagOr("attention_bias", true);
        AttentionSpec attention = sizes.Attention(new RopeConfig(config).Build(sizes.HeadSize, 150000)) with
        {
            Sinks = true, QueryKeyValueBias = bias, OutputBias = bias,
        };
        int experts = config.Int("num_local_experts", 1, 1 << 16);
        MixtureSpec mixture = Experts(experts, config.Int("num_experts_per_tok", 1, experts), config.Int("intermediate_size")) with
        {
            GateAlpha = (float)config.PositiveOr("swiglu_alpha", DefaultAlpha), GateLimit = (float)config.PositiveOr("swiglu_limit", DefaultLimit),
        };
        int[] windows = config.Windows(sizes.Layers, config.IntOr("sliding_window", 128, 1, int.MaxValue), i => i % 2 == 0);
        var names = new TensorNames(
            HuggingFaceNames.With(
                ("attn_sinks.weight", "layers.{i}.self_attn.sinks"),
                ("ffn_gate_inp", "layers.{i}.mlp.router"),
                ("ffn_gate_up_exps.bias", "layers.{i}.mlp.experts.gate_up_proj_bias"),
                ("ffn_gate_up_exps.blocks", "layers.{i}.mlp.experts.gate_up_proj_blocks"),
                ("ffn_gate_up_exps.scales", "layers.{i}.mlp.experts.gate_up_proj_scales"),
                ("ffn_down_exps.bias", "layers.{i}.mlp.experts.down_proj_bias"),
                ("ffn_down_exps.blocks", "layers.{i}.mlp.experts.down_proj_blocks"),
                ("ffn_down_exps.scales", "layers.{i}.mlp.experts.down_proj_scales")),
            HuggingFaceNames.PrefixOf(source),
            isGguf: false)
        {
            AlternatingExperts = true,
        };
        return Llama.Map(
            sizes, i => new LayerSpec { Mixer = attention with { Window = windows[i] }, FeedForward = mixture, Norm = sizes.Rms }, config, source, names);
    }

    public static ArchitectureMapping FromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "gpt_oss");

        // Neither the layer pattern nor the fractional bounds of YaRN are in the metadata.
        AttentionSpec attention = sizes.Attention(GgufRope.Build(config, source, sizes.HeadSize, interleaved: false, truncate: false)) with
        {
            Sinks = true, QueryKeyValueBias = true, OutputBias = true,
        };
        int window = config.Int("attention.sliding_window", 0, int.MaxValue);
        int experts = config.Int("expert_count", 1, 1 << 16);
        MixtureSpec mixture = Experts(experts, config.Int("expert_used_count", 1, experts), config.Int("expert_feed_forward_length"));
        return GgufDecoder.Map(
            sizes,
            i => new LayerSpec { Mixer = attention with { Window = i % 2 == 0 ? window : 0 }, FeedForward = mixture, Norm = sizes.Rms },
            source,
            ("ffn_norm", "blk.{i}.post_attention_norm"));
    }

    private static MixtureSpec Experts(int experts, int used, int width) => new()
    {
        Experts = experts,
        Used = used,
        ExpertWidth = width,
        Activation = Activation.Silu,
        GateAlpha = DefaultAlpha,
        GateLimit = DefaultLimit,
        ExpertBias = true,
        Router = new RouterSpec { Score = RouterScore.SoftmaxOfChosen, Bias = true },
    };
}
