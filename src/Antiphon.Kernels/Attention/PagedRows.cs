namespace Antiphon.Kernels;

/// <summary>
/// Keys or values of one layer in a pool of cache blocks. The row of head h in row r of block b begins at element
/// b * blockStride + h * headStride + r * rowStride; any layout can be said that way. Fastest where the rows of a head lie together
/// ([block][head][row][size]). For latent attention, values are the keys' rows cut short: the same data and strides, one head.
/// </summary>
/// <param name="format">F32, F16 or BF16.</param>
/// <param name="data">The first element of the pool.</param>
/// <param name="blockStride">Elements between the starts of two blocks.</param>
/// <param name="headStride">Elements between the starts of two heads.</param>
/// <param name="rowStride">Elements between the starts of two rows.</param>
public readonly unsafe struct PagedRows(TensorFormat format, byte* data, long blockStride, long headStride, long rowStride)
{
    /// <summary>F32, F16 or BF16.</summary>
    public TensorFormat Format { get; } = format;

    /// <summary>The first element of the pool.</summary>
    public byte* Data { get; } = data;

    /// <summary>Elements between the starts of two blocks.</summary>
    public long BlockStride { get; } = blockStride;

    /// <summary>Elements between the starts of two heads.</summary>
    public long HeadStride { get; } = headStride;

    /// <summary>Elements between the starts of two rows.</summary>
    public long RowStride { get; } = rowStride;

    /// <summary>The first element of a row.</summary>
    public byte* Row(int block, int head, int row) =>
        Data + (((block * BlockStride) + (head * HeadStride) + (row * RowStride)) * Format.BlockBytes());
}
