using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>
/// Cache blocks in memory. A block has, for layer after layer, its keys and then its values, each as [heads, rows, values], so that the keys of one
/// head and block lie together, and a block is one piece of memory: few blocks fill few huge pages. Latent attention has one head, whose values are the
/// first part of its keys and are not kept twice.
/// </summary>
internal sealed unsafe class CpuKvCache : KvCache
{
    private const long Alignment = 64;

    private readonly NativeBuffer<byte> memory;
    private readonly long blockStride;
    private readonly LayerCache?[] layers;
    private readonly RecurrentSnapshots? snapshots;
    private readonly RopeSpec? longRope;
    private readonly int contextLength;

    public CpuKvCache(ModelSpec spec, KvFormat format, RecurrentLayout? recurrent, long snapshotBytes, int blockSize, int blockCount)
        : base(blockSize, blockCount)
    {
        layers = new LayerCache?[spec.Layers.Count];
        contextLength = spec.ContextLength;
        for (int i = 0; i < layers.Length; i++)
        {
            layers[i] = LayerCache.Of(spec.Layers[i].Mixer, format, blockSize);
            BlockBytes = checked(BlockBytes + (layers[i]?.BlockBytes ?? 0));
            longRope ??= spec.Layers[i].Mixer is AttentionSpec { Positions: RopeSpec { LongFrequencies: not null } rope } ? rope : null;
        }

        blockStride = checked(BlockBytes + Alignment - 1) & -Alignment;
        memory = new NativeBuffer<byte>(checked(blockStride * blockCount), hugePages: true);
        MemoryNodes.TrySpread(memory.Pointer, memory.Length);
        byte* next = memory.Pointer;
        foreach (LayerCache? layer in layers)
        {
            if (layer is not null)
            {
                layer.Place(next, blockStride);
                next += layer.BlockBytes;
            }
        }

        Recurrent = recurrent;
        snapshots = recurrent is null ? null : new RecurrentSnapshots(this, recurrent, snapshotBytes);
    }

    public override long ByteCount => memory.Length;

    public override bool HasRecurrentState => Recurrent is not null;

    public RecurrentLayout? Recurrent { get; }

    /// <summary>The cache of a layer with attention.</summary>
    public LayerCache Layer(int layer) => layers[layer]!;

    /// <summary>Bytes that one token takes over all layers.</summary>
    public static long BytesPerToken(ModelSpec spec, KvFormat format)
    {
        long bytes = 0;
        foreach (LayerSpec layer in spec.Layers)
        {
            bytes += LayerCache.Of(layer.Mixer, format, 1)?.BlockBytes ?? 0;
        }

        return bytes;
    }

    public override long BlockBytes { get; }

    public override void ReadBlock(int block, Span<byte> bytes)
    {
        CheckBlock(block, bytes.Length);
        memory.Span(block * blockStride, bytes.Length).CopyTo(bytes);
    }

    public override void WriteBlock(int block, ReadOnlySpan<byte> bytes)
    {
        CheckBlock(block, bytes.Length);
        bytes.CopyTo(memory.Span(block * blockStride, bytes.Length));
    }

    public override void CopyBlock(int source, int destination)
    {
        memory.Span(source * blockStride, (int)BlockBytes).CopyTo(memory.Span(destination * blockStride, (int)BlockBytes));
    }

    public override void CopyRow(int sourceBlock, int sourceRow, int destinationBlock, int destinationRow)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)sourceRow, (uint)BlockSize);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)destinationRow, (uint)BlockSize);
        foreach (LayerCache? layer in layers)
        {
            layer?.CopyRow(sourceBlock, sourceRow, destinationBlock, destinationRow);
        }
    }

    public override int UsablePrefix(ReadOnlySpan<int> blocks)
    {
        int usable = blocks.Length;
        while (snapshots is not null && usable > 0 && !snapshots.Has(blocks[usable - 1]))
        {
            usable--;
        }

        return usable;
    }

    public override int PrefixScope(int plannedLength) => longRope is not null && IsLong(longRope, plannedLength) ? 1 : 0;

    /// <summary>Whether a sequence takes the frequencies for long ones.</summary>
    public bool IsLong(RopeSpec rope, int plannedLength) => rope.LongFrequencies is not null && (plannedLength == 0 ? contextLength : plannedLength) > rope.ShortLength;

    public override RecurrentState? CreateState(ReadOnlySpan<int> prefixBlocks) =>
        snapshots is null ? null : new CpuRecurrentState(snapshots, BlockSize, prefixBlocks);

    private void CheckBlock(int block, int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)block, (uint)BlockCount);
        ArgumentOutOfRangeException.ThrowIfNotEqual(length, BlockBytes);
    }

    protected override void OnFreed(int block) => snapshots?.Drop(block);

    protected override void Dispose(bool disposing)
    {
        memory.Dispose();
        snapshots?.Dispose();
    }
}
