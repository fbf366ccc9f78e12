namespace Antiphon.Models;

/// <summary>How positions enter attention.</summary>
public abstract record PositionSpec;

/// <summary>Rotary position embeddings, with their scaling already worked into the frequencies.</summary>
public sealed record RopeSpec : PositionSpec
{
    /// <summary>Radians per position of each rotated pair; their number is half of the rotated values of a head, which are its first.</summary>
    public required IReadOnlyList<float> Frequencies { get; init; }

    /// <summary>Frequencies for sequences that are planned to grow past <see cref="ShortLength"/> (LongRoPE), or null.</summary>
    public IReadOnlyList<float>? LongFrequencies { get; init; }

    /// <summary>Longest sequence, in tokens, for which <see cref="Frequencies"/> hold; only with <see cref="LongFrequencies"/>.</summary>
    public int ShortLength { get; init; }

    /// <summary>Factor on cosines and sines.</summary>
    public float Magnitude { get; init; } = 1;

    /// <summary>Whether pairs are neighbours (2i, 2i + 1), else halves (i, i + n/2).</summary>
    public bool Interleaved { get; init; }

    /// <summary>Rotated values of a head.</summary>
    public int Size => 2 * Frequencies.Count;
}
