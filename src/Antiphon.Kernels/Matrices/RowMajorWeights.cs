namespace Antiphon.Kernels;

/// <summary>Where a row-major weight matrix lies and what decodes it.</summary>
internal unsafe struct RowMajorWeights
{
    /// <summary>Decoding begins at multiples of so many columns: a multiple of the longest block.</summary>
    public const int Piece = 256;

    private const int Lanes = 16;

    public TensorFormat Format;
    public int Rows;
    public int Columns;
    public byte* Data;
    public long RowBytes;
    public int PieceBytes;
    public RowKernels Kernels;

    /// <summary>Decodes some columns of a row.</summary>
    /// <param name="row">Which row.</param>
    /// <param name="first">First column; a multiple of <see cref="Piece"/>.</param>
    /// <param name="count">Number of columns.</param>
    /// <param name="values">Receives sixteen values at a time; zeros fill up the last sixteen.</param>
    /// <param name="step">Floats from sixteen values to the next.</param>
    public readonly void Decode(int row, int first, int count, float* values, int step)
    {
        byte* source = Source(row, first);
        if (Kernels.Decode is not null)
        {
            Kernels.Decode(source, count, values, step);
            return;
        }

        Span<float> piece = stackalloc float[Piece];
        for (; count > 0; count -= Piece, source += PieceBytes)
        {
            int some = Math.Min(count, Piece);
            BlockDecoder.Decode(Format, new ReadOnlySpan<byte>(source, (int)Format.ByteCount(some)), piece[..some]);
            piece[some..].Clear();
            for (int at = 0; at < some; at += Lanes, values += step)
            {
                piece.Slice(at, Lanes).CopyTo(new Span<float>(values, Lanes));
            }
        }
    }

    /// <summary>Where a column of a row begins; a multiple of <see cref="Piece"/>.</summary>
    public readonly byte* Source(int row, int first) => Data + (row * RowBytes) + ((long)(first / Piece) * PieceBytes);
}
