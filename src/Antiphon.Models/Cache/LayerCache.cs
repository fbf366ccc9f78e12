using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>The keys and values of one layer in all blocks.</summary>
internal sealed unsafe class LayerCache
{
    private readonly int blockSize;
    private byte* keys;
    private byte* values;
    private long blockStride;

    private LayerCache(KvFormat format, int heads, int keySize, int valueSize, bool valuesAreKeys, int blockSize)
    {
        this.blockSize = blockSize;
        Format = format;
        Heads = heads;
        KeySize = keySize;
        ValueSize = valueSize;
        ValuesAreKeys = valuesAreKeys;
        ElementBytes = format == KvFormat.F32 ? 4 : 2;
        int scaleBytes = format == KvFormat.I16 ? sizeof(float) : 0;
        KeyBlockBytes = checked((long)heads * blockSize * ((keySize * ElementBytes) + scaleBytes));
        ValueBlockBytes = valuesAreKeys ? 0 : checked((long)heads * blockSize * ((valueSize * ElementBytes) + scaleBytes));
    }

    public KvFormat Format { get; }

    /// <summary>Key and value heads.</summary>
    public int Heads { get; }

    public int KeySize { get; }

    public int ValueSize { get; }

    /// <summary>Whether values are the first part of keys.</summary>
    public bool ValuesAreKeys { get; }

    public int ElementBytes { get; }

    public long KeyBlockBytes { get; }

    public long ValueBlockBytes { get; }

    /// <summary>Bytes of a block, keys and values.</summary>
    public long BlockBytes => checked(KeyBlockBytes + ValueBlockBytes);

    /// <summary>
    /// The layout for a mixer; null where it caches no rows. Automatic formats are those of the fast path: bfloat16 for the layers that take it. Layers whose attention
    /// cannot be computed over integers keep 32 bits in place of those.
    /// </summary>
    public static LayerCache? Of(MixerSpec? mixer, KvFormat format, int blockSize) => mixer switch
    {
        AttentionSpec attention => new LayerCache(
            format switch
            {
                KvFormat.Auto => attention.SoftCap == 0 ? KvFormat.BF16 : KvFormat.F32,
                KvFormat.I16 => PagedAttention.SupportsIntegers(attention.HeadSize, attention.HeadSize, attention.SoftCap) ? KvFormat.I16 : KvFormat.F32,
                _ => format,
            },
            attention.KeyValueHeads,
            attention.HeadSize,
            attention.HeadSize,
            false,
            blockSize),
        LatentAttentionSpec latent => new LayerCache(
            format is KvFormat.Auto or KvFormat.I16 ? KvFormat.F32 : format, 1, latent.LatentRank + latent.RotatedSize, latent.LatentRank, true, blockSize),
        _ => null,
    };

    /// <summary>Tells where the layer's part of the first block is.</summary>
    /// <param name="memory">Its first byte.</param>
    /// <param name="blockStride">Bytes from one block to the next; whole elements.</param>
    public void Place(byte* memory, long blockStride)
    {
        keys = memory;
        values = memory + KeyBlockBytes;
        this.blockStride = blockStride;
    }

    /// <summary>All keys.</summary>
    public PagedRows Keys => Rows(keys, KeySize);

    /// <summary>All values.</summary>
    public PagedRows Values => ValuesAreKeys ? Keys : Rows(values, ValueSize);

    private TensorFormat ElementFormat => Format switch
    {
        KvFormat.F32 => TensorFormat.F32,
        KvFormat.F16 => TensorFormat.F16,
        KvFormat.I16 => TensorFormat.I16,
        _ => TensorFormat.BF16,
    };

    /// <summary>Stores one token's keys and values, given head after head.</summary>
    public void Write(VectorKernels kernels, int block, int row, float* key, float* value)
    {
        for (int head = 0; head < Heads; head++)
        {
            Store(kernels, key + (head * KeySize), Keys, block, head, row, KeySize, PagedAttention.KeyLimit);
            if (!ValuesAreKeys)
            {
                Store(kernels, value + (head * ValueSize), Values, block, head, row, ValueSize, PagedAttention.ValueLimit);
            }
        }
    }

    public void CopyRow(int sourceBlock, int sourceRow, int destinationBlock, int destinationRow)
    {
        for (int head = 0; head < Heads; head++)
        {
            CopyRow(Keys, KeySize);
            if (!ValuesAreKeys)
            {
                CopyRow(Values, ValueSize);
            }

            void CopyRow(in PagedRows rows, int size)
            {
                Copy(rows.Row(sourceBlock, head, sourceRow), rows.Row(destinationBlock, head, destinationRow), (long)size * ElementBytes);
                if (Format == KvFormat.I16)
                {
                    *rows.Scale(destinationBlock, head, destinationRow) = *rows.Scale(sourceBlock, head, sourceRow);
                }
            }
        }
    }

    /// <summary>Rows, [head, row, size] in each block, and behind them the scales of integers, [head, row].</summary>
    private PagedRows Rows(byte* start, int size) =>
        new(ElementFormat, start, blockStride / ElementBytes, (long)blockSize * size, size, (long)Heads * blockSize * size, blockSize);

    private void Store(VectorKernels kernels, float* source, in PagedRows rows, int block, int head, int row, int count, int limit)
    {
        byte* destination = rows.Row(block, head, row);
        switch (Format)
        {
            case KvFormat.F32:
                Copy((byte*)source, destination, count * sizeof(float));
                break;
            case KvFormat.F16:
                kernels.ToHalf(source, (Half*)destination, count);
                break;
            case KvFormat.I16:
                *rows.Scale(block, head, row) = kernels.ToIntegers(source, (short*)destination, count, limit);
                break;
            default:
                kernels.ToBFloat16(source, (ushort*)destination, count);
                break;
        }
    }

    private static void Copy(byte* source, byte* destination, long bytes) => Buffer.MemoryCopy(source, destination, bytes, bytes);
}
