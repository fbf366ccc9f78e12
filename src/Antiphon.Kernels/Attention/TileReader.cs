using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels;

/// <summary>Converts tiles of cached rows to float32.</summary>
internal readonly unsafe struct TileReader<T>
    where T : unmanaged, ILanes<T>
{
    /// <summary>Rows that are read are filled up with zeros to a multiple of so many.</summary>
    public const int RowStep = 8;

    private const int LineBytes = 64;

    private readonly PagedRows pool;
    private readonly int blockSize;
    private readonly int size;
    private readonly long rowBytes;
    private readonly delegate*<byte*, int, float*, int, void> read;

    /// <summary>A reader of keys or values.</summary>
    /// <param name="pool">Where they are.</param>
    /// <param name="blockSize">Rows in a cache block.</param>
    /// <param name="size">Values in a row.</param>
    public TileReader(in PagedRows pool, int blockSize, int size)
    {
        this.pool = pool;
        this.blockSize = blockSize;
        this.size = size;
        PaddedSize = (size + 15) & ~15;
        rowBytes = pool.RowStride * pool.Format.BlockBytes();
        read = pool.Format switch
        {
            TensorFormat.F32 => &PlainRows<T, F32Values<T>>.Decode,
            TensorFormat.F16 => &PlainRows<T, F16Values<T>>.Decode,
            _ => &PlainRows<T, BF16Values<T>>.Decode,
        };
    }

    /// <summary>Floats in a row that was read; those behind its values are zeros.</summary>
    public int PaddedSize { get; }

    /// <summary>The format of rows that were located: the cache's, or float32 where rows are no whole number of vectors, so that they have to be read first.</summary>
    public TensorFormat LocatedFormat => IsWhole ? pool.Format : TensorFormat.F32;

    private bool IsWhole => size == PaddedSize;

    /// <summary>Tells where the rows of a tile are.</summary>
    /// <param name="blocks">The sequence's blocks.</param>
    /// <param name="head">The key head.</param>
    /// <param name="start">First row.</param>
    /// <param name="end">The row behind the last that there is; from there on, the last is told again. Nothing is told of a tile that begins behind it.</param>
    /// <param name="room">Where <see cref="Fill"/> puts rows.</param>
    /// <param name="rows">Receives where a tile's rows are.</param>
    public void Locate(int* blocks, int head, int start, int end, float* room, byte** rows)
    {
        if (start >= end)
        {
            return;
        }

        if (!IsWhole)
        {
            for (int i = 0; i < AttentionTiles.TileRows; i++)
            {
                rows[i] = (byte*)(room + (i * PaddedSize));
            }

            return;
        }

        int count = Math.Min(AttentionTiles.TileRows, end - start);
        (int block, int inBlock) = Math.DivRem(start, blockSize);
        for (int at = 0; at < count; block++, inBlock = 0)
        {
            byte* row = pool.Row(blocks[block], head, inBlock);
            int stop = Math.Min(count, at + blockSize - inBlock);
            for (; at < stop; at++, row += rowBytes)
            {
                rows[at] = row;
            }
        }

        for (int i = count; i < AttentionTiles.TileRows; i++)
        {
            rows[i] = rows[i - 1];
        }
    }

    /// <summary>Reads a tile to where <see cref="Locate"/> says its rows are, if they are not in the cache already; see <see cref="Read"/>.</summary>
    public void Fill(int* blocks, int head, int start, int rows, int end, float* room)
    {
        if (!IsWhole)
        {
            Read(blocks, head, start, rows, end, room);
        }
    }

    /// <summary>Reads rows, and fetches the next tile's into the cache: the processor cannot know where the next block lies.</summary>
    /// <param name="blocks">The sequence's blocks.</param>
    /// <param name="head">The key head.</param>
    /// <param name="start">First row.</param>
    /// <param name="rows">How many.</param>
    /// <param name="end">The row behind the last that will ever be read.</param>
    /// <param name="destination">Receives rows of <see cref="PaddedSize"/> floats, up to the next multiple of <see cref="RowStep"/>.</param>
    public void Read(int* blocks, int head, int start, int rows, int end, float* destination)
    {
        Cursor row = new(this, blocks, head, start);
        int fetched = Sse.IsSupported ? Math.Min(rows, end - start - AttentionTiles.TileRows) : 0;
        Cursor ahead = fetched > 0 ? new Cursor(this, blocks, head, start + AttentionTiles.TileRows) : default;
        long bytes = (long)size * pool.Format.BlockBytes();
        for (int i = 0; i < rows; i++)
        {
            if (i < fetched)
            {
                byte* next = ahead.Next(this, blocks, head);
                for (long at = 0; at < bytes; at += LineBytes)
                {
                    Sse.Prefetch0(next + at);
                }
            }

            read(row.Next(this, blocks, head), size, destination, 16);
            destination += PaddedSize;
        }

        new Span<float>(destination, (-rows & (RowStep - 1)) * PaddedSize).Clear();
    }

    /// <summary>Walks over rows and from block to block.</summary>
    private struct Cursor
    {
        private byte* at;
        private int block;
        private int left;

        public Cursor(in TileReader<T> reader, int* blocks, int head, int start)
        {
            (block, int inBlock) = Math.DivRem(start, reader.blockSize);
            at = reader.pool.Row(blocks[block], head, inBlock);
            left = reader.blockSize - inBlock;
        }

        public byte* Next(in TileReader<T> reader, int* blocks, int head)
        {
            if (left == 0)
            {
                at = reader.pool.Row(blocks[++block], head, 0);
                left = reader.blockSize;
            }

            left--;
            byte* row = at;
            at += reader.rowBytes;
            return row;
        }
    }
}
