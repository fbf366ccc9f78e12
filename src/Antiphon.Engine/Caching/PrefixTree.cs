using System.Runtime.InteropServices;
using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>
/// The full cache blocks of past and running sequences, found by what stands in them. A node is a block; its children continue its text. The tree holds one
/// reference to each of its blocks; a block that nobody else refers to is idle, and the one idle for longest is dropped when room is needed: first of owners whose
/// idle blocks are more than their share, so that one who asks for much does not push out the rest.
/// </summary>
/// <remarks>
/// <para>A block is found by a keyed hash over its salt, all tokens before it and its own, and then its tokens and its parent are compared, so equal hashes are not
/// enough to share.</para>
/// <para>Two facts keep it simple. Whoever refers to a block refers to its ancestors, so below an idle block all is idle. A sequence gives its blocks back from
/// the last to the first, so a block is always dropped before its parent.</para>
/// <para>Used by the engine thread only. All memory is allocated at the start: a node is an index, that of its block.</para>
/// </remarks>
internal sealed class PrefixTree
{
    private const int NoBlock = -1;

    private readonly KvCache cache;
    private SipHash hash = new();
    private readonly ulong hashMask;
    private readonly Dictionary<ulong, int> nodes;
    private readonly bool[] present;
    private readonly ulong[] hashes;
    private readonly int[] parents;
    private readonly int[] tokens;

    // A block belongs to the owner of its parent, so what hangs together is dropped in the order of its idleness.
    private readonly Dictionary<string, Owner> owners = [];
    private readonly Owner?[] ownerOf;
    private readonly int share;

    // Each owner's idle blocks in a list, the one to drop first at its front; and when each became idle.
    private readonly int[] next;
    private readonly int[] previous;
    private readonly long[] idleSince;
    private long clock;

    /// <summary>An empty tree.</summary>
    /// <param name="cache">Where the blocks are.</param>
    /// <param name="hashMask">Which bits of the hash count: fewer than all only to test collisions.</param>
    /// <param name="share">See <see cref="EngineOptions.PrefixShare"/>.</param>
    public PrefixTree(KvCache cache, ulong hashMask = ulong.MaxValue, double share = 1)
    {
        this.hashMask = hashMask;
        this.share = (int)(share * cache.BlockCount);
        this.cache = cache;
        nodes = new Dictionary<ulong, int>(cache.BlockCount);
        present = new bool[cache.BlockCount];
        hashes = new ulong[cache.BlockCount];
        parents = new int[cache.BlockCount];
        tokens = new int[checked(cache.BlockCount * cache.BlockSize)];
        ownerOf = new Owner?[cache.BlockCount];
        next = new int[cache.BlockCount];
        previous = new int[cache.BlockCount];
        idleSince = new long[cache.BlockCount];
    }

    /// <summary>Blocks that only the tree refers to.</summary>
    public int IdleBlocks { get; private set; }

    /// <summary>Blocks dropped to make room.</summary>
    public long Evictions { get; private set; }

    /// <summary>How far a sequence has been entered: its place in the tree.</summary>
    /// <param name="Hash">Hash of all blocks so far, or the salt's.</param>
    /// <param name="Parent">The last block, or -1.</param>
    /// <param name="Count">Number of blocks.</param>
    /// <param name="Closed">Whether a hash collision keeps the rest out.</param>
    public readonly record struct Path(ulong Hash, int Parent, int Count, bool Closed);

    /// <summary>A block of the tree.</summary>
    /// <param name="Block">The block.</param>
    /// <param name="Hash">Its hash.</param>
    /// <param name="Parent">The block before it, or -1.</param>
    public readonly record struct Node(int Block, ulong Hash, int Parent);

    /// <summary>The path of a sequence without blocks.</summary>
    /// <param name="salt">Shares with equal salts only; null: with those without.</param>
    /// <param name="scope">Shares with equal <see cref="KvCache.PrefixScope"/> only.</param>
    public Path Root(string? salt, int scope = 0)
    {
        ulong root = salt is null ? hash.Hash([]) : hash.Hash(1, MemoryMarshal.AsBytes(salt.AsSpan()));
        return new(scope == 0 ? root : hash.Hash(root, MemoryMarshal.AsBytes(new ReadOnlySpan<int>(ref scope))), NoBlock, 0, false);
    }

    /// <summary>The path of a sequence that shares with nobody but those of the same number.</summary>
    public Path PrivateRoot(long number) => new(hash.Hash(2, MemoryMarshal.AsBytes(new ReadOnlySpan<long>(ref number))), NoBlock, 0, false);

    /// <summary>Finds the longest run of blocks that hold the beginning of a text.</summary>
    /// <param name="root">Where to start: the path of the salt.</param>
    /// <param name="text">The tokens.</param>
    /// <param name="found">Gets the blocks. No reference is taken.</param>
    public void Match(Path root, ReadOnlySpan<int> text, List<int> found)
    {
        found.Clear();
        Path path = root;
        while (text.Length >= cache.BlockSize)
        {
            ReadOnlySpan<int> block = text[..cache.BlockSize];
            ulong key = hash.Hash(path.Hash, MemoryMarshal.AsBytes(block)) & hashMask;
            if (!nodes.TryGetValue(key, out int node) || !Holds(node, path.Parent, block))
            {
                break;
            }

            found.Add(node);
            path = new Path(key, node, path.Count + 1, false);
            text = text[cache.BlockSize..];
        }

        int usable = cache.UsablePrefix(CollectionsMarshal.AsSpan(found));
        found.RemoveRange(usable, found.Count - usable);
    }

    /// <summary>Where a text leaves the cached one that it has most in common with, inside the block behind those that <see cref="Match"/> found.</summary>
    /// <param name="root">As for <see cref="Match"/>: texts of other salts are not looked at.</param>
    /// <param name="text">The tokens.</param>
    /// <param name="found">What <see cref="Match"/> found.</param>
    /// <returns>The index of the first token that differs; null when no cached text goes on like this one.</returns>
    public int? Divergence(Path root, ReadOnlySpan<int> text, List<int> found)
    {
        int parent = found.Count == 0 ? NoBlock : found[^1];
        int start = found.Count * cache.BlockSize;
        int most = 0;
        for (int block = 0; block < present.Length; block++)
        {
            if (present[block] && parents[block] == parent)
            {
                int common = text[start..].CommonPrefixLength(Tokens(block));
                if (common > most && (parent != NoBlock || hashes[block] == Mask(hash.Hash(root.Hash, MemoryMarshal.AsBytes(Tokens(block))))))
                {
                    most = common;
                }
            }
        }

        return most > 0 && most < cache.BlockSize && start + most < text.Length ? start + most : null;
    }

    /// <summary>How many of these blocks are idle.</summary>
    public int CountIdle(List<int> blocks)
    {
        int idle = 0;
        foreach (int block in blocks)
        {
            idle += cache.References(block) == 1 ? 1 : 0;
        }

        return idle;
    }

    /// <summary>Starts a sequence behind blocks that <see cref="Match"/> found.</summary>
    /// <param name="root">As for <see cref="Match"/>.</param>
    /// <param name="text">The tokens.</param>
    /// <param name="found">The blocks.</param>
    /// <param name="plannedLength">See <see cref="Sequence.PlannedLength"/>.</param>
    /// <param name="path">Gets how far the sequence is entered.</param>
    public Sequence Start(Path root, ReadOnlySpan<int> text, List<int> found, int plannedLength, out Path path)
    {
        path = root;
        foreach (int block in found)
        {
            Use(block);
            path = new Path(hashes[block], block, path.Count + 1, false);
        }

        return new Sequence(cache, CollectionsMarshal.AsSpan(found), text[..(found.Count * cache.BlockSize)]) { PlannedLength = plannedLength };
    }

    /// <summary>Enters the blocks of a sequence that became full and committed since the last time.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="path">How far it is entered.</param>
    /// <param name="owner">Whose blocks these are, where they begin a text that nobody else has; null: of nobody in particular.</param>
    public void Enter(Sequence sequence, ref Path path, string? owner)
    {
        while (!path.Closed && (path.Count + 1) * cache.BlockSize <= sequence.Length)
        {
            int block = sequence.Blocks[path.Count];
            ReadOnlySpan<int> text = sequence.Tokens.Slice(path.Count * cache.BlockSize, cache.BlockSize);
            ulong key = hash.Hash(path.Hash, MemoryMarshal.AsBytes(text)) & hashMask;
            if (!nodes.TryGetValue(key, out int node))
            {
                cache.Retain(block);
                Add(key, block, path.Parent, text, owner);
                node = block;
            }
            else if (!Holds(node, path.Parent, text))
            {
                path = path with { Closed = true };
                return;
            }
            else
            {
                // Another sequence computed the same block at the same time: keep one.
                Use(node);
                sequence.Share(path.Count, node);
            }

            path = new Path(key, node, path.Count + 1, false);
        }
    }

    /// <summary>Ends a sequence. Its blocks that nobody else uses become idle, the last first.</summary>
    public void Release(Sequence sequence)
    {
        for (int i = sequence.Blocks.Length - 1; i >= 0; i--)
        {
            int block = sequence.Blocks[i];
            if (present[block] && cache.References(block) == 2)
            {
                Link(block);
            }
        }

        sequence.Dispose();
    }

    /// <summary>Drops idle blocks until this many are free, or none is idle.</summary>
    /// <returns>Whether so many are free.</returns>
    public bool MakeRoom(int blocks)
    {
        while (cache.FreeBlocks < blocks && IdleBlocks > 0)
        {
            Drop(Victim());
            Evictions++;
        }

        return cache.FreeBlocks >= blocks;
    }

    /// <summary>The tokens of a block.</summary>
    public ReadOnlySpan<int> Tokens(int block) => tokens.AsSpan(block * cache.BlockSize, cache.BlockSize);

    /// <summary>The part of a hash that counts.</summary>
    public ulong Mask(ulong key) => key & hashMask;

    /// <summary>Writes the key of the hashes.</summary>
    public void CopyHashKey(Span<byte> key) => hash.CopyKey(key);

    /// <summary>All blocks, parents before children, and but for that those in use first, then the idle ones, the one used last first.</summary>
    public List<Node> List()
    {
        List<Node> list = new(nodes.Count);
        bool[] listed = new bool[cache.BlockCount];
        Stack<int> line = new();
        foreach (int block in nodes.Values)
        {
            if (cache.References(block) > 1)
            {
                ListWithAncestors(block);
            }
        }

        foreach (int block in nodes.Values.Where(block => cache.References(block) == 1).OrderByDescending(block => idleSince[block]))
        {
            ListWithAncestors(block);
        }

        return list;

        void ListWithAncestors(int block)
        {
            for (; block >= 0 && !listed[block]; block = parents[block])
            {
                listed[block] = true;
                line.Push(block);
            }

            while (line.TryPop(out int next))
            {
                list.Add(new Node(next, hashes[next], parents[next]));
            }
        }
    }

    /// <summary>Takes over blocks, in the order of <see cref="List"/>, with the one reference that each has, and the hash that made their hashes. The tree must be empty.</summary>
    public void Adopt(SipHash saved, List<Node> blocks, List<int[]> texts)
    {
        hash = saved;
        for (int i = blocks.Count - 1; i >= 0; i--)
        {
            Add(blocks[i].Hash, blocks[i].Block, NoBlock, texts[i], null);
            parents[blocks[i].Block] = blocks[i].Parent;
            Link(blocks[i].Block);
        }
    }

    private void Add(ulong key, int block, int parent, ReadOnlySpan<int> text, string? owner)
    {
        nodes.Add(key, block);
        present[block] = true;
        hashes[block] = key;
        parents[block] = parent;
        text.CopyTo(tokens.AsSpan(block * cache.BlockSize));
        Owner its = parent == NoBlock ? OwnerOf(owner ?? "") : ownerOf[parent]!;
        ownerOf[block] = its;
        its.Blocks++;
    }

    /// <summary>Takes an idle block out and gives it back.</summary>
    private void Drop(int block)
    {
        Unlink(block);
        nodes.Remove(hashes[block]);
        present[block] = false;
        Owner owner = ownerOf[block]!;
        ownerOf[block] = null;
        if (--owner.Blocks == 0)
        {
            owners.Remove(owner.Name);
        }

        cache.Release(block);
    }

    /// <summary>The idle block to drop first. There must be one.</summary>
    private int Victim()
    {
        Owner? chosen = null;
        foreach (Owner owner in owners.Values)
        {
            if (owner.Idle > 0 && (chosen is null || Goes(owner, chosen)))
            {
                chosen = owner;
            }
        }

        return chosen!.First;

        bool Goes(Owner one, Owner other) => one.Idle > share == other.Idle > share ? idleSince[one.First] < idleSince[other.First] : one.Idle > share;
    }

    private Owner OwnerOf(string name)
    {
        ref Owner? owner = ref CollectionsMarshal.GetValueRefOrAddDefault(owners, name, out _);
        return owner ??= new Owner(name);
    }

    private bool Holds(int node, int parent, ReadOnlySpan<int> text) =>
        parents[node] == parent && tokens.AsSpan(node * cache.BlockSize, cache.BlockSize).SequenceEqual(text);

    // Called before a reference is taken.
    private void Use(int block)
    {
        if (cache.References(block) == 1)
        {
            Unlink(block);
        }
    }

    private void Link(int block)
    {
        Owner owner = ownerOf[block]!;
        (previous[block], next[block]) = (owner.Last, NoBlock);
        if (owner.Last == NoBlock)
        {
            owner.First = block;
        }
        else
        {
            next[owner.Last] = block;
        }

        owner.Last = block;
        owner.Idle++;
        idleSince[block] = ++clock;
        IdleBlocks++;
    }

    private void Unlink(int block)
    {
        Owner owner = ownerOf[block]!;
        (int before, int after) = (previous[block], next[block]);
        if (before == NoBlock)
        {
            owner.First = after;
        }
        else
        {
            next[before] = after;
        }

        if (after == NoBlock)
        {
            owner.Last = before;
        }
        else
        {
            previous[after] = before;
        }

        owner.Idle--;
        IdleBlocks--;
    }

    /// <summary>Whose blocks they are.</summary>
    private sealed class Owner(string name)
    {
        public string Name => name;

        /// <summary>Blocks in the tree.</summary>
        public int Blocks { get; set; }

        /// <summary>Those of them that are idle, from <see cref="First"/>, idle for longest, to <see cref="Last"/>.</summary>
        public int Idle { get; set; }

        public int First { get; set; } = NoBlock;

        public int Last { get; set; } = NoBlock;
    }
}
