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

    public FewQueries(in AttentionProblem problem, in TileReader<T> keyReader, in TileReader<T> valueReader)
    {
        this.problem = problem;
        this.keyReader = keyReader;
        this.valueReader = valueReader;
        shared = problem.ValuesAreKeys;
        keySize = keyReader.PaddedSize;
        valueSize = shared ? keySize : valueReader.PaddedSize;
        stateFloats = AttentionTiles.StateFloats(problem.Shape.ValueSize);
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
        float* keys = totals + (count * stateFloats);
        float* values = shared ? keys : keys + (TileRows * keySize);
        ReadQueries(item, slice, queries);
        for (int q = 0; q < count; q++)
        {
            AttentionTiles<T>.Clear(totals + (q * stateFloats), stateFloats);
        }

        int end = slice.Visible is null ? slice.FirstRow + item.Row + item.Rows : slice.FirstRow + slice.Rows;
        int head = item.Head / (problem.Shape.QueryHeads / problem.Shape.KeyValueHeads);
        int firstTile = slice.FirstVisible(item.Row, item.Rows, problem.Shape.Window) / TileRows;
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
                keyReader.Read(slice.Blocks, head, start, rows, end, keys);
                if (!shared)
                {
                    valueReader.Read(slice.Blocks, head, start, rows, end, values);
                }

                AttentionTiles<T>.Score(queries, count, keys, keySize, (rows + 3) & ~3, keySize, problem.Shape.Scale, scores);
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

    private void AddValues(float* weights, float* values, int rows, float* states, int count) =>
        AttentionTiles<T>.AddValues(weights, values, rows, valueSize, stateFloats - 16, states, stateFloats, count);

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
            new Span<float>(scores, low).Fill(float.NegativeInfinity);
            new Span<float>(scores + high, TileRows - high).Fill(float.NegativeInfinity);
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
