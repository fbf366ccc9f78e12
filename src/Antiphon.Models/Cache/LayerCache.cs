using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>The keys and values of one layer in all blocks.</summary>
internal sealed unsafe class LayerCache
{
    private readonly int blockSize;
    private byte* keys;
    private byte* values;

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

    /// <summary>The layout for a mixer; null where it caches no rows.</summary>
    public static LayerCache? Of(MixerSpec? mixer, KvFormat format, int blockSize) => mixer switch
    {
        AttentionSpec attention => new LayerCache(format, attention.KeyValueHeads, attention.HeadSize, attention.HeadSize, false, blockSize),
        LatentAttentionSpec latent => new LayerCache(format, 1, latent.LatentRank + latent.RotatedSize, latent.LatentRank, true, blockSize),
        _ => null,
    };

    public void Place(byte* memory, int blockCount)
    {
        keys = memory;
        values = memory + (KeyBlockBytes * blockCount);
    }

    /// <summary>The first key of a head in a block; the block's other rows follow.</summary>
    public byte* Keys(int block, int head) => keys + (block * KeyBlockBytes) + ((long)head * blockSize * KeySize * ElementBytes);

    /// <summary>The first value of a head in a block; rows are <see cref="ValueStride"/> values apart.</summary>
    public byte* Values(int block, int head) =>
        ValuesAreKeys ? Keys(block, head) : values + (block * ValueBlockBytes) + ((long)head * blockSize * ValueSize * ElementBytes);

    /// <summary>Distance between two values of a head, in elements.</summary>
    public int ValueStride => ValuesAreKeys ? KeySize : ValueSize;

    /// <summary>Stores one token's keys and values, given head after head.</summary>
    public void Write(VectorKernels kernels, int block, int row, float* key, float* value)
    {
        for (int head = 0; head < Heads; head++)
        {
            Store(kernels, key + (head * KeySize), Keys(block, head) + ((long)row * KeySize * ElementBytes), KeySize);
            if (!ValuesAreKeys)
            {
                Store(kernels, value + (head * ValueSize), Values(block, head) + ((long)row * ValueSize * ElementBytes), ValueSize);
            }
        }
    }

    public void CopyBlock(int source, int destination)
    {
        Copy(Keys(source, 0), Keys(destination, 0), KeyBlockBytes);
        if (!ValuesAreKeys)
        {
            Copy(Values(source, 0), Values(destination, 0), ValueBlockBytes);
        }
    }

    public void CopyRow(int sourceBlock, int sourceRow, int destinationBlock, int destinationRow)
    {
        long keyBytes = (long)KeySize * ElementBytes;
        long valueBytes = (long)ValueSize * ElementBytes;
        for (int head = 0; head < Heads; head++)
        {
            Copy(Keys(sourceBlock, head) + (sourceRow * keyBytes), Keys(destinationBlock, head) + (destinationRow * keyBytes), keyBytes);
            if (!ValuesAreKeys)
            {
                Copy(Values(sourceBlock, head) + (sourceRow * valueBytes), Values(destinationBlock, head) + (destinationRow * valueBytes), valueBytes);
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
