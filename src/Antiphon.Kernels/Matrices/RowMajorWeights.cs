namespace Antiphon.Kernels;

/// <summary>Where a row-major weight matrix lies and what decodes it.</summary>
internal unsafe struct RowMajorWeights
{
    /// <summary>Columns that are decoded at once: a multiple of the longest block. Four rows of weights and six of input fit in a 32 KiB cache.</summary>
    public const int Piece = 512;

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
    /// <param name="values">Room for the count rounded up to 16; zeros are written behind the values.</param>
    public readonly void Decode(int row, int first, int count, float* values)
    {
        byte* source = Data + (row * RowBytes) + ((long)(first / Piece) * PieceBytes);
        if (Kernels.Decode is not null)
        {
            Kernels.Decode(source, count, values);
            return;
        }

        BlockDecoder.Decode(Format, new ReadOnlySpan<byte>(source, (int)Format.ByteCount(count)), new Span<float>(values, count));
        new Span<float>(values + count, -count & 15).Clear();
    }
}
