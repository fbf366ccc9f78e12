using System.Buffers;

namespace Antiphon.Text;

/// <summary>Byte-pair merging: the pair of lowest rank first, of several the leftmost, until none is left.</summary>
internal static class Merger
{
    // Up to this length, looking at all pairs for each merge is faster than a heap.
    private const int ScanLimit = 40;

    /// <summary>Merges symbols in place; returns how many are left at the front.</summary>
    public static int Merge(MergeTable merges, Span<int> symbols) =>
        symbols.Length <= ScanLimit ? MergeByScan(merges, symbols) : MergeByHeap(merges, symbols);

    private static int MergeByScan(MergeTable merges, Span<int> symbols)
    {
        Span<int> ranks = stackalloc int[ScanLimit];
        Span<int> results = stackalloc int[ScanLimit];
        int count = symbols.Length;
        for (int i = 0; i + 1 < count; i++)
        {
            ranks[i] = merges.Find(symbols[i], symbols[i + 1], out results[i]);
        }

        while (count > 1)
        {
            int best = 0;
            for (int i = 1; i + 1 < count; i++)
            {
                if (ranks[i] < ranks[best])
                {
                    best = i;
                }
            }

            if (ranks[best] == MergeTable.NoRank)
            {
                break;
            }

            symbols[best] = results[best];
            symbols[(best + 2)..count].CopyTo(symbols[(best + 1)..]);
            if (best + 2 < count)
            {
                ranks[(best + 2)..(count - 1)].CopyTo(ranks[(best + 1)..]);
                results[(best + 2)..(count - 1)].CopyTo(results[(best + 1)..]);
            }

            count--;
            if (best > 0)
            {
                ranks[best - 1] = merges.Find(symbols[best - 1], symbols[best], out results[best - 1]);
            }

            if (best + 1 < count)
            {
                ranks[best] = merges.Find(symbols[best], symbols[best + 1], out results[best]);
            }
        }

        return count;
    }

    // A linked list of symbols and a heap of pairs by rank, then place: n log n. A pair in the heap that has changed since is passed over.
    private static int MergeByHeap(MergeTable merges, Span<int> symbols)
    {
        int count = symbols.Length;
        int[] buffer = ArrayPool<int>.Shared.Rent(checked(count * 4));
        Span<int> next = buffer.AsSpan(0, count);
        Span<int> previous = buffer.AsSpan(count, count);
        Span<int> ranks = buffer.AsSpan(count * 2, count);
        Span<int> results = buffer.AsSpan(count * 3, count);
        var heap = new Heap(count);
        for (int i = 0; i < count; i++)
        {
            next[i] = i + 1;
            previous[i] = i - 1;
        }

        for (int i = 0; i < count; i++)
        {
            Rate(i, symbols, next, ranks, results, merges, ref heap);
        }

        while (heap.TryPop(out int rank, out int place))
        {
            if (ranks[place] != rank)
            {
                continue;
            }

            int gone = next[place];
            symbols[place] = results[place];
            next[place] = next[gone];
            ranks[gone] = MergeTable.NoRank;
            if (next[place] < count)
            {
                previous[next[place]] = place;
            }

            Rate(place, symbols, next, ranks, results, merges, ref heap);
            if (previous[place] >= 0)
            {
                Rate(previous[place], symbols, next, ranks, results, merges, ref heap);
            }
        }

        int left = 0;
        for (int i = 0; i < count; i = next[i])
        {
            symbols[left++] = symbols[i];
        }

        heap.Dispose();
        ArrayPool<int>.Shared.Return(buffer);
        return left;
    }

    private static void Rate(int place, Span<int> symbols, Span<int> next, Span<int> ranks, Span<int> results, MergeTable merges, ref Heap heap)
    {
        ranks[place] = next[place] < symbols.Length ? merges.Find(symbols[place], symbols[next[place]], out results[place]) : MergeTable.NoRank;
        if (ranks[place] != MergeTable.NoRank)
        {
            heap.Push(ranks[place], place);
        }
    }

    // A binary heap of rank and place in one number.
    private struct Heap(int capacity)
    {
        private ulong[] items = ArrayPool<ulong>.Shared.Rent(capacity);
        private int count;

        public readonly void Dispose() => ArrayPool<ulong>.Shared.Return(items);

        public void Push(int rank, int place)
        {
            if (count == items.Length)
            {
                ulong[] larger = ArrayPool<ulong>.Shared.Rent(checked(count * 2));
                items.AsSpan(0, count).CopyTo(larger);
                ArrayPool<ulong>.Shared.Return(items);
                items = larger;
            }

            ulong item = ((ulong)(uint)rank << 32) | (uint)place;
            int at = count++;
            while (at > 0 && items[(at - 1) / 2] > item)
            {
                items[at] = items[(at - 1) / 2];
                at = (at - 1) / 2;
            }

            items[at] = item;
        }

        public bool TryPop(out int rank, out int place)
        {
            if (count == 0)
            {
                (rank, place) = (0, 0);
                return false;
            }

            (rank, place) = ((int)(items[0] >> 32), (int)(uint)items[0]);
            ulong item = items[--count];
            int at = 0;
            while (true)
            {
                int child = (at * 2) + 1;
                if (child >= count)
                {
                    break;
                }

                if (child + 1 < count && items[child + 1] < items[child])
                {
                    child++;
                }

                if (items[child] >= item)
                {
                    break;
                }

                items[at] = items[child];
                at = child;
            }

            items[at] = item;
            return true;
        }
    }
}
