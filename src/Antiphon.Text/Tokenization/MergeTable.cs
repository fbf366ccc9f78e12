using System.Numerics;

namespace Antiphon.Text;

/// <summary>
/// Which pairs of tokens merge, to what, and how early (the lower the rank the earlier). A hash table with open addressing and a
/// random multiplier, so that no file can be made to collide.
/// </summary>
internal sealed class MergeTable
{
    /// <summary>The rank of a pair that does not merge.</summary>
    public const int NoRank = int.MaxValue;

    private const ulong Empty = ulong.MaxValue;

    private readonly ulong[] keys;
    private readonly (int Rank, int Result)[] values;
    private readonly ulong multiplier;
    private readonly int shift;

    public MergeTable(int capacity)
    {
        int size = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, checked(capacity * 2)));
        keys = new ulong[size];
        Array.Fill(keys, Empty);
        values = new (int, int)[size];
        shift = 64 - BitOperations.Log2((uint)size);

        // Seeded by the system: unknown to who made a file, and no secret worth the start of a cryptographic library.
        multiplier = (ulong)Random.Shared.NextInt64(long.MinValue, long.MaxValue) | 1;
    }

    /// <summary>Adds a pair; one that is there already is replaced.</summary>
    public void Add(int left, int right, int rank, int result)
    {
        int slot = Slot(Key(left, right));
        keys[slot] = Key(left, right);
        values[slot] = (rank, result);
    }

    /// <summary>The rank of a pair, or <see cref="NoRank"/>; and the token that it becomes.</summary>
    public int Find(int left, int right, out int result)
    {
        int slot = Slot(Key(left, right));
        if (keys[slot] == Empty)
        {
            result = -1;
            return NoRank;
        }

        (int rank, result) = values[slot];
        return rank;
    }

    private static ulong Key(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;

    private int Slot(ulong key)
    {
        // Two rounds: one multiplication alone spreads consecutive ids too regularly over the top bits.
        ulong hash = key * multiplier;
        hash = (hash ^ (hash >> 32)) * multiplier;
        int slot = (int)(hash >> shift);
        while (keys[slot] != key && keys[slot] != Empty)
        {
            slot = (slot + 1) & (keys.Length - 1);
        }

        return slot;
    }
}
