namespace Antiphon.Models;

/// <summary>Tensor names of checkpoints in the manner of Llama, which most families share.</summary>
internal static class HuggingFaceNames
{
    private static readonly string[] Prefixes = ["model.", "model.language_model.", "language_model.model.", "transformer.", ""];

    private static readonly Dictionary<string, string> Llama = new()
    {
        ["token_embd"] = "embed_tokens",
        ["output_norm"] = "norm",
        ["output"] = "/lm_head",
        ["attn_norm"] = "layers.{i}.input_layernorm",
        ["attn_q"] = "layers.{i}.self_attn.q_proj",
        ["attn_k"] = "layers.{i}.self_attn.k_proj",
        ["attn_v"] = "layers.{i}.self_attn.v_proj",
        ["attn_qkv"] = "layers.{i}.self_attn.qkv_proj",
        ["attn_output"] = "layers.{i}.self_attn.o_proj",
        ["attn_q_norm"] = "layers.{i}.self_attn.q_norm",
        ["attn_k_norm"] = "layers.{i}.self_attn.k_norm",
        ["ffn_norm"] = "layers.{i}.post_attention_layernorm",
        ["ffn_gate"] = "layers.{i}.mlp.gate_proj",
        ["ffn_up"] = "layers.{i}.mlp.up_proj",
        ["ffn_gate_up"] = "layers.{i}.mlp.gate_up_proj",
        ["ffn_down"] = "layers.{i}.mlp.down_proj",
        ["ffn_gate_inp"] = "layers.{i}.mlp.gate",
        ["ffn_gate_exp"] = "layers.{i}.mlp.experts.{e}.gate_proj",
        ["ffn_up_exp"] = "layers.{i}.mlp.experts.{e}.up_proj",
        ["ffn_down_exp"] = "layers.{i}.mlp.experts.{e}.down_proj",
        ["ffn_gate_up_exps.weight"] = "layers.{i}.mlp.experts.gate_up_proj",
        ["ffn_down_exps.weight"] = "layers.{i}.mlp.experts.down_proj",
        ["ffn_gate_shexp"] = "layers.{i}.mlp.shared_expert.gate_proj",
        ["ffn_up_shexp"] = "layers.{i}.mlp.shared_expert.up_proj",
        ["ffn_down_shexp"] = "layers.{i}.mlp.shared_expert.down_proj",
        ["ffn_gate_inp_shexp"] = "layers.{i}.mlp.shared_expert_gate",
    };

    /// <summary>Llama's names with the exceptions of a family.</summary>
    public static Dictionary<string, string> With(params ReadOnlySpan<(string Role, string Template)> exceptions)
    {
        Dictionary<string, string> table = new(Llama);
        foreach ((string role, string template) in exceptions)
        {
            table[role] = template;
        }

        return table;
    }

    /// <summary>The prefix under which a checkpoint keeps its text model, found by where its embeddings are.</summary>
    public static string PrefixOf(ModelSource source, string embeddings = "embed_tokens")
    {
        foreach (string prefix in Prefixes)
        {
            if (source.TryGetTensor($"{prefix}{embeddings}.weight", out _))
            {
                return prefix;
            }
        }

        throw new ModelFormatException($"{source.Path}: no tensor {embeddings}.weight, with or without a prefix; the checkpoint is incomplete or of another architecture than its config says");
    }
}
