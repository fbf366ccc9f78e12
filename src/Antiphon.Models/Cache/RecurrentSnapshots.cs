using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>
/// Recurrent states as they were behind the last token of cache blocks. Their number is limited: the one that was not used for longest makes room.
/// A missing snapshot costs a replay, never a wrong answer.
/// </summary>
internal sealed unsafe class RecurrentSnapshots : IDisposable
{
    private readonly NativeBuffer<float>?[] slots;
    private readonly int[] blockOfSlot;
    private readonly long[] lastUse;
    private readonly int[] slotOfBlock;
    private long clock;

    private readonly KvCache cache;

    public RecurrentSnapshots(KvCache cache, RecurrentLayout layout, long bytes)
    {
        this.cache = cache;
        int blockCount = cache.BlockCount;
        Layout = layout;
        int count = (int)Math.Clamp(bytes / (layout.Floats * sizeof(float)), 2, blockCount + 1L);
        slots = new NativeBuffer<float>?[count];
        blockOfSlot = new int[count];
        lastUse = new long[count];
        slotOfBlock = new int[blockCount];
        Array.Fill(blockOfSlot, -1);
        Array.Fill(slotOfBlock, -1);
    }

    public RecurrentLayout Layout { get; }

    /// <summary>How many of the last borders of a slice are worth a snapshot.</summary>
    public int BordersPerSlice => Math.Max(1, slots.Length / 4);

    /// <summary>A new step begins: what is written within one step is not thrown out by that step.</summary>
    public void Tick() => clock++;

    public bool Has(int block) => slotOfBlock[block] >= 0;

    /// <summary>The snapshot behind a block, or null.</summary>
    public float* Find(int block)
    {
        int slot = slotOfBlock[block];
        if (slot < 0)
        {
            return null;
        }

        lastUse[slot] = clock;
        return slots[slot]!.Pointer;
    }

    /// <summary>Room for the snapshot behind a block, which the caller fills; null when this step has taken all.</summary>
    public float* Claim(int block)
    {
        int slot = slotOfBlock[block];
        if (slot < 0)
        {
            slot = Oldest();
            if (slot < 0)
            {
                return null;
            }

            if (blockOfSlot[slot] >= 0)
            {
                slotOfBlock[blockOfSlot[slot]] = -1;
            }

            blockOfSlot[slot] = block;
            slotOfBlock[block] = slot;
        }

        lastUse[slot] = clock;
        return (slots[slot] ??= new NativeBuffer<float>(Layout.Floats)).Pointer;
    }

    public void Drop(int block)
    {
        int slot = slotOfBlock[block];
        if (slot >= 0)
        {
            slotOfBlock[block] = -1;
            blockOfSlot[slot] = -1;
        }
    }

    /// <summary>Forgets what a sequence wrote behind a block that it is about to change, unless others hold the block.</summary>
    public void DropUnlessShared(int block)
    {
        if (cache.References(block) == 1)
        {
            Drop(block);
        }
    }

    public void Dispose()
    {
        foreach (NativeBuffer<float>? slot in slots)
        {
            slot?.Dispose();
        }
    }

    private int Oldest()
    {
        int oldest = -1;
        for (int slot = 0; slot < slots.Length; slot++)
        {
            if (blockOfSlot[slot] < 0)
            {
                return slot;
            }

            if (lastUse[slot] < clock && (oldest < 0 || lastUse[slot] < lastUse[oldest]))
            {
                oldest = slot;
            }
        }

        return oldest;
    }
}
