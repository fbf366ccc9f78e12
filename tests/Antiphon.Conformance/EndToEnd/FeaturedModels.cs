using Antiphon.Models;
using Antiphon.Testing;

namespace Antiphon.Conformance.EndToEnd;

/// <summary>Small models of shared/conformance/models, found by what their specs hold.</summary>
internal static class FeaturedModels
{
    private static readonly Dictionary<string, Func<ModelSpec, bool>> Features = new()
    {
        ["plain attention"] = spec => spec.Layers.All(l => l is { Mixer: AttentionSpec { Window: 0 }, FeedForward: DenseSpec }),
        ["window"] = spec => spec.Layers.Any(l => l.Mixer is AttentionSpec { Window: > 0 }),
        ["sinks"] = spec => spec.Layers.Any(l => l.Mixer is AttentionSpec { Sinks: true }),
        ["experts"] = spec => spec.Layers.All(l => l.Mixer is AttentionSpec) && spec.Layers.Any(l => l.FeedForward is MixtureSpec),
        ["latent attention"] = spec => spec.Layers.Any(l => l.Mixer is LatentAttentionSpec),
        ["positions by length"] = spec => spec.Layers.Any(l => l.Mixer is AttentionSpec { Positions: RopeSpec { LongFrequencies: not null } }),
        ["recurrent"] = spec => spec.Layers.Any(l => l.Mixer is GatedDeltaNetSpec),
    };

    private static readonly Lazy<List<(string Folder, ModelSpec Spec)>> Known = new(Find);

    public static TheoryData<string> Names => [.. Features.Keys];

    /// <summary>Folders of decoders with a feature: one, or all in long runs. Skips without the material.</summary>
    public static IReadOnlyList<string> With(string feature)
    {
        Assert.SkipWhen(SharedMaterial.TryPath("conformance", "models") is null, "shared/conformance/models is absent (set ANTIPHON_SHARED)");
        string[] found = [.. Known.Value.Where(m => Features[feature](m.Spec)).Select(m => m.Folder)];
        Assert.NotEmpty(found);
        return Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1" ? found : found[..1];
    }

    private static List<(string Folder, ModelSpec Spec)> Find()
    {
        List<(string, ModelSpec)> found = [];
        foreach (string folder in Directory.GetDirectories(SharedMaterial.Path("conformance", "models")).Order(StringComparer.Ordinal))
        {
            try
            {
                using LoadedModel model = ModelLoader.Load(folder, new ModelLoadOptions { Threads = 1 });
                found.Add((folder, model.Spec));
            }
            catch (UnsupportedModelException)
            {
                // Its own conformance test says so.
            }
        }

        return found;
    }
}
