using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels;

/// <summary>Works off the items of an attention.</summary>
internal readonly unsafe struct AttentionWork<T> : IParallelWork
    where T : unmanaged, ILanes<T>
{
    private const int TileRows = AttentionTiles.TileRows;
    private const int TilesPerSegment = AttentionTiles.SegmentRows / TileRows;

    private readonly AttentionProblem problem;
    private readonly ComputeTeam team;
    private readonly int keySize;
    private readonly int valueSize;
    private readonly int stateFloats;
    private readonly bool shared;
    private readonly delegate*<byte*, int, float*, void> readKey;
    private readonly delegate*<byte*, int, float*, void> readValue;

    public AttentionWork(in AttentionProblem problem, ComputeTeam team)
    {
        this.problem = problem;
        this.team = team;
        keySize = (problem.Shape.KeySize + 15) & ~15;
        stateFloats = AttentionTiles.StateFloats(problem.Shape.ValueSize);
        shared = problem.ValuesAreKeys;
        valueSize = shared ? keySize : (problem.Shape.ValueSize + 15) & ~15;
        readKey = Reader(problem.Keys.Format);
        readValue = Reader(problem.Values.Format);
    }

    public void Execute(int chunk, int worker)
    {
        ref readonly AttentionItem item = ref problem.Items[chunk];
        ref readonly AttentionSlice slice = ref problem.Slices[item.Slice];
        int count = item.Rows * item.Heads;
        long floats = ((long)count * (keySize + TileRows + (2 * stateFloats))) + ((long)TileRows * (keySize + valueSize));
        float* queries = (float*)team.Scratch(worker, floats * sizeof(float));
        float* scores = queries + (count * keySize);
        float* states = scores + (count * TileRows);
        float* totals = states + (count * stateFloats);
        float* keys = totals + (count * stateFloats);
        float* values = shared ? keys : keys + (TileRows * keySize);
        ReadQueries(item, slice, queries);
        for (int q = 0; q < count; q++)
        {
            AttentionTiles<T>.Clear(totals + (q * stateFloats), stateFloats);
        }

        int end = slice.Visible is null ? slice.FirstRow + item.Row + item.Rows : slice.FirstRow + slice.Rows;
        int firstTile = FirstVisible(item, slice) / TileRows;
        for (int segment = Math.Max(item.Segment, firstTile / TilesPerSegment); segment < item.SegmentEnd; segment++)
        {
            for (int q = 0; q < count; q++)
            {
                AttentionTiles<T>.Clear(states + (q * stateFloats), stateFloats);
            }

            for (int tile = Math.Max(firstTile, segment * TilesPerSegment); tile < (segment + 1) * TilesPerSegment && tile * TileRows < end; tile++)
            {
                int start = tile * TileRows;
                int rows = Math.Min(TileRows, end - start);
                ReadRows(problem.Keys, readKey, problem.Shape.KeySize, keySize, item, slice, start, rows, end, keys);
                if (!shared)
                {
                    ReadRows(problem.Values, readValue, problem.Shape.ValueSize, valueSize, item, slice, start, rows, end, values);
                }

                AttentionTiles<T>.Score(queries, count, keys, keySize, (rows + 3) & ~3, keySize, problem.Shape.Scale, scores);
                for (int q = 0; q < count; q++)
                {
                    float* row = scores + (q * TileRows);
                    if (problem.Shape.SoftCap > 0)
                    {
                        SoftCap(row);
                    }

                    Hide(slice, item.Row + (q / item.Heads), start, row);
                    AttentionTiles<T>.Weigh(row, states + (q * stateFloats), stateFloats - 16);
                }

                AddValues(scores, values, rows, states, count);
            }

            for (int q = 0; q < count; q++)
            {
                AttentionTiles<T>.Merge(totals + (q * stateFloats), states + (q * stateFloats), stateFloats);
            }
        }

        if (item.Partial >= 0)
        {
            // An item of one segment: the state itself, for the merge to do what is done above.
            new Span<float>(totals, count * stateFloats).CopyTo(new Span<float>(problem.Partials + item.Partial, count * stateFloats));
            return;
        }

        for (int q = 0; q < count; q++)
        {
            float* sink = problem.Sinks is null ? null : problem.Sinks + item.Head + (q % item.Heads);
            AttentionTiles<T>.Finish(totals + (q * stateFloats), sink, problem.Output(item, q), problem.Shape.ValueSize);
        }
    }

    private static delegate*<byte*, int, float*, void> Reader(TensorFormat format) => format switch
    {
        TensorFormat.F32 => &PlainDecoders<T>.F32,
        TensorFormat.F16 => &PlainDecoders<T>.F16,
        _ => &PlainDecoders<T>.BF16,
    };

    private void AddValues(float* weights, float* values, int rows, float* states, int count) =>
        AttentionTiles<T>.AddValues(weights, values, rows, valueSize, stateFloats - 16, states, stateFloats, count);

    private void ReadQueries(in AttentionItem item, in AttentionSlice slice, float* queries)
    {
        for (int row = 0; row < item.Rows; row++)
        {
            for (int head = 0; head < item.Heads; head++)
            {
                float* source = slice.Queries + ((long)(item.Row + row) * slice.QueryStride) + ((long)(item.Head + head) * problem.Shape.KeySize);
                PlainDecoders<T>.F32((byte*)source, problem.Shape.KeySize, queries);
                queries += keySize;
            }
        }
    }

    /// <summary>Converts the rows of a tile; rows up to the next multiple of four become zeros.</summary>
    private void ReadRows(
        in PagedRows pool, delegate*<byte*, int, float*, void> reader, int size, int paddedSize, in AttentionItem item, in AttentionSlice slice, int start, int rows, int end, float* destination)
    {
        int head = item.Head / (problem.Shape.QueryHeads / problem.Shape.KeyValueHeads);
        (int block, int inBlock) = Math.DivRem(start, problem.BlockSize);
        long step = pool.RowStride * pool.Format.BlockBytes();
        byte* source = pool.Row(slice.Blocks[block], head, inBlock);
        int last = (end - 1) / problem.BlockSize;
        for (int row = 0; row < rows; row++)
        {
            if (inBlock == problem.BlockSize)
            {
                inBlock = 0;
                source = pool.Row(slice.Blocks[++block], head, 0);
            }

            // The processor follows the rows of a block by itself, but cannot know where the next block lies.
            if (inBlock == 0 && block < last && Sse.IsSupported)
            {
                byte* next = pool.Row(slice.Blocks[block + 1], head, 0);
                Sse.Prefetch0(next);
                Sse.Prefetch0(next + 64);
                Sse.Prefetch0(next + 128);
                Sse.Prefetch0(next + 192);
            }

            reader(source, size, destination);
            destination += paddedSize;
            source += step;
            inBlock++;
        }

        new Span<float>(destination, (-rows & 3) * paddedSize).Clear();
    }

    private void SoftCap(float* scores)
    {
        T cap = T.Broadcast(problem.Shape.SoftCap);
        for (int i = 0; i < TileRows; i += 16)
        {
            (LaneMath<T>.Tanh(T.Load(scores + i) / cap) * cap).Store(scores + i);
        }
    }

    /// <summary>The first cache row that any query of the item may see.</summary>
    private int FirstVisible(in AttentionItem item, in AttentionSlice slice)
    {
        if (problem.Shape.Window == 0)
        {
            return 0;
        }

        int least = int.MaxValue;
        for (int row = item.Row; row < item.Row + item.Rows; row++)
        {
            least = Math.Min(least, slice.Position(row));
        }

        return Math.Clamp(least - problem.Shape.Window + 1, 0, slice.FirstRow);
    }

    /// <summary>Overwrites the scores of what a query does not see.</summary>
    private void Hide(in AttentionSlice slice, int row, int start, float* scores)
    {
        int position = slice.Position(row);
        long first = problem.Shape.Window == 0 ? 0 : (long)position - problem.Shape.Window + 1;
        if (slice.Visible is null && slice.Positions is null)
        {
            // Rows [first, position] are visible.
            int low = (int)Math.Clamp(first - start, 0, TileRows);
            int high = (int)Math.Clamp((long)position + 1 - start, 0, TileRows);
            new Span<float>(scores, low).Fill(float.NegativeInfinity);
            new Span<float>(scores + high, TileRows - high).Fill(float.NegativeInfinity);
            return;
        }

        for (int i = 0; i < TileRows; i++)
        {
            int own = start + i - slice.FirstRow;
            bool visible = own < 0
                ? start + i >= first
                : own < slice.Rows && (slice.Visible is null ? own <= row : slice.Visible[((long)row * slice.Rows) + own]) && slice.Position(own) >= first;
            if (!visible)
            {
                scores[i] = float.NegativeInfinity;
            }
        }
    }
}
