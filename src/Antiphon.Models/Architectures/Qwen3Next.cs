using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Qwen3-Next: three gated delta nets to one gated attention, and a mixture with a gated shared expert.</summary>
internal static class Qwen3Next
{
    public static ArchitectureMapping FromConfig(JsonConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, "qwen3_next");
        bool bias = config.FlagOr("attention_bias", false);
        AttentionSpec attention = sizes.Attention(new RopeConfig(config).Build(sizes.HeadSize, partial: 0.25)) with
        {
            QueryKeyNorm = sizes.Rms, OutputGate = true, QueryKeyValueBias = bias, OutputBias = bias,
        };
        GatedDeltaNetSpec deltaNet = DeltaNet(
            sizes,
            config.IntOr("linear_num_key_heads", 16, 1, 1 << 12),
            config.IntOr("linear_num_value_heads", 32, 1, 1 << 12),
            config.IntOr("linear_key_head_dim", 128, 1, 1 << 12),
            config.IntOr("linear_value_head_dim", 128, 1, 1 << 12),
            config.IntOr("linear_conv_kernel_dim", 4, 2, 256));
        Func<int, FeedForwardSpec> feedForward = Qwen3.FeedForwards(config, normalize: true);
        bool[] full = FullLayers(config, sizes.Layers);
        var names = new TensorNames(
            HuggingFaceNames.With(
                ("ssm_in", "layers.{i}.linear_attn.in_proj_qkvz"),
                ("ssm_ba", "layers.{i}.linear_attn.in_proj_ba"),
                ("ssm_conv1d", "layers.{i}.linear_attn.conv1d"),
                ("ssm_a_log.weight", "layers.{i}.linear_attn.A_log"),
                ("ssm_dt.bias", "layers.{i}.linear_attn.dt_bias"),
                ("ssm_norm", "layers.{i}.linear_attn.norm"),
                ("ssm_out", "layers.{i}.linear_attn.out_proj")),
            HuggingFaceNames.PrefixOf(source),
            isGguf: false)
        {
            NormOffset = 1,
        };
        return Llama.Map(
            sizes, i => new LayerSpec { Mixer = full[i] ? attention : deltaNet, FeedForward = feedForward(i), Norm = sizes.Rms }, config, source, names);
    }

    public static ArchitectureMapping FromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "qwen3_next");
        AttentionSpec attention = sizes.Attention(GgufRope.Build(config, source, sizes.HeadSize, interleaved: false)) with
        {
            QueryKeyNorm = sizes.Rms, OutputGate = true,
        };
        int valueHeads = config.Int("ssm.time_step_rank", 1, 1 << 12);
        int inner = config.Int("ssm.inner_size");
        if (inner % valueHeads != 0)
        {
            throw new ModelFormatException($"the metadata's ssm.time_step_rank ({valueHeads}) must divide its ssm.inner_size ({inner})");
        }

        GatedDeltaNetSpec deltaNet = DeltaNet(
            sizes,
            config.Int("ssm.group_count", 1, 1 << 12),
            valueHeads,
            config.Int("ssm.state_size", 1, 1 << 12),
            inner / valueHeads,
            config.Int("ssm.conv_kernel", 2, 256));
        int interval = config.IntOr("full_attention_interval", 4);
        int experts = config.Int("expert_count", 1, 1 << 16);
        var mixture = new MixtureSpec
        {
            Experts = experts,
            Used = config.Int("expert_used_count", 1, experts),
            ExpertWidth = config.Int("expert_feed_forward_length"),
            Activation = Activation.Silu,
            Router = new RouterSpec { Score = RouterScore.Softmax, Normalize = config.FlagOr("expert_weights_norm", true) },
            SharedWidth = config.Int("expert_shared_feed_forward_length"),
            SharedGate = true,
        };
        return GgufDecoder.Map(
            sizes,
            i => new LayerSpec { Mixer = (i + 1) % interval == 0 ? attention : deltaNet, FeedForward = mixture, Norm = sizes.Rms },
            source,
            ("ffn_norm", "blk.{i}.post_attention_norm"),
            ("ssm_qkv", "blk.{i}.attn_qkv"),
            ("ssm_z", "blk.{i}.attn_gate"),
            ("ssm_a.weight", "blk.{i}.ssm_a"));
    }

    private static GatedDeltaNetSpec DeltaNet(Dimensions sizes, int keyHeads, int valueHeads, int keySize, int valueSize, int taps)
    {
        if (valueHeads % keyHeads != 0)
        {
            throw new ModelFormatException($"the config's linear_num_key_heads ({keyHeads}) must divide its linear_num_value_heads ({valueHeads})");
        }

        return new GatedDeltaNetSpec
        {
            KeyHeads = keyHeads, ValueHeads = valueHeads, KeySize = keySize, ValueSize = valueSize, ConvolutionWidth = taps, OutputNorm = sizes.Rms,
        };
    }

    private static bool[] FullLayers(JsonConfig config, int layers)
    {
        int interval = config.IntOr("full_attention_interval", 4);
        string[]? types = config.Texts("layer_types", layers);
        bool[] full = new bool[layers];
        for (int i = 0; i < layers; i++)
        {
            full[i] = types is null ? (i + 1) % interval == 0 : types[i] switch
            {
                "full_attention" => true,
                "linear_attention" => false,
                string other => throw new UnsupportedModelException($"layer_types '{other}'"),
            };
        }

        return full;
    }
}
