using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>A model that is ready to run. Owns its file mapping, its weights in memory, and its team unless one was given.</summary>
public sealed class LoadedModel : IDisposable
{
    private readonly WeightStore store;
    private readonly MatrixPlacement placement;
    private readonly ComputeTeam? ownTeam;

    internal LoadedModel(ModelSource source, ModelSpec spec, IBackend backend, IReadOnlyList<int> endTokens, WeightStore store, MatrixPlacement placement, ComputeTeam? ownTeam)
    {
        Source = source;
        Spec = spec;
        Backend = backend;
        EosTokenIds = endTokens;
        this.store = store;
        this.placement = placement;
        this.ownTeam = ownTeam;
    }

    /// <summary>The files.</summary>
    public ModelSource Source { get; }

    /// <summary>What the model is.</summary>
    public ModelSpec Spec { get; }

    /// <summary>What runs it.</summary>
    public IBackend Backend { get; }

    /// <summary>Tokens that end a generation; empty when the files name none.</summary>
    public IReadOnlyList<int> EosTokenIds { get; }

    /// <summary>Bytes of weights that are in memory of their own, beside the mapped files.</summary>
    public long OwnedWeightBytes => store.ByteCount;

    /// <inheritdoc/>
    public void Dispose()
    {
        placement.Dispose();
        Backend.Dispose();
        ownTeam?.Dispose();
        store.Dispose();
        Source.Dispose();
    }
}
