using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>DeepSeek V2 and V3: latent attention and grouped mixtures with shared experts.</summary>
internal static class DeepSeek
{
    // The reference gives the two compression norms this ε whatever the config says.
    private const float CompressionEpsilon = 1e-6f;

    public static ArchitectureMapping V2FromConfig(JsonConfig config, ModelSource source)
    {
        bool grouped = config.TextOr("topk_method", "greedy") switch
        {
            "greedy" => false,
            "group_limited_greedy" => true,
            _ => throw config.Unsupported("topk_method"),
        };
        var router = new RouterSpec
        {
            Score = RouterScore.Softmax,
            Factor = (float)config.NumberOr("routed_scaling_factor", 1),
            Groups = grouped ? config.IntOr("n_group", 1) : 1,
            GroupsUsed = grouped ? config.IntOr("topk_group", 1) : 1,
        };
        return FromConfig(config, source, "deepseek_v2", router, interleaved: true);
    }

    public static ArchitectureMapping V3FromConfig(JsonConfig config, ModelSource source)
    {
        var router = new RouterSpec
        {
            Score = RouterScore.Sigmoid,
            SelectionBias = true,
            Normalize = config.FlagOr("norm_topk_prob", true),
            NormalizeEpsilon = 1e-20f,
            Factor = (float)config.NumberOr("routed_scaling_factor", 2.5),
            Groups = config.IntOr("n_group", 8),
            GroupsUsed = config.IntOr("topk_group", 4),
            GroupByTwoBest = true,
        };
        return FromConfig(config, source, "deepseek_v3", router, config.FlagOr("rope_interleave", true));
    }

    public static ArchitectureMapping FromGguf(GgufConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, source, "deepseek2");
        int rank = config.Int("attention.kv_lora_rank");
        int rotated = config.Int("rope.dimension_count", 2, 1 << 14);
        int whole = config.IntOr("attention.key_length_mla", config.Int("attention.key_length"), rotated + 1);
        int value = config.IntOr("attention.value_length_mla", config.Int("attention.value_length"));
        double multiplier = config.NumberOr("rope.scaling.yarn_log_multiplier", 0);
        double magnitude = multiplier == 0 ? 1 : (multiplier * Math.Log(config.PositiveOr("rope.scaling.factor", 1))) + 1;
        var attention = new LatentAttentionSpec
        {
            Heads = sizes.Heads,
            QueryRank = config.IntOr("attention.q_lora_rank", 0, 0),
            LatentRank = rank,
            PlainSize = whole - rotated,
            RotatedSize = rotated,
            ValueSize = value,
            Scale = (float)(magnitude * magnitude / Math.Sqrt(whole)),
            Rope = GgufRope.Build(config, source, rotated, interleaved: true),
            CompressionNormEpsilon = CompressionEpsilon,
        };
        int dense = config.IntOr("leading_dense_block_count", 0, 0);
        var denseFeedForward = new DenseSpec(config.Int("feed_forward_length"), Activation.Silu);
        bool hasBias = source.TryGetTensor($"blk.{dense}.exp_probs_b.bias", out _);
        int experts = config.Int("expert_count", 1, 1 << 16);
        int expertWidth = config.Int("expert_feed_forward_length");
        MixtureSpec mixture = Checked(new MixtureSpec
        {
            Experts = experts,
            Used = config.Int("expert_used_count", 1, experts),
            ExpertWidth = expertWidth,
            Activation = Activation.Silu,
            SharedWidth = checked(expertWidth * config.IntOr("expert_shared_count", 0, 0, 1 << 8)),
            Router = new RouterSpec
            {
                // Files of V2 and early ones of V3 do not state the gating function; only V3 has a selection bias.
                Score = config.IntOr("expert_gating_func", hasBias ? 2 : 1, 1, 2) == 2 ? RouterScore.Sigmoid : RouterScore.Softmax,
                SelectionBias = hasBias,
                Normalize = config.FlagOr("expert_weights_norm", false),
                NormalizeEpsilon = 1e-20f,
                Factor = (float)config.NumberOr("expert_weights_scale", 1),
                Groups = config.IntOr("expert_group_count", 1),
                GroupsUsed = config.IntOr("expert_group_used_count", 1),
                GroupByTwoBest = hasBias,
            },
        });
        return GgufDecoder.Map(
            sizes, i => new LayerSpec { Mixer = attention, FeedForward = i < dense ? denseFeedForward : mixture, Norm = sizes.Rms }, source);
    }

    private static ArchitectureMapping FromConfig(JsonConfig config, ModelSource source, string architecture, RouterSpec router, bool interleaved)
    {
        Dimensions sizes = Dimensions.From(config, architecture, hasHeads: false);
        int plain = config.IntOr("qk_nope_head_dim", 128, 1, 1 << 12);
        int rotated = config.IntOr("qk_rope_head_dim", 64, 2, 1 << 12);
        var rope = new RopeConfig(config);
        double magnitude = rope.AllDimensionsMagnitude == 0 ? 1 : rope.AllDimensionsMagnitude;
        var attention = new LatentAttentionSpec
        {
            Heads = sizes.Heads,
            QueryRank = config.IntOr("q_lora_rank", 0),
            LatentRank = config.IntOr("kv_lora_rank", 512),
            PlainSize = plain,
            RotatedSize = rotated,
            ValueSize = config.IntOr("v_head_dim", 128, 1, 1 << 12),
            Scale = (float)(magnitude * magnitude / Math.Sqrt(plain + rotated)),
            Rope = rope.Build(rotated, interleaved: interleaved),
            CompressionNormEpsilon = CompressionEpsilon,
            Bias = config.FlagOr("attention_bias", false),
        };
        Activation activation = config.Activation("hidden_act", "silu");
        var dense = new DenseSpec(config.Int("intermediate_size"), activation);
        int denseLayers = config.IntOr("first_k_dense_replace", 0, 0);
        int experts = config.Int("n_routed_experts", 1, 1 << 16);
        int expertWidth = config.Int("moe_intermediate_size");
        MixtureSpec mixture = Checked(new MixtureSpec
        {
            Experts = experts,
            Used = config.Int("num_experts_per_tok", 1, experts),
            ExpertWidth = expertWidth,
            Activation = activation,
            SharedWidth = checked(expertWidth * config.IntOr("n_shared_experts", 0, 0, 64)),
            Router = router,
        });
        var names = new TensorNames(
            HuggingFaceNames.With(
                ("attn_q_a", "layers.{i}.self_attn.q_a_proj"),
                ("attn_q_a_norm", "layers.{i}.self_attn.q_a_layernorm"),
                ("attn_q_b", "layers.{i}.self_attn.q_b_proj"),
                ("attn_kv_a_mqa", "layers.{i}.self_attn.kv_a_proj_with_mqa"),
                ("attn_kv_a_norm", "layers.{i}.self_attn.kv_a_layernorm"),
                ("attn_kv_b", "layers.{i}.self_attn.kv_b_proj"),
                ("exp_probs_b.bias", "layers.{i}.mlp.gate.e_score_correction_bias"),
                ("ffn_gate_shexp", "layers.{i}.mlp.shared_experts.gate_proj"),
                ("ffn_up_shexp", "layers.{i}.mlp.shared_experts.up_proj"),
                ("ffn_down_shexp", "layers.{i}.mlp.shared_experts.down_proj")),
            HuggingFaceNames.PrefixOf(source),
            isGguf: false);
        return Llama.Map(
            sizes, i => new LayerSpec { Mixer = attention, FeedForward = i < denseLayers ? dense : mixture, Norm = sizes.Rms }, config, source, names);
    }

    private static MixtureSpec Checked(MixtureSpec mixture)
    {
        RouterSpec router = mixture.Router;
        if (mixture.Experts % router.Groups != 0 || router.GroupsUsed > router.Groups
            || mixture.Used > mixture.Experts / router.Groups * router.GroupsUsed
            || (router.GroupByTwoBest && router.Groups > 1 && mixture.Experts / router.Groups < 2))
        {
            throw new ModelFormatException(
                $"the config's n_group ({router.Groups}) and topk_group ({router.GroupsUsed}) do not fit {mixture.Experts} experts of which {mixture.Used} are used");
        }

        return mixture;
    }
}
