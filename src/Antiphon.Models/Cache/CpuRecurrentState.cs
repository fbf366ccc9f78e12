using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>
/// The recurrent state of one sequence: what it is now, what it was before the last slice of several tokens, and which of the sequence's blocks
/// have snapshots behind them.
/// </summary>
internal sealed unsafe class CpuRecurrentState : RecurrentState
{
    private readonly RecurrentSnapshots snapshots;
    private readonly int blockSize;
    private readonly NativeBuffer<float> current;
    private readonly List<int> borders = [];
    private NativeBuffer<float>? anchor;
    private int anchorLength = -1;
    private int firstClaimed;

    public CpuRecurrentState(RecurrentSnapshots snapshots, int blockSize, ReadOnlySpan<int> prefixBlocks)
    {
        this.snapshots = snapshots;
        this.blockSize = blockSize;
        current = new NativeBuffer<float>(snapshots.Layout.Floats);
        borders.AddRange(prefixBlocks);
        Restore(prefixBlocks.Length * blockSize);
    }

    /// <summary>Tokens that the state has taken in. Where it is behind its sequence, the rest must be replayed first.</summary>
    public int Length { get; private set; }

    public float* Current => current.Pointer;

    public RecurrentSnapshots Snapshots => snapshots;

    /// <summary>Where the state behind a token of the slice at hand is to be kept, or null.</summary>
    /// <param name="cacheRow">The token's row in its sequence.</param>
    public float* SnapshotBehind(int cacheRow)
    {
        if ((cacheRow + 1) % blockSize != 0)
        {
            return null;
        }

        int block = ((cacheRow + 1) / blockSize) - 1;
        return block >= firstClaimed && block < borders.Count ? snapshots.Find(borders[block]) : null;
    }

    /// <summary>Called before tokens are taken in.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="count">How many, replayed ones included.</param>
    public void Begin(Sequence sequence, int count)
    {
        if (count > 1)
        {
            anchor ??= new NativeBuffer<float>(snapshots.Layout.Floats);
            Copy(current.Pointer, anchor.Pointer);
            anchorLength = Length;
        }

        // Blocks that become full are known from here on, so that a cut can find or drop their snapshots.
        int full = (Length + count) / blockSize;
        borders.Clear();
        borders.AddRange(sequence.Blocks[..full]);
        firstClaimed = Math.Max(Length / blockSize, full - snapshots.BordersPerSlice);
        for (int block = firstClaimed; block < full; block++)
        {
            if (snapshots.Claim(borders[block]) is null)
            {
                // The step has taken all room. What is older has been claimed, what follows has not.
                borders.RemoveRange(block, full - block);
                break;
            }
        }
    }

    /// <summary>Called when tokens have been taken in.</summary>
    public void Advance(int count) => Length += count;

    public override void CutBack(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        int kept = length / blockSize;
        for (int i = kept; i < borders.Count; i++)
        {
            // Another holder of a block keeps its tokens, and so the snapshot stays right for it; only this sequence's own is stale.
            snapshots.DropUnlessShared(borders[i]);
        }

        if (borders.Count > kept)
        {
            borders.RemoveRange(kept, borders.Count - kept);
        }

        if (length < Length)
        {
            Restore(length);
        }

        if (anchorLength > length)
        {
            anchorLength = -1;
        }
    }

    protected override void Dispose(bool disposing)
    {
        current.Dispose();
        anchor?.Dispose();
    }

    private void Restore(int length)
    {
        for (int i = Math.Min(borders.Count, length / blockSize); i > 0 && i * blockSize > anchorLength; i--)
        {
            float* snapshot = snapshots.Find(borders[i - 1]);
            if (snapshot is not null)
            {
                Copy(snapshot, current.Pointer);
                Length = i * blockSize;
                return;
            }
        }

        if (anchorLength >= 0 && anchorLength <= length)
        {
            Copy(anchor!.Pointer, current.Pointer);
            Length = anchorLength;
        }
        else
        {
            current.Span(0, checked((int)current.Length)).Clear();
            Length = 0;
        }
    }

    private void Copy(float* source, float* destination)
    {
        long bytes = snapshots.Layout.Floats * sizeof(float);
        Buffer.MemoryCopy(source, destination, bytes, bytes);
    }
}
