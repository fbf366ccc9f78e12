using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Gemma 1, 2 and 3: norms around zero, scaled embeddings, a gated GELU; from 2 on norms before and behind each part and windows on some layers.</summary>
internal static class Gemma
{
    public static ArchitectureMapping FromConfig(JsonConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, "gemma");

        // Early files say "gelu" and mean the tanh form, in which the model was trained.
        var feedForward = new DenseSpec(config.Int("intermediate_size"), Activation.GeluTanh);
        bool bias = config.FlagOr("attention_bias", false);
        AttentionSpec attention = sizes.Attention(new RopeConfig(config).Build(sizes.HeadSize)) with { QueryKeyValueBias = bias, OutputBias = bias };
        return Map(sizes, _ => new LayerSpec { Mixer = attention, FeedForward = feedForward, Norm = sizes.Rms }, config, source, sandwich: false);
    }

    public static ArchitectureMapping Gemma2FromConfig(JsonConfig config, ModelSource source)
    {
        Dimensions sizes = Sizes(config, "gemma2", heads: 8, keyValueHeads: 4, vocabulary: 256000, context: 8192);
        AttentionSpec attention = Attention(config, sizes) with { SoftCap = (float)config.NumberOr("attn_logit_softcapping", 0) };
        RopeSpec rope = new RopeConfig(config).Build(sizes.HeadSize);
        var feedForward = new DenseSpec(config.IntOr("intermediate_size", 9216), config.Activation("hidden_activation", "gelu_pytorch_tanh"));
        int[] windows = config.Windows(sizes.Layers, config.IntOr("sliding_window", 4096, 1, int.MaxValue), i => i % 2 == 0);
        return Map(
            sizes,
            i => Sandwich(attention with { Window = windows[i], Positions = rope }, feedForward, sizes),
            config,
            source,
            sandwich: true);
    }

    public static ArchitectureMapping Gemma3FromConfig(JsonConfig config, ModelSource source)
    {
        if (config.FlagOr("use_bidirectional_attention", false))
        {
            throw new UnsupportedModelException("use_bidirectional_attention");
        }

        Dimensions sizes = Sizes(config, "gemma3_text", heads: 8, keyValueHeads: 4, vocabulary: 262208, context: 131072);
        AttentionSpec attention = Attention(config, sizes) with { QueryKeyNorm = sizes.Rms };
        RopeSpec global = new RopeConfig(config, "full_attention").Build(sizes.HeadSize, 1e6);
        RopeSpec local = LocalRope(config, sizes.HeadSize);
        var feedForward = new DenseSpec(config.IntOr("intermediate_size", 9216), config.Activation("hidden_activation", "gelu_pytorch_tanh"));
        int pattern = config.IntOr("sliding_window_pattern", config.IntOr("_sliding_window_pattern", 6));
        int[] windows = config.Windows(sizes.Layers, config.IntOr("sliding_window", 4096, 1, int.MaxValue), i => (i + 1) % pattern != 0);
        return Map(
            sizes,
            i => Sandwich(attention with { Window = windows[i], Positions = windows[i] == 0 ? global : local }, feedForward, sizes),
            config,
            source,
            sandwich: true);
    }

    public static ArchitectureMapping FromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "gemma");
        AttentionSpec attention = sizes.Attention(GgufRope.Build(config, source, sizes.HeadSize, interleaved: false));
        var feedForward = new DenseSpec(config.Int("feed_forward_length"), Activation.GeluTanh);
        return Scale(GgufDecoder.Map(sizes, attention, feedForward, source), source);
    }

    public static ArchitectureMapping Gemma2FromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "gemma2");

        // The metadata has no query scalar: only the 27B model's differs from the head size.
        AttentionSpec attention = sizes.Attention(GgufRope.Build(config, source, sizes.HeadSize, interleaved: false)) with
        {
            SoftCap = (float)config.NumberOr("attn_logit_softcapping", 0),
            Scale = sizes.Layers == 46 ? (float)(1 / Math.Sqrt((double)sizes.Width / sizes.Heads)) : sizes.HeadScale,
        };
        int window = config.IntOr("attention.sliding_window", 4096, 0, int.MaxValue);
        var feedForward = new DenseSpec(config.Int("feed_forward_length"), Activation.GeluTanh);
        return Scale(GgufSandwich(sizes, i => attention with { Window = i % 2 == 0 ? window : 0 }, feedForward, config, source), source);
    }

    public static ArchitectureMapping Gemma3FromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "gemma3_text");
        RopeSpec global = GgufRope.Build(config, source, sizes.HeadSize, interleaved: false);
        RopeSpec local = GgufRope.Build(config, source, sizes.HeadSize, interleaved: false, thetaField: "rope.freq_base_swa", scaled: false);

        // The metadata has no query scalar: only the 27B model's differs from the head size.
        AttentionSpec attention = sizes.Attention(global) with
        {
            QueryKeyNorm = sizes.Rms,
            Scale = sizes.Layers == 62 ? (float)(1 / Math.Sqrt((double)sizes.Width / sizes.Heads)) : sizes.HeadScale,
        };
        int window = config.IntOr("attention.sliding_window", 0, 0, int.MaxValue);
        int pattern = config.IntOr("attention.sliding_window_pattern", 6);
        var feedForward = new DenseSpec(config.Int("feed_forward_length"), Activation.GeluTanh);
        return Scale(
            GgufSandwich(
                sizes,
                i => (i + 1) % pattern != 0 ? attention with { Window = window, Positions = local } : attention,
                feedForward,
                config,
                source),
            source);
    }

    private static Dimensions Sizes(JsonConfig config, string architecture, int heads, int keyValueHeads, int vocabulary, int context)
    {
        // Published Gemma configs leave out what equals the class default, so a head size cannot be derived from other fields.
        heads = config.IntOr("num_attention_heads", heads, 1, 1 << 16);
        keyValueHeads = config.IntOr("num_key_value_heads", keyValueHeads, 1, heads);
        if (heads % keyValueHeads != 0)
        {
            throw new ModelFormatException($"the config's num_key_value_heads ({keyValueHeads}) must divide its num_attention_heads ({heads})");
        }

        return new Dimensions
        {
            Architecture = architecture,
            Vocabulary = config.IntOr("vocab_size", vocabulary),
            Width = config.IntOr("hidden_size", 2304, 1, 1 << 20),
            Context = config.IntOr("max_position_embeddings", context, 1, int.MaxValue),
            Layers = config.IntOr("num_hidden_layers", 26, 1, 1 << 12),
            Heads = heads,
            KeyValueHeads = keyValueHeads,
            HeadSize = config.IntOr("head_dim", 256, 1, 1 << 14),
            Epsilon = (float)config.PositiveOr("rms_norm_eps", 1e-6),
        };
    }

    private static AttentionSpec Attention(JsonConfig config, Dimensions sizes)
    {
        bool bias = config.FlagOr("attention_bias", false);
        return sizes.Attention(null) with
        {
            Scale = (float)(1 / Math.Sqrt(config.PositiveOr("query_pre_attn_scalar", 256))), QueryKeyValueBias = bias, OutputBias = bias,
        };
    }

    private static RopeSpec LocalRope(JsonConfig config, int headSize)
    {
        if (config.Section("rope_parameters") is { } current && current.Has("sliding_attention"))
        {
            return new RopeConfig(config, "sliding_attention").Build(headSize);
        }

        double theta = config.PositiveOr("rope_local_base_freq", 10000);
        return new RopeSpec { Frequencies = RopeTables.ToSingle(RopeTables.Plain(theta, headSize & ~1)) };
    }

    private static LayerSpec Sandwich(AttentionSpec attention, FeedForwardSpec feedForward, Dimensions sizes) =>
        new() { Mixer = attention, FeedForward = feedForward, Norm = sizes.Rms, Placement = NormPlacement.Sandwich };

    private static ArchitectureMapping Map(Dimensions sizes, Func<int, LayerSpec> layer, JsonConfig config, ModelSource source, bool sandwich)
    {
        Dictionary<string, string> table = sandwich
            ? HuggingFaceNames.With(
                ("attn_post_norm", "layers.{i}.post_attention_layernorm"),
                ("ffn_norm", "layers.{i}.pre_feedforward_layernorm"),
                ("ffn_post_norm", "layers.{i}.post_feedforward_layernorm"))
            : HuggingFaceNames.With();
        var names = new TensorNames(table, HuggingFaceNames.PrefixOf(source), isGguf: false) { NormOffset = 1 };
        ArchitectureMapping mapping = Llama.Map(sizes, layer, config, source, names, tied: true);
        string type = config.TextOr("dtype", config.TextOr("torch_dtype", "bfloat16"));
        return mapping with
        {
            Spec = mapping.Spec with
            {
                EmbeddingScale = EmbeddingScale(sizes.Width, type == "bfloat16"),
                LogitSoftCap = (float)config.NumberOr("final_logit_softcapping", 0),
            },
        };
    }

    private static ArchitectureMapping GgufSandwich(
        Dimensions sizes, Func<int, AttentionSpec> attention, FeedForwardSpec feedForward, GgufConfig config, ModelSource source)
    {
        ArchitectureMapping mapping = GgufDecoder.Map(
            sizes,
            i => Sandwich(attention(i), feedForward, sizes),
            source,
            ("attn_post_norm", "blk.{i}.post_attention_norm"),
            ("ffn_post_norm", "blk.{i}.post_ffw_norm"));
        return mapping with { Spec = mapping.Spec with { LogitSoftCap = (float)config.NumberOr("final_logit_softcapping", 0) } };
    }

    private static ArchitectureMapping Scale(ArchitectureMapping mapping, ModelSource source)
    {
        bool isSingle = source.TryGetTensor("token_embd.weight", out TensorView table) && table.Format == TensorFormat.F32;
        return mapping with { Spec = mapping.Spec with { EmbeddingScale = EmbeddingScale(mapping.Spec.Width, !isSingle) } };
    }

    /// <summary>√width, rounded to the type in which the model was trained: the rounding is part of the model.</summary>
    private static float EmbeddingScale(int width, bool isBrain)
    {
        float scale = (float)Math.Sqrt(width);
        if (!isBrain)
        {
            return scale;
        }

        uint bits = BitConverter.SingleToUInt32Bits(scale);
        return BitConverter.UInt32BitsToSingle((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000);
    }
}
