using System.Text.Json;

namespace Antiphon.Models;

/// <summary>Which architectures are known, and which mapping reads each.</summary>
internal static class ArchitectureRegistry
{
    private static readonly Dictionary<string, Func<JsonConfig, ModelSource, ArchitectureMapping>> HuggingFace = new(StringComparer.Ordinal)
    {
        ["llama"] = Llama.FromConfig,
        ["mistral"] = Mistral.FromConfig,
        ["ministral"] = Mistral.MinistralFromConfig,
        ["ministral3"] = Mistral.Ministral3FromConfig,
        ["mixtral"] = Mixtral.FromConfig,
        ["qwen2"] = Qwen2.FromConfig,
        ["qwen3"] = Qwen3.FromConfig,
        ["qwen3_moe"] = Qwen3.MixtureFromConfig,
        ["qwen3_next"] = Qwen3Next.FromConfig,
        ["phi3"] = Phi3.FromConfig,
        ["gemma"] = Gemma.FromConfig,
        ["gemma2"] = Gemma.Gemma2FromConfig,
        ["gemma3_text"] = Gemma.Gemma3FromConfig,
        ["gpt2"] = Gpt2.FromConfig,
        ["deepseek_v2"] = DeepSeek.V2FromConfig,
        ["deepseek_v3"] = DeepSeek.V3FromConfig,
        ["gpt_oss"] = GptOss.FromConfig,
    };

    private static readonly Dictionary<string, Func<GgufConfig, ModelSource, ArchitectureMapping>> Gguf = new(StringComparer.Ordinal)
    {
        ["llama"] = Llama.FromGguf,
        ["qwen2"] = Qwen2.FromGguf,
        ["qwen3"] = Qwen3.FromGguf,
        ["qwen3moe"] = Qwen3.MixtureFromGguf,
        ["qwen3next"] = Qwen3Next.FromGguf,
        ["phi3"] = Phi3.FromGguf,
        ["gemma"] = Gemma.FromGguf,
        ["gemma2"] = Gemma.Gemma2FromGguf,
        ["gemma3"] = Gemma.Gemma3FromGguf,
        ["gpt2"] = Gpt2.FromGguf,
        ["deepseek2"] = DeepSeek.FromGguf,
        ["gpt-oss"] = GptOss.FromGguf,
    };

    /// <summary>Reads what a source says about itself.</summary>
    /// <exception cref="UnsupportedModelException">Its architecture, task or storage scheme is not known.</exception>
    /// <exception cref="ModelFormatException">A field is missing or impossible.</exception>
    public static ArchitectureMapping Map(ModelSource source) => source switch
    {
        GgufFile gguf => Map(gguf),
        HuggingFaceFolder folder => Map(folder),
        _ => throw new UnsupportedModelException(source.GetType().Name),
    };

    private static ArchitectureMapping Map(GgufFile file)
    {
        string architecture = file.Metadata.GetString("general.architecture");
        if (!Gguf.TryGetValue(architecture, out Func<GgufConfig, ModelSource, ArchitectureMapping>? map))
        {
            throw new UnsupportedModelException($"general.architecture '{architecture}'");
        }

        var config = new GgufConfig(file.Metadata, architecture);
        return config.FlagOr("attention.causal", true) ? map(config, file) : throw new UnsupportedModelException($"general.architecture '{architecture}' with bidirectional attention");
    }

    private static ArchitectureMapping Map(HuggingFaceFolder folder)
    {
        var config = new JsonConfig(folder.Config);
        RefuseOtherTasks(config, isEmbedder: folder.Modules is not null);

        // A wrapper around a text model and other parts keeps the text model's config inside.
        JsonConfig text = config.Section("text_config") ?? config;
        string type = text.TextOr("model_type", config.TextOr("model_type", ""));
        if (!HuggingFace.TryGetValue(type, out Func<JsonConfig, ModelSource, ArchitectureMapping>? map))
        {
            throw new UnsupportedModelException($"model_type '{type}'");
        }

        foreach (JsonConfig place in new[] { config, text })
        {
            if (place.Section("quantization_config") is JsonConfig quantization
                && quantization.TextOr("quant_method", "") is string method && !(method == "mxfp4" && type == "gpt_oss"))
            {
                throw new UnsupportedModelException($"quant_method '{method}'");
            }
        }

        if (!text.FlagOr("is_causal", true) || text.FlagOr("use_bidirectional_attention", false))
        {
            throw new UnsupportedModelException($"model_type '{type}' with bidirectional attention");
        }

        return map(text, folder);
    }

    private static void RefuseOtherTasks(JsonConfig config, bool isEmbedder)
    {
        if (config.Element.TryGetProperty("architectures", out JsonElement classes) && classes.ValueKind == JsonValueKind.Array)
        {
            foreach (JsonElement name in classes.EnumerateArray())
            {
                if (name.ValueKind == JsonValueKind.String && name.GetString() is string text
                    && !text.EndsWith("ForCausalLM", StringComparison.Ordinal)
                    && !text.EndsWith("LMHeadModel", StringComparison.Ordinal)
                    && !text.EndsWith("ForConditionalGeneration", StringComparison.Ordinal)
                    && !(isEmbedder && text.EndsWith("Model", StringComparison.Ordinal)))
                {
                    throw new UnsupportedModelException($"architecture '{text}'");
                }
            }
        }
    }
}
