namespace Antiphon.Kernels;

/// <summary>
/// Keys or values of one layer in a pool of cache blocks. The row of head h in row r of block b begins at element
/// b * blockStride + h * headStride + r * rowStride; any layout can be said that way. Fastest where the rows of a head lie together
/// ([block][head][row][size]). For latent attention, values are the keys' rows cut short: the same data and strides, one head.
/// Rows of integers (I16) have one float32 scale each: in every block, [head][row] from element scaleOffset on.
/// </summary>
/// <param name="format">F32, F16, BF16 or I16.</param>
/// <param name="data">The first element of the pool.</param>
/// <param name="blockStride">Elements between the starts of two blocks.</param>
/// <param name="headStride">Elements between the starts of two heads.</param>
/// <param name="rowStride">Elements between the starts of two rows.</param>
/// <param name="scaleOffset">I16: elements from the start of a block to its scales.</param>
/// <param name="scaleHeadStride">I16: scales between the first of two heads; the scales of a head's rows follow each other.</param>
public readonly unsafe struct PagedRows(
    TensorFormat format, byte* data, long blockStride, long headStride, long rowStride, long scaleOffset = 0, long scaleHeadStride = 0)
{
    /// <summary>F32, F16, BF16 or I16.</summary>
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

    /// <summary>The scale of a row of integers: what each of them is multiplied with.</summary>
    public float* Scale(int block, int head, int row) => (float*)(Data + (((block * BlockStride) + scaleOffset) * sizeof(short))) + (head * scaleHeadStride) + row;
}
