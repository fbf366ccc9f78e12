using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Mistral (one window for all layers), Ministral (a window for some) and Ministral 3 (queries scaled by position).</summary>
internal static class Mistral
{
    public static ArchitectureMapping FromConfig(JsonConfig config, ModelSource source)
    {
        // The class default holds for files without the key; null means no window.
        int window = config.Mentions("sliding_window") ? config.IntOr("sliding_window", 0, 1, int.MaxValue) : 4096;
        return Map(config, source, "mistral", layers => Repeat(window, layers));
    }

    public static ArchitectureMapping MinistralFromConfig(JsonConfig config, ModelSource source)
    {
        int window = config.Mentions("sliding_window") ? config.IntOr("sliding_window", 0, 1, int.MaxValue) : 4096;
        return Map(config, source, "ministral", layers => config.Windows(layers, window, _ => true));
    }

    public static ArchitectureMapping Ministral3FromConfig(JsonConfig config, ModelSource source)
    {
        int window = config.IntOr("sliding_window", 0, 1, int.MaxValue);
        return Map(config, source, "ministral3", layers => Repeat(window, layers), hasTemperature: true);
    }

    private static ArchitectureMapping Map(JsonConfig config, ModelSource source, string architecture, Func<int, int[]> windowsOf, bool hasTemperature = false)
    {
        Dimensions sizes = Dimensions.From(config, architecture);
        var rope = new RopeConfig(config);
        AttentionSpec attention = sizes.Attention(rope.Build(sizes.HeadSize));
        if (hasTemperature)
        {
            attention = attention with { TemperatureBeta = (float)rope.Parameters.Number("llama_4_scaling_beta"), TemperatureLength = (int)rope.OriginalLength };
        }

        var feedForward = new DenseSpec(config.Int("intermediate_size"), config.Activation("hidden_act", "silu"));
        int[] windows = windowsOf(sizes.Layers);
        return Llama.Map(
            sizes, i => new LayerSpec { Mixer = attention with { Window = windows[i] }, FeedForward = feedForward, Norm = sizes.Rms }, config, source);
    }

    private static int[] Repeat(int window, int layers)
    {
        int[] windows = new int[layers];
        Array.Fill(windows, window);
        return windows;
    }
}
