using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>
/// The recurrent state of one sequence: what it is now, and what it was before the last slice of several tokens. Older states are snapshots behind
/// the sequence's blocks.
/// </summary>
internal sealed unsafe class CpuRecurrentState : RecurrentState
{
    private readonly RecurrentSnapshots snapshots;
    private readonly int blockSize;
    private readonly NativeBuffer<float> current;
    private NativeBuffer<float>? anchor;
    private Sequence? owner;
    private int anchorLength = -1;
    private int firstClaimed;
    private int endClaimed;

    public CpuRecurrentState(RecurrentSnapshots snapshots, int blockSize, ReadOnlySpan<int> prefixBlocks)
    {
        this.snapshots = snapshots;
        this.blockSize = blockSize;
        current = new NativeBuffer<float>(snapshots.Layout.Floats);
        Restore(prefixBlocks, prefixBlocks.Length * blockSize);
    }

    /// <summary>Tokens that the state has taken in. Where it is behind its sequence, the rest must be replayed first.</summary>
    public int Length { get; private set; }

    public float* Current => current.Pointer;

    public RecurrentSnapshots Snapshots => snapshots;

    /// <summary>Where the state behind a token of the slice at hand is to be kept, or null.</summary>
    /// <param name="cacheRow">The token's row in its sequence.</param>
    public float* SnapshotBehind(int cacheRow)
    {
        (int block, int row) = Math.DivRem(cacheRow, blockSize);
        return row == blockSize - 1 && block >= firstClaimed && block < endClaimed ? snapshots.Find(owner!.Blocks[block]) : null;
    }

    /// <summary>Called before tokens are taken in.</summary>
    /// <param name="sequence">The sequence that the state belongs to.</param>
    /// <param name="count">How many tokens, replayed ones included.</param>
    public void Begin(Sequence sequence, int count)
    {
        owner = sequence;
        if (count > 1)
        {
            anchor ??= new NativeBuffer<float>(snapshots.Layout.Floats);
            Copy(current.Pointer, anchor.Pointer);
            anchorLength = Length;
        }

        int full = (Length + count) / blockSize;
        firstClaimed = Math.Max(Length / blockSize, full - snapshots.BordersPerSlice);
        endClaimed = firstClaimed;
        while (endClaimed < full && snapshots.Claim(sequence.Blocks[endClaimed]) is not null)
        {
            endClaimed++;
        }
    }

    /// <summary>Called when tokens have been taken in.</summary>
    public void Advance(int count) => Length += count;

    public override void CutBack(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (owner is null)
        {
            // Nothing was taken in yet: a cut into a shared prefix.
            if (length < Length)
            {
                Restore([], length);
            }

            return;
        }

        for (int block = length / blockSize; block < Length / blockSize; block++)
        {
            // Another holder of a block keeps its tokens, and so the snapshot stays right for it; only this sequence's own is stale.
            snapshots.DropUnlessShared(owner.Blocks[block]);
        }

        if (anchorLength > length)
        {
            anchorLength = -1;
        }

        if (length < Length)
        {
            Restore(owner.Blocks, length);
        }
    }

    protected override void Dispose(bool disposing)
    {
        current.Dispose();
        anchor?.Dispose();
    }

    /// <summary>Goes back to the latest state that is known of at most so many tokens.</summary>
    private void Restore(ReadOnlySpan<int> blocks, int length)
    {
        for (int i = length / blockSize; i > 0 && i * blockSize > anchorLength && i <= blocks.Length; i--)
        {
            float* snapshot = snapshots.Find(blocks[i - 1]);
            if (snapshot is not null)
            {
                Copy(snapshot, current.Pointer);
                Length = i * blockSize;
                return;
            }
        }

        if (anchorLength >= 0)
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
