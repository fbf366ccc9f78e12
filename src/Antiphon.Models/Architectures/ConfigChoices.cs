using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Choices that configs state by name.</summary>
internal static class ConfigChoices
{
    /// <summary>An activation by its name.</summary>
    public static Activation Activation(this ConfigReader config, string field, string absent) => config.TextOr(field, absent) switch
    {
        "silu" or "swish" => Kernels.Activation.Silu,
        "gelu_pytorch_tanh" or "gelu_new" or "gelu_fast" or "gelu_tanh" => Kernels.Activation.GeluTanh,
        "gelu" => Kernels.Activation.Gelu,
        "relu" => Kernels.Activation.Relu,
        "relu2" => Kernels.Activation.ReluSquared,
        string other => throw new UnsupportedModelException($"{field} '{other}'"),
    };

    /// <summary>The window of each layer (0: none): from <c>layer_types</c>, else by a rule.</summary>
    public static int[] Windows(this JsonConfig config, int layers, int window, Func<int, bool> isSliding)
    {
        string[]? types = config.Texts("layer_types", layers);
        int[] windows = new int[layers];
        for (int i = 0; i < layers; i++)
        {
            bool sliding = types is null ? isSliding(i) : types[i] switch
            {
                "sliding_attention" => true,
                "full_attention" => false,
                string other => throw new UnsupportedModelException($"layer_types '{other}'"),
            };
            windows[i] = sliding ? window : 0;
        }

        return windows;
    }
}
