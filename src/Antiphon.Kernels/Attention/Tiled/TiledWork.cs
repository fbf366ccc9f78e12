using System.Runtime.CompilerServices;
using Antiphon.Kernels.Jit;

namespace Antiphon.Kernels.Tiled;

/// <summary>Works off the items of a tiled attention; or, in a second pass, merges the segments of those that were split.</summary>
internal readonly unsafe struct TiledWork : IParallelWork
{
    private const int Columns = TiledSizes.Columns;
    private const int UnitColumns = 2 * Columns;
    private const int BlockKeys = TiledSizes.BlockKeys;
    private const int TileKeys = 16;

    private readonly AttentionProblem problem;
    private readonly TiledKernels kernels;
    private readonly ComputeTeam team;
    private readonly bool merge;
    private readonly int keySize;
    private readonly int valueSize;
    private readonly int stateBytes;
    private readonly bool keysLieRight;
    private readonly bool valuesLieRight;

    public TiledWork(in AttentionProblem problem, TiledKernels kernels, ComputeTeam team, bool merge)
    {
        this.problem = problem;
        this.kernels = kernels;
        this.team = team;
        this.merge = merge;
        keySize = TiledSizes.Padded(problem.Shape.KeySize);
        valueSize = TiledSizes.Padded(problem.Shape.ValueSize);
        stateBytes = TiledSizes.StateBytes(problem.Shape.ValueSize);

        // Sixteen keys that follow each other in the cache are a tile as they are.
        keysLieRight = problem.Keys.Format == TensorFormat.BF16 && keySize == problem.Shape.KeySize && problem.BlockSize % TileKeys == 0;
        valuesLieRight = problem.Values.Format == TensorFormat.BF16 && valueSize == problem.Shape.ValueSize;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Execute(int chunk, int worker)
    {
        ref readonly AttentionItem item = ref problem.Items[chunk];
        if (merge)
        {
            Merge(chunk, worker);
            return;
        }

        ref readonly AttentionSlice slice = ref problem.Slices[item.Slice];
        Memory memory = Share(item, worker);
        PackQueries(item, slice, memory);
        for (int group = 0; group < memory.Groups; group++)
        {
            Clear((float*)(memory.Totals + ((long)group * stateBytes)));
        }

        int end = slice.Visible is null ? slice.FirstRow + item.Row + item.Rows : slice.FirstRow + slice.Rows;
        int firstBlock = FirstVisible(slice, item.Row, item.Rows) / BlockKeys;
        int endBlock = (end + BlockKeys - 1) / BlockKeys;
        for (int segment = Math.Max(item.Segment, firstBlock / TiledSizes.SegmentBlocks); segment < item.SegmentEnd; segment++)
        {
            int from = Math.Max(firstBlock, segment * TiledSizes.SegmentBlocks);
            int to = Math.Min(endBlock, (segment + 1) * TiledSizes.SegmentBlocks);
            for (int pack = from; pack < to; pack += memory.PackBlocks)
            {
                int packEnd = Math.Min(to, pack + memory.PackBlocks);
                Pack(item, slice, memory, pack, packEnd, end);
                for (int unit = 0; unit * 2 < memory.Groups; unit++)
                {
                    int groups = Math.Min(2, memory.Groups - (2 * unit));
                    if (pack == from)
                    {
                        for (int group = 0; group < groups; group++)
                        {
                            Clear((float*)(memory.States + ((long)group * stateBytes)));
                        }
                    }

                    RunBlocks(item, slice, memory, unit, groups, pack, packEnd, end);
                    if (packEnd == to)
                    {
                        for (int group = 0; group < groups; group++)
                        {
                            Merge((float*)(memory.Totals + (((2L * unit) + group) * stateBytes)), (float*)(memory.States + ((long)group * stateBytes)));
                        }
                    }
                }
            }
        }

        if (item.Partial >= 0)
        {
            long bytes = (long)memory.Groups * stateBytes;
            Buffer.MemoryCopy(memory.Totals, (byte*)problem.Partials + item.Partial, bytes, bytes);
            return;
        }

        for (int group = 0; group < memory.Groups; group++)
        {
            Finish(item, group, (float*)(memory.Totals + ((long)group * stateBytes)), memory);
        }
    }

    /// <summary>A worker's memory, cut into what an item needs.</summary>
    private Memory Share(in AttentionItem item, int worker)
    {
        Memory memory = default;
        memory.Groups = ((item.Rows * item.Heads) + Columns - 1) / Columns;

        // With many queries a segment is packed at once and used again and again; with few, each block while it is in the first-level cache.
        memory.PackBlocks = memory.Groups > 2 ? TiledSizes.SegmentBlocks : 1;
        int packKeys = memory.PackBlocks * BlockKeys;
        long queries = (long)memory.Groups * Columns * keySize * 2;
        long totals = (long)memory.Groups * stateBytes;
        long states = 2L * stateBytes;
        long values = (long)packKeys * valueSize * 2;
        long keyRows = keysLieRight ? 0 : (long)packKeys * keySize * 2;
        long valueRows = valuesLieRight ? 0 : (long)TiledSizes.StepKeys * valueSize * 2;
        long scratch = BlockKernel.ScratchBytes(2);
        long visible = BlockKeys * sizeof(uint);
        long toggles = 64 + (BlockKeys * sizeof(uint));
        long keyTiles = Round(packKeys / TileKeys * sizeof(nint));
        long rows = 3L * TiledSizes.StepKeys * sizeof(nint);
        long factors = 64;
        long spare = Math.Max(4L * Round(problem.Shape.ValueSize), Math.Max(2L * valueSize, 4L * Round(problem.Shape.KeySize)));
        byte* next = team.Scratch(worker, queries + totals + states + values + keyRows + valueRows + scratch + visible + toggles + keyTiles + rows + factors + (2 * spare));
        memory.Queries = Take(ref next, queries);
        memory.Totals = Take(ref next, totals);
        memory.States = Take(ref next, states);
        memory.Values = Take(ref next, values);
        memory.KeyRows = Take(ref next, keyRows);
        memory.ValueRows = Take(ref next, valueRows);
        memory.Scratch = Take(ref next, scratch);
        memory.Visible = (uint*)Take(ref next, visible);
        memory.Toggles = (uint*)Take(ref next, toggles);
        memory.KeyTiles = (byte**)Take(ref next, keyTiles);
        memory.Rows = (byte**)Take(ref next, rows);
        memory.Factors = (float*)Take(ref next, factors);
        memory.Nothing = Take(ref next, spare);
        memory.Bin = Take(ref next, spare);
        new Span<byte>(memory.Nothing, (int)spare).Clear();
        return memory;

        static byte* Take(ref byte* next, long bytes)
        {
            byte* own = next;
            next += bytes;
            return own;
        }

        static long Round(long bytes) => (bytes + 63) & ~63L;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void PackQueries(in AttentionItem item, in AttentionSlice slice, in Memory memory)
    {
        int count = item.Rows * item.Heads;
        for (int group = 0; group < memory.Groups; group++)
        {
            for (int i = 0; i < Columns; i++)
            {
                int query = (group * Columns) + i;
                memory.Rows[i] = query >= count
                    ? memory.Nothing
                    : (byte*)(slice.Queries + ((long)(item.Row + (query / item.Heads)) * slice.QueryStride) + ((long)(item.Head + (query % item.Heads)) * problem.Shape.KeySize));
            }

            RowArguments arguments = new() { Rows = memory.Rows, Destination = memory.Queries + ((long)group * Columns * keySize * 2) };
            kernels.Queries.Run(&arguments);
        }
    }

    /// <summary>Finds the keys of some blocks and turns the values into columns; what lies behind <paramref name="end"/> is zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Pack(in AttentionItem item, in AttentionSlice slice, in Memory memory, int from, int to, int end)
    {
        int head = item.Head / item.Heads;
        int first = from * BlockKeys;
        int last = Math.Min(to * BlockKeys, end);
        if (keysLieRight)
        {
            for (int key = first; key < last; key += TileKeys)
            {
                memory.KeyTiles[(key - first) / TileKeys] = Row(problem.Keys, slice, head, key);
            }

            // The second half of a last step may not exist; whatever is read in its place, nobody sees.
            int tiles = (last - first + TileKeys - 1) / TileKeys;
            if (tiles % 2 != 0)
            {
                memory.KeyTiles[tiles] = memory.KeyTiles[tiles - 1];
            }
        }

        bool ahead = memory.PackBlocks == 1;
        for (int step = first; step < last; step += TiledSizes.StepKeys)
        {
            int rows = Math.Min(TiledSizes.StepKeys, last - step);
            if (!keysLieRight)
            {
                byte* place = memory.KeyRows + ((long)(step - first) * keySize * 2);
                memory.KeyTiles[(step - first) / TileKeys] = place;
                memory.KeyTiles[((step - first) / TileKeys) + 1] = place + ((long)TileKeys * keySize * 2);
                FindRows(problem.Keys, slice, head, step, rows, memory.Rows, memory.Nothing);
                RowArguments keys = new() { Rows = memory.Rows, Destination = place, Count = rows };
                kernels.KeyRows.Run(&keys);
            }

            FindRows(problem.Values, slice, head, step, rows, memory.Rows, memory.Nothing);
            if (!valuesLieRight)
            {
                RowArguments convert = new() { Rows = memory.Rows, Destination = memory.ValueRows, Count = rows };
                kernels.ValueRows.Run(&convert);
                for (int i = 0; i < rows; i++)
                {
                    memory.Rows[i] = memory.ValueRows + ((long)i * valueSize * 2);
                }
            }

            RowArguments values = new() { Rows = memory.Rows, Destination = memory.Values + ((long)(step - first) * valueSize * 2) };
            int next = step + TiledSizes.StepKeys;
            if (ahead && valuesLieRight && next + TiledSizes.StepKeys <= end)
            {
                values.Ahead = memory.Rows + TiledSizes.StepKeys;
                FindRows(problem.Values, slice, head, next, TiledSizes.StepKeys, values.Ahead, memory.Nothing);
                FindRows(problem.Keys, slice, head, next, TiledSizes.StepKeys, values.Ahead + TiledSizes.StepKeys, memory.Nothing);
                kernels.ValuesAhead.Run(&values);
            }
            else
            {
                kernels.Values.Run(&values);
            }
        }
    }

    /// <summary>Where 32 rows lie; those that do not exist lie at <paramref name="nothing"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void FindRows(in PagedRows pool, in AttentionSlice slice, int head, int start, int count, byte** rows, byte* nothing)
    {
        (int block, int inBlock) = Math.DivRem(start, problem.BlockSize);
        long step = pool.RowStride * pool.Format.BlockBytes();
        byte* row = pool.Row(slice.Blocks[block], head, inBlock);
        for (int i = 0; i < count; i++)
        {
            if (inBlock == problem.BlockSize)
            {
                inBlock = 0;
                row = pool.Row(slice.Blocks[++block], head, 0);
            }

            rows[i] = row;
            row += step;
            inBlock++;
        }

        for (int i = count; i < TiledSizes.StepKeys; i++)
        {
            rows[i] = nothing;
        }
    }

    private byte* Row(in PagedRows pool, in AttentionSlice slice, int head, int row) =>
        pool.Row(slice.Blocks[row / problem.BlockSize], head, row % problem.BlockSize);

    /// <summary>Takes packed blocks into the states of a unit of up to 32 queries.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void RunBlocks(in AttentionItem item, in AttentionSlice slice, in Memory memory, int unit, int groups, int from, int to, int end)
    {
        int firstRow = item.Row + (unit * UnitColumns / item.Heads);
        int lastRow = item.Row + ((Math.Min((unit + 1) * UnitColumns, item.Rows * item.Heads) - 1) / item.Heads);
        int rows = lastRow - firstRow + 1;
        (long allFrom, long allTo) = SeenByAll(slice, firstRow, rows);
        int seenFrom = FirstVisible(slice, firstRow, rows);
        int seenTo = slice.Visible is null && slice.Positions is null ? Math.Min(end, slice.FirstRow + lastRow + 1) : end;
        TileConfig config = default;
        for (int tile = 0; tile < 8; tile++)
        {
            config.Set(tile, 16, 64);
        }

        BlockArguments arguments = new()
        {
            KeyStride = keysLieRight ? (nint)problem.Keys.RowStride * 2 : keySize * 2,
            State = memory.States,
            Queries = memory.Queries + ((long)unit * UnitColumns * keySize * 2),
            Visible = (ushort*)memory.Visible,
            Scratch = memory.Scratch,
            Config = &config,
            Scale = (nint)BitConverter.SingleToUInt32Bits(problem.Shape.Scale * TiledArithmetic.Log2E),
        };
        for (int block = Math.Max(from, seenFrom / BlockKeys); block < to && block * BlockKeys < seenTo;)
        {
            int plain = 0;
            while (block + plain < to && (long)(block + plain) * BlockKeys >= allFrom && (block + plain + 1L) * BlockKeys <= allTo)
            {
                plain++;
            }

            if (plain == 0)
            {
                Hide(item, slice, firstRow, lastRow, unit * UnitColumns, groups, block * BlockKeys, memory);
            }

            arguments.Keys = memory.KeyTiles + ((block - from) * (BlockKeys / TileKeys));
            arguments.Values = memory.Values + ((long)(block - from) * BlockKeys * valueSize * 2);
            arguments.Blocks = Math.Max(1, plain);
            arguments.LastSteps = plain > 0 ? TiledSizes.BlockSteps : Math.Min(TiledSizes.BlockSteps, (seenTo - (block * BlockKeys) + TiledSizes.StepKeys - 1) / TiledSizes.StepKeys);
            kernels.Blocks(groups, plain == 0).Run(&arguments);
            block += Math.Max(1, plain);
        }
    }

    /// <summary>The cache rows that every one of some query rows sees, as far as that is known without looking at each.</summary>
    private (long From, long To) SeenByAll(in AttentionSlice slice, int row, int rows)
    {
        bool plain = slice.Visible is null && slice.Positions is null;
        long from = 0;
        if (problem.Shape.Window > 0)
        {
            int last = slice.Position(row + rows - 1);
            for (int i = row; !plain && i < row + rows; i++)
            {
                last = Math.Max(last, slice.Position(i));
            }

            from = (long)last - problem.Shape.Window + 1;
        }

        return (from, plain ? slice.FirstRow + row + 1 : slice.FirstRow);
    }

    /// <summary>The first cache row that any of some query rows may see.</summary>
    private int FirstVisible(in AttentionSlice slice, int row, int rows)
    {
        if (problem.Shape.Window == 0)
        {
            return 0;
        }

        int least = int.MaxValue;
        for (int i = row; i < row + rows; i++)
        {
            least = Math.Min(least, slice.Position(i));
        }

        return Math.Clamp(least - problem.Shape.Window + 1, 0, slice.FirstRow);
    }

    /// <summary>For each key of a block, which queries of a unit see it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Hide(in AttentionItem item, in AttentionSlice slice, int firstRow, int lastRow, int firstColumn, int groups, int start, in Memory memory)
    {
        // Rows see runs of keys: where a run begins or ends, the row's bits change.
        uint* toggles = memory.Toggles;
        new Span<uint>(toggles, BlockKeys + 1).Clear();
        bool plain = slice.Visible is null && slice.Positions is null;
        for (int row = firstRow; row <= lastRow; row++)
        {
            int low = Math.Max(0, ((row - item.Row) * item.Heads) - firstColumn);
            int high = Math.Min(UnitColumns, ((row - item.Row + 1) * item.Heads) - firstColumn);
            uint bits = (uint)(((1UL << high) - 1) & ~((1UL << low) - 1));
            int position = slice.Position(row);
            long first = problem.Shape.Window == 0 ? 0 : (long)position - problem.Shape.Window + 1;
            if (plain)
            {
                toggles[(int)Math.Clamp(first - start, 0, BlockKeys)] ^= bits;
                toggles[(int)Math.Clamp((long)position + 1 - start, 0, BlockKeys)] ^= bits;
                continue;
            }

            bool before = false;
            for (int i = 0; i < BlockKeys; i++)
            {
                int own = start + i - slice.FirstRow;
                bool visible = own < 0
                    ? start + i >= first
                    : own < slice.Rows && (slice.Visible is null ? own <= row : slice.Visible[((long)row * slice.Rows) + own]) && slice.Position(own) >= first;
                toggles[i] ^= visible == before ? 0 : bits;
                before = visible;
            }

            toggles[BlockKeys] ^= before ? bits : 0;
        }

        uint seen = 0;
        for (int i = 0; i < BlockKeys; i++)
        {
            seen ^= toggles[i];
            if (groups == 2)
            {
                memory.Visible[i] = seen;
            }
            else
            {
                ((ushort*)memory.Visible)[i] = (ushort)seen;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Clear(float* state)
    {
        new Span<float>(state, stateBytes / sizeof(float)).Clear();
        new Span<float>(state, Columns).Fill(TiledArithmetic.NoShift);
    }

    /// <summary>2^x, exactly enough to weigh whole segments.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Lanes512 Power(Lanes512 x) => LaneMath<Lanes512>.Exp(x * Lanes512.Broadcast(1 / TiledArithmetic.Log2E));

    /// <summary>Adds a later segment's state to that of the segments before it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Merge(float* total, float* segment)
    {
        Lanes512 greatest = Lanes512.Max(Lanes512.Load(segment), Lanes512.Load(total));
        Lanes512 totalFactor = Power(Lanes512.Load(total) - greatest);
        Lanes512 segmentFactor = Power(Lanes512.Load(segment) - greatest);
        greatest.Store(total);
        for (int i = Columns; i < stateBytes / sizeof(float); i += Columns)
        {
            Lanes512.Fma(Lanes512.Load(segment + i), segmentFactor, Lanes512.Load(total + i) * totalFactor).Store(total + i);
        }
    }

    /// <summary>Merges the segments of an item that was split, at its first part.</summary>
    private void Merge(int chunk, int worker)
    {
        ref readonly AttentionItem item = ref problem.Items[chunk];
        if (item.Partial < 0 || item.Segment != 0)
        {
            return;
        }

        Memory memory = Share(item, worker);
        byte* states = (byte*)problem.Partials;
        for (int group = 0; group < memory.Groups; group++)
        {
            float* total = (float*)memory.Totals;
            Clear(total);

            // The segments of one piece of queries are consecutive items.
            for (int i = chunk; i < problem.ItemCount && problem.Items[i].Segment == i - chunk; i++)
            {
                Merge(total, (float*)(states + problem.Items[i].Partial + ((long)group * stateBytes)));
            }

            Finish(item, group, total, memory);
        }
    }

    /// <summary>Turns the state of 16 queries into outputs; a query that saw nothing gets zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Finish(in AttentionItem item, int group, float* total, in Memory memory)
    {
        int count = item.Rows * item.Heads;
        Lanes512 sum = Lanes512.Load(total + Columns);
        Lanes512 factor = Lanes512.Broadcast(1);
        for (int i = 0; i < Columns; i++)
        {
            int query = (group * Columns) + i;
            memory.Rows[i] = query < count ? (byte*)problem.Output(item, query) : memory.Bin;
            memory.Factors[i] = query < count && problem.Sinks is not null ? problem.Sinks[item.Head + (query % item.Heads)] * TiledArithmetic.Log2E : 0;
        }

        if (problem.Sinks is not null)
        {
            Lanes512 sink = Lanes512.Load(memory.Factors);
            Lanes512 shift = Lanes512.Load(total);
            Lanes512 greatest = Lanes512.Max(sink, shift);
            factor = Power(shift - greatest);
            sum = Lanes512.Fma(sum, factor, Power(sink - greatest));
        }

        (factor / sum).Store(memory.Factors);
        for (int i = 0; i < Columns; i++)
        {
            memory.Factors[i] = float.IsFinite(memory.Factors[i]) ? memory.Factors[i] : 0;
        }

        RowArguments arguments = new() { Rows = memory.Rows, Destination = (byte*)total + 128, Factors = memory.Factors };
        kernels.Outputs.Run(&arguments);
    }

    private struct Memory
    {
        /// <summary>Sixteens of queries.</summary>
        public int Groups;

        /// <summary>Blocks that are packed at once.</summary>
        public int PackBlocks;

        public byte* Queries;
        public byte* Totals;
        public byte* States;
        public byte* Values;
        public byte* KeyRows;
        public byte* ValueRows;
        public byte* Scratch;
        public uint* Visible;
        public uint* Toggles;
        public byte** KeyTiles;
        public byte** Rows;
        public float* Factors;

        /// <summary>A row of zeros.</summary>
        public byte* Nothing;

        /// <summary>Where outputs of queries that do not exist go.</summary>
        public byte* Bin;
    }
}
