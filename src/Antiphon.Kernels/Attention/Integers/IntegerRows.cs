using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels.Integers;

/// <summary>Finds rows of cached integers and their scales.</summary>
/// <param name="pool">Where they are.</param>
/// <param name="blockSize">Rows in a cache block.</param>
/// <param name="size">Values in a row.</param>
internal readonly unsafe struct IntegerRows(in PagedRows pool, int blockSize, int size)
{
    private const int FloatsPerLine = 16;

    private readonly PagedRows pool = pool;

    /// <summary>Values in a row that is multiplied, 32 at a time; those behind its own are zeros.</summary>
    public int PaddedSize => (size + 31) & ~31;

    /// <summary>Whether rows can be multiplied where they lie.</summary>
    public bool IsWhole => size == PaddedSize;

    /// <summary>Tells where rows are, and asks for their scales.</summary>
    /// <param name="blocks">The sequence's blocks.</param>
    /// <param name="head">The key head.</param>
    /// <param name="start">First row.</param>
    /// <param name="count">How many; with none, nothing is told.</param>
    /// <param name="padded">How many places there are: the last row is told again in those that are left.</param>
    /// <param name="rows">Receives where they are.</param>
    public void Locate(int* blocks, int head, int start, int count, int padded, short** rows)
    {
        if (count <= 0)
        {
            return;
        }

        (int block, int inBlock) = Math.DivRem(start, blockSize);
        for (int at = 0; at < count; block++, inBlock = 0)
        {
            short* row = (short*)pool.Row(blocks[block], head, inBlock);
            float* scales = pool.Scale(blocks[block], head, inBlock);
            int stop = Math.Min(count, at + blockSize - inBlock);
            for (int i = 0; Sse.IsSupported && i < stop - at; i += FloatsPerLine)
            {
                Sse.Prefetch0(scales + i);
            }

            for (; at < stop; at++, row += pool.RowStride)
            {
                rows[at] = row;
            }
        }

        for (int i = count; i < padded; i++)
        {
            rows[i] = rows[i - 1];
        }
    }

    /// <summary>Copies the scales of rows.</summary>
    public void Scales(int* blocks, int head, int start, int count, float* scales)
    {
        (int block, int inBlock) = Math.DivRem(start, blockSize);
        for (int at = 0; at < count; block++, inBlock = 0)
        {
            int taken = Math.Min(count - at, blockSize - inBlock);
            new ReadOnlySpan<float>(pool.Scale(blocks[block], head, inBlock), taken).CopyTo(new Span<float>(scales + at, taken));
            at += taken;
        }
    }

    /// <summary>Copies rows to places of <paramref name="stride"/> values, filled up with zeros.</summary>
    public void Copy(short** rows, int count, short* destination, int stride)
    {
        for (int i = 0; i < count; i++, destination += stride)
        {
            new ReadOnlySpan<short>(rows[i], size).CopyTo(new Span<short>(destination, size));
            new Span<short>(destination + size, stride - size).Clear();
        }
    }
}
