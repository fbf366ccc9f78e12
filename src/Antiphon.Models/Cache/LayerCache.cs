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
        KeyBlockBytes = checked((long)heads * blockSize * keySize * ElementBytes);
        ValueBlockBytes = valuesAreKeys ? 0 : checked((long)heads * blockSize * valueSize * ElementBytes);
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

    /// <summary>The layout for a mixer; null where it caches no rows. Automatic formats are those of the fast path: bfloat16 for the layers that take it.</summary>
    public static LayerCache? Of(MixerSpec? mixer, KvFormat format, int blockSize) => mixer switch
    {
        AttentionSpec attention => new LayerCache(
            format == KvFormat.Auto ? attention.SoftCap == 0 ? KvFormat.BF16 : KvFormat.F32 : format, attention.KeyValueHeads, attention.HeadSize, attention.HeadSize, false, blockSize),
        LatentAttentionSpec latent => new LayerCache(
            format == KvFormat.Auto ? KvFormat.F32 : format, 1, latent.LatentRank + latent.RotatedSize, latent.LatentRank, true, blockSize),
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
    public PagedRows Keys => new(ElementFormat, keys, blockStride / ElementBytes, (long)blockSize * KeySize, KeySize);

    /// <summary>All values.</summary>
    public PagedRows Values => ValuesAreKeys ? Keys : new(ElementFormat, values, blockStride / ElementBytes, (long)blockSize * ValueSize, ValueSize);

    private TensorFormat ElementFormat => Format switch { KvFormat.F32 => TensorFormat.F32, KvFormat.F16 => TensorFormat.F16, _ => TensorFormat.BF16 };

    /// <summary>Stores one token's keys and values, given head after head.</summary>
    public void Write(VectorKernels kernels, int block, int row, float* key, float* value)
    {
        for (int head = 0; head < Heads; head++)
        {
            Store(kernels, key + (head * KeySize), Keys.Row(block, head, row), KeySize);
            if (!ValuesAreKeys)
            {
                Store(kernels, value + (head * ValueSize), Values.Row(block, head, row), ValueSize);
            }
        }
    }

    public void CopyRow(int sourceBlock, int sourceRow, int destinationBlock, int destinationRow)
    {
        for (int head = 0; head < Heads; head++)
        {
            Copy(Keys.Row(sourceBlock, head, sourceRow), Keys.Row(destinationBlock, head, destinationRow), (long)KeySize * ElementBytes);
            if (!ValuesAreKeys)
            {
                Copy(Values.Row(sourceBlock, head, sourceRow), Values.Row(destinationBlock, head, destinationRow), (long)ValueSize * ElementBytes);
            }
        }
    }

    private void Store(VectorKernels kernels, float* source, byte* destination, int count)
    {
        switch (Format)
        {
            case KvFormat.F32:
                Copy((byte*)source, destination, count * sizeof(float));
                break;
            case KvFormat.F16:
                kernels.ToHalf(source, (Half*)destination, count);
                break;
            default:
                kernels.ToBFloat16(source, (ushort*)destination, count);
                break;
        }
    }

    private static void Copy(byte* source, byte* destination, long bytes) => Buffer.MemoryCopy(source, destination, bytes, bytes);
}
