using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Llama 1 to 3 and what was built after it without a change; in GGUF also Mistral and Mixtral.</summary>
internal static class Llama
{
    public static ArchitectureMapping FromConfig(JsonConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, "llama");
        bool bias = config.FlagOr("attention_bias", false);
        AttentionSpec attention = sizes.Attention(new RopeConfig(config).Build(sizes.HeadSize)) with { QueryKeyValueBias = bias, OutputBias = bias };
        var feedForward = new DenseSpec(
            config.Int("intermediate_size"), config.Activation("hidden_act", "silu"), Bias: config.FlagOr("mlp_bias", false));
        return Map(sizes, attention, feedForward, config, source);
    }

    public static ArchitectureMapping FromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "llama");

        // The converter reorders the rows of Q and K so that rotated pairs are neighbours; the scores are the same either way.
        AttentionSpec attention = sizes.Attention(GgufRope.Build(config, source, sizes.HeadSize, interleaved: true)) with
        {
            QueryKeyValueBias = source.TryGetTensor("blk.0.attn_q.bias", out _),
            OutputBias = source.TryGetTensor("blk.0.attn_output.bias", out _),
        };
        int width = config.Int("feed_forward_length");
        int experts = config.IntOr("expert_count", 0, 0, 1 << 16);
        FeedForwardSpec feedForward = experts > 0
            ? Mixtral.Experts(experts, config.Int("expert_used_count", 1, experts), width)
            : new DenseSpec(width, Activation.Silu, Bias: source.TryGetTensor("blk.0.ffn_down.bias", out _));
        return GgufDecoder.Map(sizes, attention, feedForward, source);
    }

    /// <summary>A decoder whose layers are all alike, with Llama's names.</summary>
    public static ArchitectureMapping Map(
        Dimensions sizes, MixerSpec mixer, FeedForwardSpec feedForward, JsonConfig config, ModelSource source, TensorNames? names = null) =>
        Map(sizes, _ => new LayerSpec { Mixer = mixer, FeedForward = feedForward, Norm = sizes.Rms }, config, source, names);

    /// <summary>A decoder with Llama's names.</summary>
    public static ArchitectureMapping Map(
        Dimensions sizes, Func<int, LayerSpec> layer, JsonConfig config, ModelSource source, TensorNames? names = null, bool tied = false) =>
        new(
            sizes.Model(layer, config.FlagOr("tie_word_embeddings", tied)),
            names ?? new TensorNames(HuggingFaceNames.With(), HuggingFaceNames.PrefixOf(source), isGguf: false));
}
