namespace Antiphon.Kernels;

/// <summary>What one layer's attention looks like, whatever the batch.</summary>
public readonly record struct AttentionShape
{
    /// <summary>Number of query heads; a multiple of <see cref="KeyValueHeads"/>. Query head h reads key head h / (QueryHeads / KeyValueHeads).</summary>
    public required int QueryHeads { get; init; }

    /// <summary>Number of key and value heads.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>Values in a query and in a key.</summary>
    public required int KeySize { get; init; }

    /// <summary>Values in a value row and in an output.</summary>
    public required int ValueSize { get; init; }

    /// <summary>Factor on the dot products.</summary>
    public required float Scale { get; init; }

    /// <summary>Scores s become SoftCap * tanh(s / SoftCap); 0: they do not.</summary>
    public float SoftCap { get; init; }

    /// <summary>A query sees keys whose position is less than this far behind its own; 0: no limit.</summary>
    public int Window { get; init; }
}
