namespace Antiphon.Kernels.MultiScale;

/// <summary>What the values of an unpacked strip are.</summary>
internal enum UnpackedValues
{
    /// <summary>Signed bytes in groups of four columns (see <see cref="CodeLayout"/>), for AMX.</summary>
    Bytes,

    /// <summary>As <see cref="Bytes"/>, with the start of each block's sums, -128 times the sum of its values: for kernels that take unsigned activations.</summary>
    BytesWithStarts,

    /// <summary>Words in pairs of columns, as those of formats that are stored so.</summary>
    Words,
}

/// <summary>
/// Where the parts of an unpacked strip lie: the values of every tile; the scales of its blocks,
/// vectors of 16 floats; the starts of sums, where there are some; and where there are minimums, for every tile a vector of 16 floats, or for every super-block such a vector and the multiples
/// of its blocks as bytes, four blocks in the dwords of each vector.
/// </summary>
internal readonly struct UnpackedStrip
{
    /// <summary>Bytes of a tile's values, where they are bytes.</summary>
    public const int TileBytes = CodeLayout.StripRows * CodeLayout.TileColumns;

    /// <summary>Bytes of a tile's values, where they are words.</summary>
    public const int WordTileBytes = 2 * TileBytes;

    /// <summary>The parts of a strip.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="columns">Columns of the matrix.</param>
    /// <param name="values">What its values are.</param>
    public UnpackedStrip(CodeLayout layout, int columns, UnpackedValues values)
    {
        long steps = CodeLayout.Steps(columns);
        ScalesAt = steps * (values == UnpackedValues.Words ? WordTileBytes : TileBytes);
        MinimumsAt = ScalesAt + (64 * layout.SubBlocks * steps * (values == UnpackedValues.BytesWithStarts ? 2 : 1));
        MinimumBytes = layout.Scales == CodeScales.HalfWithMinimum ? 64 : layout.HasSuperMinimum ? 64 + (128 * layout.SubBlocks) : 0;
        ByteCount = MinimumsAt + (MinimumBytes * (layout.HasSuperMinimum ? (steps + CodeLayout.SuperTiles - 1) / CodeLayout.SuperTiles : steps));
    }

    /// <summary>Where the scales begin.</summary>
    public long ScalesAt { get; }

    /// <summary>Where the minimums begin.</summary>
    public long MinimumsAt { get; }

    /// <summary>Bytes of minimums for each tile or super-block.</summary>
    public int MinimumBytes { get; }

    /// <summary>Bytes of all.</summary>
    public long ByteCount { get; }
}
