namespace Antiphon.Kernels;

/// <summary>An item of few queries, as in a decode step: what it costs is reading the cache, once for all of them.</summary>
internal readonly unsafe struct FewQueries<T>
    where T : unmanaged, ILanes<T>
{
    private const int TileRows = AttentionTiles.TileRows;
    private const int TilesPerSegment = AttentionTiles.SegmentRows / TileRows;

    private readonly AttentionProblem problem;
    private readonly TileReader<T> keyReader;
    private readonly TileReader<T> valueReader;
    private readonly int keySize;
    private readonly int valueSize;
    private readonly int stateFloats;
    private readonly bool shared;
    private readonly delegate*<float*, int, byte**, int, byte**, int, float, float*, void> score;
    private readonly delegate*<float*, int, byte**, int, byte**, int, float*, int, void> addValues;

    public FewQueries(in AttentionProblem problem, in TileReader<T> keyReader, in TileReader<T> valueReader)
    {
        this.problem = problem;
        this.keyReader = keyReader;
        this.valueReader = valueReader;
        shared = problem.ValuesAreKeys;
        keySize = keyReader.PaddedSize;
        valueSize = shared ? keySize : valueReader.PaddedSize;
        stateFloats = AttentionTiles.StateFloats(problem.Shape.ValueSize);
        score = keyReader.LocatedFormat switch
        {
            TensorFormat.F32 => &CachedRows<T, F32Values<T>>.Score,
            TensorFormat.F16 => &CachedRows<T, F16Values<T>>.Score,
            _ => &CachedRows<T, BF16Values<T>>.Score,
        };
        addValues = (shared ? keyReader : valueReader).LocatedFormat switch
        {
            TensorFormat.F32 => &CachedRows<T, F32Values<T>>.AddValues,
            TensorFormat.F16 => &CachedRows<T, F16Values<T>>.AddValues,
            _ => &CachedRows<T, BF16Values<T>>.AddValues,
        };
    }

    public void Execute(in AttentionItem item, ComputeTeam team, int worker)
    {
        ref readonly AttentionSlice slice = ref problem.Slices[item.Slice];
        int count = item.Rows * item.Heads;
        long floats = ((long)count * (keySize + TileRows + (2 * stateFloats))) + ((long)TileRows * (keySize + valueSize));
        float* queries = (float*)team.Scratch(worker, floats * sizeof(float));
        float* scores = queries + (count * keySize);
        float* states = scores + (count * TileRows);
        float* totals = states + (count * stateFloats);
        float* keyRoom = totals + (count * stateFloats);
        float* valueRoom = keyRoom + (TileRows * keySize);

        // Where the rows of a tile are, of every second one in the same half: keys, then values.
        byte** located = stackalloc byte*[4 * TileRows];
        int toValues = shared ? 0 : TileRows;
        ReadQueries(item, slice, queries);
        for (int q = 0; q < count; q++)
        {
            AttentionTiles<T>.Clear(totals + (q * stateFloats), stateFloats);
        }

        int end = slice.Visible is null ? slice.FirstRow + item.Row + item.Rows : slice.FirstRow + slice.Rows;
        int head = item.Head / (problem.Shape.QueryHeads / problem.Shape.KeyValueHeads);
        int firstTile = slice.FirstVisible(item.Row, item.Rows, problem.Shape.Window) / TileRows;
        Locate(slice, head, Math.Max(firstTile, item.Segment * TilesPerSegment), end, keyRoom, valueRoom, located);
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
                byte** keys = Half(located, tile);
                byte** next = Half(located, tile + 1);
                keyReader.Fill(slice.Blocks, head, start, rows, end, keyRoom);
                if (!shared)
                {
                    valueReader.Fill(slice.Blocks, head, start, rows, end, valueRoom);
                }

                Locate(slice, head, tile + 1, end, keyRoom, valueRoom, located);
                score(queries, count, keys, (rows + 3) & ~3, next, keySize, problem.Shape.Scale, scores);
                for (int q = 0; q < count; q++)
                {
                    float* row = scores + (q * TileRows);
                    if (problem.Shape.SoftCap > 0)
                    {
                        AttentionTiles<T>.SoftCap(row, TileRows, problem.Shape.SoftCap);
                    }

                    Hide(slice, item.Row + (q / item.Heads), start, row);
                    AttentionTiles<T>.Weigh(row, states + (q * stateFloats), stateFloats - 16);
                }

                addValues(scores, count, keys + toValues, rows, next + toValues, stateFloats - 16, states, stateFloats);
            }

            for (int q = 0; q < count; q++)
            {
                AttentionTiles<T>.Merge(totals + (q * stateFloats), states + (q * stateFloats), stateFloats);
            }
        }

        for (int q = 0; q < count; q++)
        {
            AttentionTiles<T>.Finish(problem, item, q, totals + (q * stateFloats), stateFloats);
        }
    }

    private static byte** Half(byte** located, int tile) => located + ((tile & 1) * 2 * TileRows);

    private void Locate(in AttentionSlice slice, int head, int tile, int end, float* keyRoom, float* valueRoom, byte** located)
    {
        byte** rows = Half(located, tile);
        keyReader.Locate(slice.Blocks, head, tile * TileRows, end, keyRoom, rows);
        if (!shared)
        {
            valueReader.Locate(slice.Blocks, head, tile * TileRows, end, valueRoom, rows + TileRows);
        }
    }

    private void ReadQueries(in AttentionItem item, in AttentionSlice slice, float* queries)
    {
        for (int row = 0; row < item.Rows; row++)
        {
            for (int head = 0; head < item.Heads; head++)
            {
                float* source = slice.Queries + ((long)(item.Row + row) * slice.QueryStride) + ((long)(item.Head + head) * problem.Shape.KeySize);
                PlainRows<T, F32Values<T>>.Decode((byte*)source, problem.Shape.KeySize, queries, 16);
                queries += keySize;
            }
        }
    }

    /// <summary>Overwrites the scores of what a query does not see.</summary>
    private void Hide(in AttentionSlice slice, int row, int start, float* scores)
    {
        if (slice.IsPlain)
        {
            int low = Math.Clamp(slice.FirstPosition(row, problem.Shape.Window) - start, 0, TileRows);
            int high = (int)Math.Clamp((long)slice.Position(row) + 1 - start, 0, TileRows);
            if (low > 0)
            {
                new Span<float>(scores, low).Fill(float.NegativeInfinity);
            }

            if (high < TileRows)
            {
                new Span<float>(scores + high, TileRows - high).Fill(float.NegativeInfinity);
            }

            return;
        }

        for (int i = 0; i < TileRows; i++)
        {
            if (!slice.Sees(row, start + i, problem.Shape.Window))
            {
                scores[i] = float.NegativeInfinity;
            }
        }
    }
}
