using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels.Integers;

/// <summary>
/// An item of many queries over a cache of integers: sixteen queries in the lanes of a vector, the products by generated code, and the softmax between for
/// sixteen queries at once. A segment of keys and values is brought into order once and then used by all queries.
/// </summary>
internal readonly unsafe struct ManyIntegers<T>
    where T : unmanaged, ILanes<T>
{
    private const int BlockKeys = IntegerArithmetic.BlockKeys;
    private const int SegmentBlocks = IntegerArithmetic.SegmentBlocks;
    private const int Eights = BlockKeys / IntegerKernels.TileRows;
    private const int MostWidth = 16 * IntegerKernels.MostVectors;

    private readonly AttentionProblem problem;
    private readonly IntegerKernels kernels;
    private readonly IntegerRows keyRows;
    private readonly IntegerRows valueRows;
    private readonly int keySize;
    private readonly int valueSize;
    private readonly bool keysLieRight;

    public ManyIntegers(in AttentionProblem problem, IntegerKernels kernels)
    {
        this.problem = problem;
        this.kernels = kernels;
        keyRows = new IntegerRows(problem.Keys, problem.BlockSize, problem.Shape.KeySize);
        valueRows = new IntegerRows(problem.Values, problem.BlockSize, problem.Shape.ValueSize);
        keySize = IntegerKernels.PaddedKey(problem.Shape.KeySize);
        valueSize = IntegerKernels.PaddedValue(problem.Shape.ValueSize);

        // Eight keys that follow each other in the cache are multiplied where they lie.
        keysLieRight = problem.Keys.RowStride == keySize && problem.BlockSize % IntegerKernels.TileRows == 0;
    }

    public void Execute(in AttentionItem item, ComputeTeam team, int worker)
    {
        ref readonly AttentionSlice slice = ref problem.Slices[item.Slice];
        int lanes = ((item.Rows * item.Heads) + 15) & ~15;
        Memory memory = new(team, worker, keySize, valueSize, lanes, AttentionTiles.StateFloats(problem.Shape.ValueSize), !keysLieRight);
        for (int lane = 0; lane < lanes; lane += kernels.GroupWidth(lanes - lane))
        {
            Prepare(item, slice, memory, GroupAt(memory, lane, lanes), lane);
        }

        int head = item.Head / (problem.Shape.QueryHeads / problem.Shape.KeyValueHeads);
        int end = slice.Visible is null ? slice.FirstRow + item.Row + item.Rows : slice.FirstRow + slice.Rows;
        int firstBlock = slice.FirstVisible(item.Row, item.Rows, problem.Shape.Window) / BlockKeys;
        int endBlock = (end + BlockKeys - 1) / BlockKeys;
        for (int segment = Math.Max(item.Segment, firstBlock / SegmentBlocks); segment < item.SegmentEnd; segment++)
        {
            int from = Math.Max(firstBlock, segment * SegmentBlocks);
            int to = Math.Min(endBlock, (segment + 1) * SegmentBlocks);
            for (int block = from; block < to; block++)
            {
                Pack(slice, memory, head, block, block - from, end);
            }

            int call = 0;
            for (int lane = 0; lane < lanes; lane += kernels.GroupWidth(lanes - lane))
            {
                Group group = GroupAt(memory, lane, lanes);
                group.Clear(memory.Segment);
                for (int block = from; block < to; block++)
                {
                    if (Sees(slice, group, block * BlockKeys))
                    {
                        byte* ahead = Ahead(slice, head, (segment + 1) * AttentionTiles.SegmentRows, end, call++);
                        Add(item, slice, memory, group, lane, block, block - from, Math.Min(BlockKeys, end - (block * BlockKeys)), ahead);
                    }
                }

                QueryLanes<T>.Merge(
                    group.Width, valueSize, group.Greatest(group.Total), group.Sums(group.Total), group.Outputs(group.Total),
                    group.Greatest(memory.Segment), group.Sums(memory.Segment), group.Outputs(memory.Segment));
            }
        }

        for (int lane = 0; lane < lanes; lane += kernels.GroupWidth(lanes - lane))
        {
            Finish(item, GroupAt(memory, lane, lanes), lane, memory.States);
        }
    }

    /// <summary>What a call of the score kernel should ask for: a piece of the next segment, first its keys, then its values; null if there is nothing left.</summary>
    private byte* Ahead(in AttentionSlice slice, int head, int start, int end, int call)
    {
        int rows = Math.Min(BlockKeys / 2, problem.BlockSize);
        int pieces = AttentionTiles.SegmentRows / rows;
        int row = start + (call % pieces * rows);
        return call >= 2 * pieces || row >= end ? null
            : (call < pieces ? problem.Keys : problem.Values).Row(slice.Blocks[row / problem.BlockSize], head, row % problem.BlockSize);
    }

    /// <summary>Takes a block of keys and values into the states of a group.</summary>
    private void Add(in AttentionItem item, in AttentionSlice slice, in Memory memory, in Group group, int lane, int block, int place, int rows, byte* ahead)
    {
        ScoreArguments scores = new()
        {
            Queries = group.Queries,
            Keys = memory.Places + (place * Eights),
            KeyScales = memory.KeyScales + (place * BlockKeys),
            Scores = memory.Scores,
            Greatest = memory.Greatest,
            Count = (rows + IntegerKernels.TileRows - 1) / IntegerKernels.TileRows,
            Ahead = ahead is null ? (byte*)memory.KeyScales : ahead,
        };
        kernels.Scores(group.Width / 16).Run(&scores);
        bool hidden = Hide(item, slice, group, lane, block * BlockKeys, memory);
        Follow(group, memory);
        ValueArguments values = new()
        {
            Scores = memory.Scores,
            Factors = group.Factors,
            Shifts = group.Greatest(memory.Segment),
            Sums = group.Sums(memory.Segment),
            ValueScales = memory.ValueScales + (place * BlockKeys),
            Scratch = memory.Scratch,
            Values = memory.Values + (place * BlockKeys / 2 * valueSize),
            Outputs = group.Outputs(memory.Segment),
            Count = (rows + IntegerKernels.TileRows - 1) / IntegerKernels.TileRows,
        };
        kernels.Values(group.Width / 16, hidden).Run(&values);
    }

    private Group GroupAt(in Memory memory, int lane, int lanes) => new(memory.Groups + ((long)lane * Memory.LaneFloats(keySize, valueSize)), kernels.GroupWidth(lanes - lane), keySize, valueSize);

    /// <summary>Reads a group's queries and says which rows they see. Lanes without a query are like the last query.</summary>
    private void Prepare(in AttentionItem item, in AttentionSlice slice, in Memory memory, in Group group, int lane)
    {
        int count = Math.Min(group.Width, (item.Rows * item.Heads) - lane);
        int size = problem.Shape.KeySize;
        group.Clear(group.Total);
        float** four = stackalloc float*[4];
        for (int i = 0; i < 4; i++)
        {
            four[i] = (float*)(memory.Rows + (i * keySize));
            new Span<short>(four[i], keySize).Clear();
        }

        for (int q = 0; q < group.Width; q += 4)
        {
            for (int i = 0; i < 4; i++)
            {
                int query = lane + Math.Min(q + i, count - 1);
                int row = item.Row + (query / item.Heads);
                group.First[q + i] = slice.FirstPosition(row, problem.Shape.Window);
                group.Last[q + i] = slice.IsPlain ? slice.Position(row) : int.MaxValue;
                float* source = slice.Queries + ((long)row * slice.QueryStride) + ((long)(item.Head + (query % item.Heads)) * size);
                group.Factors[q + i] = VectorKernels.Default.ToIntegers(source, (short*)four[i], size, IntegerArithmetic.QueryLimit(size)) * problem.Shape.Scale;
            }

            QueryColumns.FromRows(four, keySize / 2, (float*)group.Queries + q, group.Width);
        }
    }

    /// <summary>Brings a block's keys to their places and its values into pairs of rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Pack(in AttentionSlice slice, in Memory memory, int head, int block, int place, int end)
    {
        int start = block * BlockKeys;
        int rows = Math.Min(BlockKeys, end - start);
        short** located = stackalloc short*[BlockKeys];
        keyRows.Scales(slice.Blocks, head, start, rows, memory.KeyScales + (place * BlockKeys));
        valueRows.Scales(slice.Blocks, head, start, rows, memory.ValueScales + (place * BlockKeys));
        keyRows.Locate(slice.Blocks, head, start, rows, BlockKeys, located);
        short* keys = memory.Keys + (place * BlockKeys * keySize);
        for (int eight = 0; eight * IntegerKernels.TileRows < rows; eight++)
        {
            memory.Places[(place * Eights) + eight] = keysLieRight ? located[eight * IntegerKernels.TileRows] : keys + (eight * IntegerKernels.TileRows * keySize);
        }

        if (!keysLieRight)
        {
            keyRows.Copy(located, rows, keys, keySize);
        }

        valueRows.Locate(slice.Blocks, head, start, rows, BlockKeys, located);
        int size = problem.Shape.ValueSize;
        int* values = memory.Values + (place * BlockKeys / 2 * valueSize);
        for (int row = 0; row < rows; row += 2)
        {
            short* first = located[row];
            short* second = located[row + 1];
            int* pairs = values + (row / 2 * IntegerKernels.TileRows);
            int d = 0;
            for (; d + 16 <= size; d += 16)
            {
                Interleave(first + d, second + d, pairs, d);
            }

            if (d < size)
            {
                new ReadOnlySpan<short>(first + d, size - d).CopyTo(new Span<short>(memory.Rows, 16));
                new ReadOnlySpan<short>(second + d, size - d).CopyTo(new Span<short>(memory.Rows + 16, 16));
                Interleave(memory.Rows, memory.Rows + 16, pairs, d);
            }
        }

        static void Interleave(short* first, short* second, int* pairs, int d)
        {
            const int tilePairs = BlockKeys / 2 * IntegerKernels.TileRows;
            Vector256<short> a = Vector256.Load(first);
            Vector256<short> b = Vector256.Load(second);
            Vector256<int> low = Avx2.UnpackLow(a, b).AsInt32();
            Vector256<int> high = Avx2.UnpackHigh(a, b).AsInt32();
            int* tile = pairs + (d / IntegerKernels.TileRows * tilePairs);
            Avx2.Permute2x128(low, high, 0x20).Store(tile);
            Avx2.Permute2x128(low, high, 0x31).Store(tile + tilePairs);
        }
    }

    /// <summary>Whether any query of the group sees anything of a block, or a rule would have to be asked row by row.</summary>
    private static bool Sees(in AttentionSlice slice, in Group group, int start)
    {
        if (!slice.IsPlain)
        {
            return true;
        }

        // Queries are in the order of their rows.
        return start <= group.Last[group.Width - 1] && start + BlockKeys > group.First[0];
    }

    /// <summary>Overwrites the scores of what a query does not see, and finds the greatest of the others.</summary>
    /// <returns>Whether there is anything that is not seen.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private bool Hide(in AttentionItem item, in AttentionSlice slice, in Group group, int lane, int start, in Memory memory)
    {
        bool byRule = !slice.IsPlain && start + BlockKeys > slice.FirstRow;
        if (!byRule && (slice.IsPlain ? start >= group.First[group.Width - 1] && start + BlockKeys - 1 <= group.Last[0] : problem.Shape.Window == 0))
        {
            return false;
        }

        for (int q = 0; byRule && q < group.Width; q++)
        {
            int row = item.Row + Math.Min((lane + q) / item.Heads, item.Rows - 1);
            for (int i = 0; i < BlockKeys; i++)
            {
                if (!slice.Sees(row, start + i, problem.Shape.Window))
                {
                    memory.Scores[(i * group.Width) + q] = float.NegativeInfinity;
                }
            }
        }

        T hidden = T.Broadcast(float.NegativeInfinity);
        float* limits = stackalloc float[32];
        for (int column = 0; column < group.Width; column += 16)
        {
            for (int i = 0; i < 16; i++)
            {
                limits[i] = byRule ? 0 : Math.Clamp(group.First[column + i] - start, 0, BlockKeys);
                limits[i + 16] = byRule ? BlockKeys : Math.Clamp((long)group.Last[column + i] - start, -1, BlockKeys);
            }

            T first = T.Load(limits);
            T last = T.Load(limits + 16);
            T greatest = hidden;
            for (int k = 0; k < BlockKeys; k++)
            {
                float* scores = memory.Scores + (k * group.Width) + column;
                T row = T.Broadcast(k);
                T score = T.IfLess(row, first, hidden, T.IfLess(last, row, hidden, T.Load(scores)));
                score.Store(scores);
                greatest = T.Max(greatest, score);
            }

            greatest.Store(memory.Greatest + column);
        }

        return true;
    }

    /// <summary>Shifts follow where a block's greatest scores are too far above them, and sums shrink accordingly.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Follow(in Group group, in Memory memory)
    {
        nint width = group.Width;
        float* outputs = group.Outputs(memory.Segment);
        for (nint lane = 0; lane < width; lane += 16)
        {
            float* shifts = group.Greatest(memory.Segment) + lane;
            float* sums = group.Sums(memory.Segment) + lane;
            T greatest = T.Load(memory.Greatest + lane) * T.Load(group.Factors + lane);
            T shift = T.Load(shifts);
            T limit = shift + T.Broadcast(IntegerArithmetic.Tolerance);
            if (!T.AnyGreater(greatest, limit))
            {
                continue;
            }

            T rest = T.IfLess(limit, greatest, LaneMath<T>.Exp(shift - greatest), T.Broadcast(1));
            T sum = T.Load(sums);
            T.IfLess(limit, greatest, greatest, shift).Store(shifts);
            (sum * rest).Store(sums);

            // Those of a fresh state are zeros.
            for (nint d = lane; T.AnyGreater(sum, T.Zero) && d < group.ValueSize * width; d += width)
            {
                (T.Load(outputs + d) * rest).Store(outputs + d);
            }
        }
    }

    /// <summary>Transposes outputs back, four queries at a time, and finishes them or leaves them for the merge.</summary>
    private void Finish(in AttentionItem item, in Group group, int lane, float* states)
    {
        int stateFloats = AttentionTiles.StateFloats(problem.Shape.ValueSize);
        int count = Math.Min(group.Width, (item.Rows * item.Heads) - lane);
        for (int q = 0; q < count; q += 4)
        {
            QueryColumns.ToRows(group.Outputs(group.Total) + q, group.Width, valueSize, states + 16, stateFloats);
            for (int i = 0; i < Math.Min(4, count - q); i++)
            {
                float* state = states + (i * stateFloats);
                state[0] = group.Greatest(group.Total)[q + i];
                state[1] = group.Sums(group.Total)[q + i];
                AttentionTiles<T>.Finish(problem, item, lane + q + i, state, stateFloats);
            }
        }
    }

    /// <summary>A worker's memory, cut into what an item needs.</summary>
    private readonly struct Memory
    {
        public Memory(ComputeTeam team, int worker, int keySize, int valueSize, int lanes, int stateFloats, bool copyKeys)
        {
            const int keys = SegmentBlocks * BlockKeys;
            long groups = (long)lanes * LaneFloats(keySize, valueSize);
            long keyFloats = copyKeys ? keys * keySize / 2 : 0;
            int places = 2 * ((keys / IntegerKernels.TileRows) + 8); // addresses, with one behind the last
            long rows = 2 * Math.Max(keySize, 16); // four rows of 16-bit values
            long floats = groups + ((2 + valueSize) * MostWidth) + (BlockKeys * MostWidth) + MostWidth + IntegerKernels.ScratchFloats + keyFloats + (keys * valueSize / 2) + (2 * keys) + places
                + (4 * stateFloats) + rows;
            float* next = (float*)team.Scratch(worker, floats * sizeof(float));
            Groups = Take(ref next, groups);
            Segment = Take(ref next, (2 + valueSize) * MostWidth);
            Scores = Take(ref next, BlockKeys * MostWidth);
            Greatest = Take(ref next, MostWidth);
            Scratch = Take(ref next, IntegerKernels.ScratchFloats);
            Keys = (short*)Take(ref next, keyFloats);
            Values = (int*)Take(ref next, keys * valueSize / 2);
            KeyScales = Take(ref next, keys);
            ValueScales = Take(ref next, keys);
            Places = (short**)Take(ref next, places);
            States = Take(ref next, 4 * stateFloats);
            Rows = (short*)next;

            static float* Take(ref float* next, long floats)
            {
                float* own = next;
                next += floats;
                return own;
            }
        }

        /// <summary>Floats that a lane of a group has: a query in pairs, a state over all segments, and what <see cref="Group"/> has besides.</summary>
        public static int LaneFloats(int keySize, int valueSize) => (keySize / 2) + 2 + valueSize + 3;

        public float* Groups { get; }

        /// <summary>The state of the group and segment in work.</summary>
        public float* Segment { get; }

        /// <summary>[64, width]; see <see cref="ValueArguments.Scores"/>.</summary>
        public float* Scores { get; }

        /// <summary>The greatest score of each query in a block.</summary>
        public float* Greatest { get; }

        /// <summary>For the value kernel's own use.</summary>
        public float* Scratch { get; }

        /// <summary>Where each eight of the segment's keys begins.</summary>
        public short** Places { get; }

        /// <summary>The segment's keys, row after row, where they cannot be multiplied where they lie.</summary>
        public short* Keys { get; }

        /// <summary>The segment's values as <see cref="ValueArguments.Values"/> has them, block after block.</summary>
        public int* Values { get; }

        public float* KeyScales { get; }

        public float* ValueScales { get; }

        /// <summary>Four states in rows.</summary>
        public float* States { get; }

        /// <summary>Four rows of integers.</summary>
        public short* Rows { get; }
    }

    /// <summary>Some queries that lie in lanes. A state is the greatest score, the sum of weights, and the weighted sums of values, [value size, width].</summary>
    private readonly struct Group(float* start, int width, int keySize, int valueSize)
    {
        public int Width { get; } = width;

        public int ValueSize { get; } = valueSize;

        /// <summary>Pairs of values, [key size / 2, width].</summary>
        public short* Queries => (short*)start;

        /// <summary>The state over all segments.</summary>
        public float* Total => start + (keySize / 2 * Width);

        /// <summary>What a score is multiplied with.</summary>
        public float* Factors => Total + ((2 + ValueSize) * Width);

        /// <summary>The first cache row that each query sees.</summary>
        public int* First => (int*)Factors + Width;

        /// <summary>The last cache row that each query sees, where that is all it takes to know.</summary>
        public int* Last => (int*)Factors + (2 * Width);

        public float* Greatest(float* state) => state;

        public float* Sums(float* state) => state + Width;

        public float* Outputs(float* state) => state + (2 * Width);

        public void Clear(float* state)
        {
            new Span<float>(state, (2 + ValueSize) * Width).Clear();
            new Span<float>(state, Width).Fill(float.NegativeInfinity);
        }
    }
}
