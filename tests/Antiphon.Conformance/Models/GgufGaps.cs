using System.Text.Json;
using Antiphon.Models;

namespace Antiphon.Conformance.Models;

/// <summary>
/// GGUF metadata cannot carry every field of a config.json. Where these logits differ for that reason, the missing field is put back from the
/// config.json beside the file, which shows that it is the reason, and that the rest of the file is read rightly.
/// </summary>
internal static class GgufGaps
{
    /// <summary>What puts the field back, or null where nothing is missing.</summary>
    public static Func<ModelSpec, ModelSpec>? For(string folder)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "config.json")));
        JsonElement config = document.RootElement;
        switch (config.GetProperty("model_type").GetString())
        {
            // Gemma's converters do not write query_pre_attn_scalar: readers know the published models by their number of layers.
            case "gemma2" or "gemma3_text":
                float scale = (float)(1 / Math.Sqrt(config.GetProperty("query_pre_attn_scalar").GetDouble()));
                return spec => Change(spec, attention => attention with { Scale = scale });

            // Mistral is written as architecture "llama", which has no key for a window.
            case "mistral" when config.GetProperty("sliding_window").ValueKind == JsonValueKind.Number:
                int window = config.GetProperty("sliding_window").GetInt32();
                return spec => Change(spec, attention => attention with { Window = window });
            default:
                return null;
        }
    }

    private static ModelSpec Change(ModelSpec spec, Func<AttentionSpec, AttentionSpec> change) =>
        spec with { Layers = [.. spec.Layers.Select(layer => layer with { Mixer = change((AttentionSpec)layer.Mixer!) })] };
}
