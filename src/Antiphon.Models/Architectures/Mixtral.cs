using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Mixtral: Mistral with a mixture of experts in every layer.</summary>
internal static class Mixtral
{
    public static ArchitectureMapping FromConfig(JsonConfig config, ModelSource source)
    {
        Dimensions sizes = Dimensions.From(config, "mixtral", 1e-5);
        AttentionSpec attention = sizes.Attention(new RopeConfig(config).Build(sizes.HeadSize, 1e6)) with
        {
            Window = config.IntOr("sliding_window", 0, 1, int.MaxValue),
        };
        int experts = config.IntOr("num_local_experts", 8, 1, 1 << 16);
        MixtureSpec mixture = Experts(experts, config.IntOr("num_experts_per_tok", 2, 1, experts), config.Int("intermediate_size"));
        var names = new TensorNames(
            HuggingFaceNames.With(
                ("ffn_gate_inp", "layers.{i}.block_sparse_moe.gate"),
                ("ffn_gate_exp", "layers.{i}.block_sparse_moe.experts.{e}.w1"),
                ("ffn_down_exp", "layers.{i}.block_sparse_moe.experts.{e}.w2"),
                ("ffn_up_exp", "layers.{i}.block_sparse_moe.experts.{e}.w3")),
            HuggingFaceNames.PrefixOf(source),
            isGguf: false);
        return Llama.Map(sizes, attention, mixture, config, source, names);
    }

    public static MixtureSpec Experts(int experts, int used, int width) => new()
    {
        Experts = experts,
        Used = used,
        ExpertWidth = width,
        Activation = Activation.Silu,
        Router = new RouterSpec { Score = RouterScore.Softmax, Normalize = true },
    };
}
