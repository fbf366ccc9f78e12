namespace Antiphon.Models;

/// <summary>What the mappings from GGUF share.</summary>
internal static class GgufDecoder
{
    /// <summary>A decoder whose layers are all alike.</summary>
    public static ArchitectureMapping Map(Dimensions sizes, MixerSpec mixer, FeedForwardSpec feedForward, ModelSource source) =>
        Map(sizes, _ => new LayerSpec { Mixer = mixer, FeedForward = feedForward, Norm = sizes.Rms }, source);

    /// <summary>A decoder whose layers are given one by one; exceptions are roles with other names than their own.</summary>
    public static ArchitectureMapping Map(Dimensions sizes, Func<int, LayerSpec> layer, ModelSource source, params ReadOnlySpan<(string Role, string Template)> exceptions)
    {
        Dictionary<string, string> table = [];
        foreach ((string role, string template) in exceptions)
        {
            table[role] = template;
        }

        return new(sizes.Model(layer, IsTied(source)), new TensorNames(table, "", isGguf: true));
    }

    /// <summary>Files leave the head out when it is the embedding table.</summary>
    public static bool IsTied(ModelSource source) => !source.TryGetTensor("output.weight", out _);
}
