using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>GPT-2: learned positions, layer norms, biases everywhere, linear layers stored input features first.</summary>
internal static class Gpt2
{
    public static ArchitectureMapping FromConfig(JsonConfig config, ModelSource source)
    {
        int heads = config.Int("n_head", 1, 1 << 12);
        Dimensions sizes = new()
        {
            Architecture = "gpt2",
            Vocabulary = config.Int("vocab_size"),
            Width = config.Int("n_embd", 1, 1 << 20),
            Context = config.Int("n_positions"),
            Layers = config.Int("n_layer", 1, 1 << 12),
            Heads = heads,
            KeyValueHeads = heads,
            HeadSize = config.Int("n_embd", heads, 1 << 20) / heads,
            Epsilon = (float)config.PositiveOr("layer_norm_epsilon", 1e-5),
        };
        float scale = config.FlagOr("scale_attn_weights", true) ? sizes.HeadScale : 1;
        bool byLayer = config.FlagOr("scale_attn_by_inverse_layer_idx", false);
        var feedForward = new DenseSpec(
            config.IntOr("n_inner", 4 * sizes.Width), config.Activation("activation_function", "gelu_new"), Gated: false, Bias: true);
        string prefix = HuggingFaceNames.PrefixOf(source, "wte");
        var names = new TensorNames(
            new Dictionary<string, string>
            {
                ["token_embd"] = "wte",
                ["position_embd"] = "wpe",
                ["output_norm"] = "ln_f",
                ["output"] = "/lm_head",
                ["attn_norm"] = "h.{i}.ln_1",
                ["attn_qkv"] = "h.{i}.attn.c_attn",
                ["attn_output"] = "h.{i}.attn.c_proj",
                ["ffn_norm"] = "h.{i}.ln_2",
                ["ffn_up"] = "h.{i}.mlp.c_fc",
                ["ffn_down"] = "h.{i}.mlp.c_proj",
            },
            prefix,
            isGguf: false)
        {
            InputFirst = true,
        };
        return new(Model(sizes, i => byLayer ? scale / (i + 1) : scale, feedForward, config.FlagOr("tie_word_embeddings", true)), names);
    }

    public static ArchitectureMapping FromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "gpt2");
        var feedForward = new DenseSpec(config.Int("feed_forward_length"), Activation.GeluTanh, Gated: false, Bias: true);
        ModelSpec spec = Model(sizes, _ => sizes.HeadScale, feedForward, GgufDecoder.IsTied(source));
        return new(spec, new TensorNames(new Dictionary<string, string>(), "", isGguf: true));
    }

    private static ModelSpec Model(Dimensions sizes, Func<int, float> scale, FeedForwardSpec feedForward, bool tied)
    {
        var norm = new NormSpec(NormKind.Layer, sizes.Epsilon, HasBias: true);
        ModelSpec spec = sizes.Model(
            i => new LayerSpec
            {
                Mixer = sizes.Attention(null) with { Scale = scale(i), QueryKeyValueBias = true, OutputBias = true },
                FeedForward = feedForward,
                Norm = norm,
            },
            tied,
            norm);
        return spec with { LearnedPositions = new LearnedPositionsSpec(sizes.Context, 0) };
    }
}
