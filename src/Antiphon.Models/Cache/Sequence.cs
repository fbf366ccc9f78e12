using System.Runtime.InteropServices;

namespace Antiphon.Models;

/// <summary>
/// The tokens that a model has seen on behalf of one request, and where their cache rows are. Rows that a forward pass adds are tentative until
/// they are committed; what is not committed is dropped.
/// </summary>
/// <remarks>Used by the engine thread only.</remarks>
public sealed class Sequence : IDisposable
{
    private readonly List<int> tokens = [];
    private readonly List<int> blocks = [];
    private bool disposed;

    /// <summary>An empty sequence in a cache.</summary>
    public Sequence(KvCache cache)
    {
        ArgumentNullException.ThrowIfNull(cache);
        Cache = cache;
        State = cache.CreateState([]);
    }

    /// <summary>A sequence that starts with full blocks that it shares with others.</summary>
    /// <param name="cache">The cache.</param>
    /// <param name="prefixBlocks">Full blocks, at most <see cref="KvCache.UsablePrefix"/> of them; each gets a reference.</param>
    /// <param name="prefixTokens">The tokens in these blocks.</param>
    public Sequence(KvCache cache, ReadOnlySpan<int> prefixBlocks, ReadOnlySpan<int> prefixTokens)
    {
        ArgumentNullException.ThrowIfNull(cache);
        ArgumentOutOfRangeException.ThrowIfNotEqual(prefixTokens.Length, prefixBlocks.Length * cache.BlockSize);
        Cache = cache;
        foreach (int block in prefixBlocks)
        {
            cache.Retain(block);
            blocks.Add(block);
        }

        tokens.AddRange(prefixTokens);
        Length = tokens.Count;
        State = cache.CreateState(prefixBlocks);
    }

    /// <summary>The cache in which the rows are.</summary>
    public KvCache Cache { get; }

    /// <summary>
    /// Tokens that the sequence may grow to, prompt included; 0 (default) when that is not known. Models whose position encoding differs between short
    /// and long sequences (LongRoPE) choose by it, since a change on the way would leave the rows so far wrong.
    /// </summary>
    public int PlannedLength { get; init; }

    /// <summary>Number of committed tokens.</summary>
    public int Length { get; private set; }

    /// <summary>Number of tentative tokens behind the committed ones.</summary>
    public int Tentative => tokens.Count - Length;

    /// <summary>Committed and tentative tokens.</summary>
    public ReadOnlySpan<int> Tokens => CollectionsMarshal.AsSpan(tokens);

    /// <summary>The block of each run of <see cref="KvCache.BlockSize"/> rows.</summary>
    public ReadOnlySpan<int> Blocks => CollectionsMarshal.AsSpan(blocks);

    /// <summary>Recurrent state, for models that have any.</summary>
    public RecurrentState? State { get; }

    /// <summary>Number of further blocks that <paramref name="count"/> more tokens would take from the pool.</summary>
    public int BlocksNeeded(int count)
    {
        int needed = ((tokens.Count + count + Cache.BlockSize - 1) / Cache.BlockSize) - blocks.Count;
        bool copies = count > 0 && tokens.Count % Cache.BlockSize != 0 && Cache.References(blocks[tokens.Count / Cache.BlockSize]) > 1;
        return Math.Max(needed, 0) + (copies ? 1 : 0);
    }

    /// <summary>Makes sure that <paramref name="count"/> more tokens have private room; takes nothing when the pool lacks blocks.</summary>
    public bool TryReserve(int count)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (BlocksNeeded(count) > Cache.FreeBlocks)
        {
            return false;
        }

        int partial = tokens.Count / Cache.BlockSize;
        if (count > 0 && tokens.Count % Cache.BlockSize != 0 && Cache.References(blocks[partial]) > 1)
        {
            int copy = Cache.Allocate();
            Cache.CopyBlock(blocks[partial], copy);
            Cache.Release(blocks[partial]);
            blocks[partial] = copy;
        }

        while ((long)blocks.Count * Cache.BlockSize < tokens.Count + (long)count)
        {
            blocks.Add(Cache.Allocate());
        }

        return true;
    }

    /// <summary>Keeps the first <paramref name="count"/> tentative tokens and drops the others.</summary>
    public void Commit(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, Tentative);
        CutTo(Length + count);
        Length = tokens.Count;
    }

    /// <summary>Keeps some tentative tokens, moves their rows together, and drops the others: the accepted path of a tree of drafts.</summary>
    /// <param name="rows">Indices among the tentative tokens, rising. Models with recurrent state accept only 0, 1, 2, ….</param>
    public void Commit(ReadOnlySpan<int> rows)
    {
        int target = Length;
        int last = -1;
        foreach (int row in rows)
        {
            if (row <= last || row >= Tentative)
            {
                throw new ArgumentOutOfRangeException(nameof(rows), row, "tentative rows must rise and exist");
            }

            last = row;
            int source = Length + row;
            if (source != target)
            {
                if (State is not null)
                {
                    throw new InvalidOperationException("a recurrent state cannot keep tokens behind a dropped one");
                }

                (int sourceBlock, int sourceRow) = Math.DivRem(source, Cache.BlockSize);
                (int targetBlock, int targetRow) = Math.DivRem(target, Cache.BlockSize);
                Cache.CopyRow(blocks[sourceBlock], sourceRow, blocks[targetBlock], targetRow);
                tokens[target] = tokens[source];
            }

            target++;
        }

        CutTo(target);
        Length = target;
    }

    /// <summary>Uses another block that holds the same rows instead of its own, which it gives back: two sequences computed the same prefix.</summary>
    /// <param name="index">Index in <see cref="Blocks"/> of a block full of committed tokens.</param>
    /// <param name="block">The block to use; it gets a reference.</param>
    public void Share(int index, int block)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((index + 1L) * Cache.BlockSize, Length, nameof(index));
        Cache.Retain(block);
        Cache.Release(blocks[index]);
        blocks[index] = block;
    }

    /// <summary>Drops everything behind the first <paramref name="length"/> committed tokens.</summary>
    public void Truncate(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length);
        CutTo(length);
        Length = length;
    }

    /// <summary>Adds tentative tokens; <see cref="StepBatch"/> calls this. Room must have been reserved.</summary>
    internal void Append(ReadOnlySpan<int> added)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        if ((long)blocks.Count * Cache.BlockSize < tokens.Count + (long)added.Length)
        {
            throw new InvalidOperationException("no cache rows reserved for these tokens: call TryReserve first");
        }

        tokens.AddRange(added);
    }

    /// <summary>Gives all blocks back.</summary>
    public void Dispose()
    {
        if (!disposed)
        {
            disposed = true;
            foreach (int block in blocks)
            {
                Cache.Release(block);
            }

            blocks.Clear();
            tokens.Clear();
            Length = 0;
            State?.Dispose();
        }
    }

    private void CutTo(int length)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        if (length == tokens.Count)
        {
            return;
        }

        CollectionsMarshal.SetCount(tokens, length);
        State?.CutBack(length);
        int kept = (length + Cache.BlockSize - 1) / Cache.BlockSize;
        for (int i = blocks.Count - 1; i >= kept; i--)
        {
            Cache.Release(blocks[i]);
            blocks.RemoveAt(i);
        }
    }
}
