namespace Antiphon.Models;

/// <summary>
/// A pool of fixed-size cache blocks, each of which holds the keys and values of <see cref="BlockSize"/> consecutive tokens for every layer.
/// Blocks are counted by reference, so that sequences and a prefix tree can share them. What a block physically is belongs to the backend.
/// </summary>
/// <remarks>Used by the engine thread only.</remarks>
public abstract class KvCache : IDisposable
{
    private readonly int[] references;
    private readonly Stack<int> free;

    /// <summary>Creates the bookkeeping of <paramref name="blockCount"/> blocks of <paramref name="blockSize"/> tokens.</summary>
    protected KvCache(int blockSize, int blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(blockCount, 1);
        BlockSize = blockSize;
        references = new int[blockCount];
        free = new Stack<int>(blockCount);
        for (int block = blockCount - 1; block >= 0; block--)
        {
            free.Push(block);
        }
    }

    /// <summary>Tokens in a block.</summary>
    public int BlockSize { get; }

    /// <summary>Blocks in the pool.</summary>
    public int BlockCount => references.Length;

    /// <summary>Blocks that nobody refers to.</summary>
    public int FreeBlocks => free.Count;

    /// <summary>Bytes that the pool occupies.</summary>
    public abstract long ByteCount { get; }

    /// <summary>Whether sequences also carry recurrent state, which cannot be cut back by dropping rows.</summary>
    public virtual bool HasRecurrentState => false;

    /// <summary>Takes a free block with one reference, or returns -1 when there is none.</summary>
    public int Allocate()
    {
        if (!free.TryPop(out int block))
        {
            return -1;
        }

        references[block] = 1;
        return block;
    }

    /// <summary>Adds a reference to a block in use.</summary>
    public void Retain(int block)
    {
        InvalidOperationException.ThrowIfFree(references[block], block);
        references[block]++;
    }

    /// <summary>Drops a reference; the block is free when it was the last.</summary>
    public void Release(int block)
    {
        InvalidOperationException.ThrowIfFree(references[block], block);
        if (--references[block] == 0)
        {
            OnFreed(block);
            free.Push(block);
        }
    }

    /// <summary>Number of references to a block.</summary>
    public int References(int block) => references[block];

    /// <summary>Copies all rows of a block.</summary>
    public abstract void CopyBlock(int source, int destination);

    /// <summary>Copies one token's row, of every layer, between blocks (or within one).</summary>
    public abstract void CopyRow(int sourceBlock, int sourceRow, int destinationBlock, int destinationRow);

    /// <summary>
    /// How many of these blocks, from the first, a new sequence can start from. All of them, unless there is recurrent state:
    /// then the longest run whose last block has a checkpoint.
    /// </summary>
    public virtual int UsablePrefix(ReadOnlySpan<int> blocks) => blocks.Length;

    /// <summary>
    /// Sequences can share rows only if this is equal for both: rows of sequences planned to be long may differ from those of short ones.
    /// 0 for all but models whose position encoding depends on length.
    /// </summary>
    /// <param name="plannedLength">See <see cref="Sequence.PlannedLength"/>.</param>
    public virtual int PrefixScope(int plannedLength) => 0;

    /// <summary>The state of a new sequence that starts behind these blocks (none: an empty one); null for models without recurrent state.</summary>
    public virtual RecurrentState? CreateState(ReadOnlySpan<int> prefixBlocks) => null;

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Called when a block's last reference is dropped; a backend forgets the block's checkpoint here.</summary>
    protected virtual void OnFreed(int block)
    {
    }

    /// <summary>Frees the memory of the pool.</summary>
    protected abstract void Dispose(bool disposing);
}

/// <summary>State of layers that remember through a recurrence (delta nets, state-space layers, short convolutions), per sequence.</summary>
public abstract class RecurrentState : IDisposable
{
    /// <summary>
    /// Tells the state that only the first <paramref name="length"/> tokens of its sequence remain. The backend restores the nearest earlier
    /// snapshot and replays the rest on its next forward pass.
    /// </summary>
    public abstract void CutBack(int length);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the state.</summary>
    protected abstract void Dispose(bool disposing);
}

file static class Guard
{
    extension(InvalidOperationException)
    {
        public static void ThrowIfFree(int references, int block)
        {
            if (references <= 0)
            {
                throw new InvalidOperationException($"cache block {block} is not in use");
            }
        }
    }
}
