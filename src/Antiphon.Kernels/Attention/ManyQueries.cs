namespace Antiphon.Kernels;

/// <summary>An item of many queries: they are transposed once, so that <see cref="QueryLanes{T}"/> can take sixteen at a time, and share every tile of the cache.</summary>
internal readonly unsafe struct ManyQueries<T>
    where T : unmanaged, ILanes<T>
{
    private const int TileRows = AttentionTiles.TileRows;
    private const int TilesPerSegment = AttentionTiles.SegmentRows / TileRows;

    private readonly AttentionProblem problem;
    private readonly TileReader<T> keyReader;
    private readonly TileReader<T> valueReader;
    private readonly bool shared;
    private readonly int keySize;
    private readonly int valueSize;

    public ManyQueries(in AttentionProblem problem, in TileReader<T> keyReader, in TileReader<T> valueReader)
    {
        this.problem = problem;
        this.keyReader = keyReader;
        this.valueReader = valueReader;
        shared = problem.ValuesAreKeys;
        keySize = keyReader.PaddedSize;
        valueSize = valueReader.PaddedSize;
    }

    /// <summary>Floats of a lane: query, outputs of all segments and of this one, a tile of scores, and what <see cref="Group"/> has besides.</summary>
    private int LaneFloats => keySize + (2 * valueSize) + TileRows + 7;

    public void Execute(in AttentionItem item, ComputeTeam team, int worker)
    {
        ref readonly AttentionSlice slice = ref problem.Slices[item.Slice];
        int count = item.Rows * item.Heads;
        int lanes = (count + 15) & ~15;
        int stateFloats = AttentionTiles.StateFloats(problem.Shape.ValueSize);
        int tileFloats = TileRows * (keySize + (shared ? 0 : valueSize));
        long floats = ((long)lanes * LaneFloats) + tileFloats + QueryLanes<T>.TemporaryFloats + (4 * stateFloats);
        float* scratch = (float*)team.Scratch(worker, floats * sizeof(float));
        float* keys = scratch;
        float* values = shared ? keys : keys + (TileRows * keySize);
        float* temporary = keys + tileFloats;
        float* states = temporary + QueryLanes<T>.TemporaryFloats;
        float* groups = states + (4 * stateFloats);
        for (int lane = 0; lane < lanes; lane += QueryLanes<T>.Width(lanes - lane))
        {
            Prepare(item, slice, GroupAt(groups, lane, lanes), lane);
        }

        int head = item.Head / (problem.Shape.QueryHeads / problem.Shape.KeyValueHeads);
        int end = slice.Visible is null ? slice.FirstRow + item.Row + item.Rows : slice.FirstRow + slice.Rows;
        int firstTile = slice.FirstVisible(item.Row, item.Rows, problem.Shape.Window) / TileRows;
        for (int segment = Math.Max(item.Segment, firstTile / TilesPerSegment); segment < item.SegmentEnd; segment++)
        {
            for (int lane = 0; lane < lanes; lane += QueryLanes<T>.Width(lanes - lane))
            {
                GroupAt(groups, lane, lanes).ClearSegment();
            }

            for (int tile = Math.Max(firstTile, segment * TilesPerSegment); tile < (segment + 1) * TilesPerSegment && tile * TileRows < end; tile++)
            {
                int start = tile * TileRows;
                int rows = Math.Min(TileRows, end - start);
                keyReader.Read(slice.Blocks, head, start, rows, end, keys);
                for (int lane = 0; lane < lanes; lane += QueryLanes<T>.Width(lanes - lane))
                {
                    Group group = GroupAt(groups, lane, lanes);
                    if (Sees(slice, group, start))
                    {
                        QueryLanes<T>.Score(
                            group.Queries, group.Width, keys, (rows + TileReader<T>.RowStep - 1) & -TileReader<T>.RowStep, keySize, problem.Shape.Scale, group.Scores, temporary);
                        if (problem.Shape.SoftCap > 0)
                        {
                            AttentionTiles<T>.SoftCap(group.Scores, TileRows * group.Width, problem.Shape.SoftCap);
                        }


                        Hide(item, slice, group, lane, start);
                        QueryLanes<T>.Weigh(group.Scores, group.Width, group.SegmentGreatest, group.SegmentSums, group.Factors, temporary);
                    }
                }

                if (!shared)
                {
                    valueReader.Read(slice.Blocks, head, start, rows, end, values);
                }

                for (int lane = 0; lane < lanes; lane += QueryLanes<T>.Width(lanes - lane))
                {
                    Group group = GroupAt(groups, lane, lanes);
                    if (Sees(slice, group, start))
                    {
                        QueryLanes<T>.AddValues(group.Scores, group.Width, group.Factors, values, rows, shared ? keySize : valueSize, valueSize, group.SegmentOutputs);
                    }
                }
            }

            for (int lane = 0; lane < lanes; lane += QueryLanes<T>.Width(lanes - lane))
            {
                Group group = GroupAt(groups, lane, lanes);
                QueryLanes<T>.Merge(
                    group.Width, valueSize, group.Greatest, group.Sums, group.Outputs, group.SegmentGreatest, group.SegmentSums, group.SegmentOutputs);
            }
        }

        for (int lane = 0; lane < lanes; lane += QueryLanes<T>.Width(lanes - lane))
        {
            Finish(item, GroupAt(groups, lane, lanes), lane, states, stateFloats);
        }
    }

    /// <summary>The group that begins with a lane.</summary>
    private Group GroupAt(float* groups, int lane, int lanes) =>
        new(groups + ((long)lane * LaneFloats), QueryLanes<T>.Width(lanes - lane), keySize, valueSize);

    /// <summary>Reads a group's queries and says which rows they see. Lanes without a query compute with zeros, and see what the last query sees.</summary>
    private void Prepare(in AttentionItem item, in AttentionSlice slice, in Group group, int lane)
    {
        int count = Math.Min(group.Width, (item.Rows * item.Heads) - lane);
        new Span<float>(group.Queries, group.Width * keySize).Clear();
        new Span<float>(group.Outputs, group.Width * valueSize).Clear();
        new Span<float>(group.Sums, group.Width).Clear();
        new Span<float>(group.Greatest, group.Width).Fill(float.NegativeInfinity);
        float** four = stackalloc float*[4];
        for (int q = 0; q < group.Width; q += 4)
        {
            for (int i = 0; i < 4; i++)
            {
                int query = lane + Math.Min(q + i, count - 1);
                int row = item.Row + (query / item.Heads);
                group.First[q + i] = slice.FirstPosition(row, problem.Shape.Window);
                group.Last[q + i] = slice.IsPlain ? slice.Position(row) : int.MaxValue;
                four[i] = slice.Queries + ((long)row * slice.QueryStride) + ((long)(item.Head + (query % item.Heads)) * problem.Shape.KeySize);
            }

            QueryColumns.FromRows(four, problem.Shape.KeySize, group.Queries + q, group.Width);
        }
    }

    /// <summary>Whether any query of the group sees anything of a tile, or a rule would have to be asked row by row.</summary>
    private bool Sees(in AttentionSlice slice, in Group group, int start)
    {
        if (!slice.IsPlain && start + TileRows > slice.FirstRow)
        {
            return true;
        }

        // Queries are in the order of their rows; positions that are given may fall.
        return start <= group.Last[group.Width - 1] && (start + TileRows > group.First[0] || !slice.IsPlain);
    }

    /// <summary>Overwrites the scores of what a query does not see.</summary>
    private void Hide(in AttentionItem item, in AttentionSlice slice, in Group group, int lane, int start)
    {
        if (!slice.IsPlain && start + TileRows > slice.FirstRow)
        {
            for (int q = 0; q < group.Width; q++)
            {
                int row = item.Row + Math.Min((lane + q) / item.Heads, item.Rows - 1);
                for (int i = 0; i < TileRows; i++)
                {
                    if (!slice.Sees(row, start + i, problem.Shape.Window))
                    {
                        group.Scores[(i * group.Width) + q] = float.NegativeInfinity;
                    }
                }
            }

            return;
        }

        if (slice.IsPlain ? start >= group.First[group.Width - 1] && start + TileRows - 1 <= group.Last[0] : problem.Shape.Window == 0)
        {
            return;
        }

        float* limits = stackalloc float[32];
        for (int column = 0; column < group.Width; column += 16)
        {
            for (int i = 0; i < 16; i++)
            {
                limits[i] = Math.Clamp(group.First[column + i] - start, 0, TileRows);
                limits[i + 16] = Math.Clamp((long)group.Last[column + i] - start, -1, TileRows);
            }

            T first = T.Load(limits);
            T last = T.Load(limits + 16);
            T hidden = T.Broadcast(float.NegativeInfinity);
            for (int k = 0; k < TileRows; k++)
            {
                float* scores = group.Scores + (k * group.Width) + column;
                T row = T.Broadcast(k);
                T.IfLess(row, first, hidden, T.IfLess(last, row, hidden, T.Load(scores))).Store(scores);
            }
        }
    }

    /// <summary>Transposes outputs back, four queries at a time, and finishes them or leaves them for the merge.</summary>
    private void Finish(in AttentionItem item, in Group group, int lane, float* states, int stateFloats)
    {
        int count = Math.Min(group.Width, (item.Rows * item.Heads) - lane);
        for (int q = 0; q < count; q += 4)
        {
            QueryColumns.ToRows(group.Outputs + q, group.Width, valueSize, states + 16, stateFloats);
            for (int i = 0; i < Math.Min(4, count - q); i++)
            {
                float* state = states + (i * stateFloats);
                state[0] = group.Greatest[q + i];
                state[1] = group.Sums[q + i];
                AttentionTiles<T>.Finish(problem, item, lane + q + i, state, stateFloats);
            }
        }
    }

    /// <summary>Some queries that lie in lanes.</summary>
    private readonly struct Group
    {
        private readonly int valueSize;

        public Group(float* start, int width, int keySize, int valueSize)
        {
            this.valueSize = valueSize;
            Width = width;
            Queries = start;
            Outputs = Queries + (width * keySize);
            SegmentOutputs = Outputs + (width * valueSize);
            Scores = SegmentOutputs + (width * valueSize);
        }

        public int Width { get; }

        /// <summary>[key size, width].</summary>
        public float* Queries { get; }

        /// <summary>Of all segments, [value size, width].</summary>
        public float* Outputs { get; }

        /// <summary>Of the segment in work, [value size, width].</summary>
        public float* SegmentOutputs { get; }

        /// <summary>[32, width].</summary>
        public float* Scores { get; }

        /// <summary>Greatest score of each query.</summary>
        public float* Greatest => Scores + (Width * TileRows);

        public float* Sums => Greatest + Width;

        public float* SegmentGreatest => Greatest + (2 * Width);

        public float* SegmentSums => Greatest + (3 * Width);

        public float* Factors => Greatest + (4 * Width);

        /// <summary>The first cache row that each query sees.</summary>
        public int* First => (int*)(Greatest + (5 * Width));

        /// <summary>The last cache row that each query sees, where that is all it takes to know.</summary>
        public int* Last => (int*)(Greatest + (6 * Width));

        public void ClearSegment()
        {
            new Span<float>(SegmentOutputs, Width * valueSize).Clear();
            new Span<float>(SegmentSums, Width).Clear();
            new Span<float>(SegmentGreatest, Width).Fill(float.NegativeInfinity);
        }
    }
}
