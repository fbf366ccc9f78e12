using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Antiphon.Kernels.Integers;

/// <summary>An item of few queries over a cache of integers, as in a decode step; without generated code, any item.</summary>
internal readonly unsafe struct FewIntegers<T>
    where T : unmanaged, ILanes<T>
{
    private const int BlockKeys = IntegerArithmetic.BlockKeys;
    private const int SegmentBlocks = IntegerArithmetic.SegmentBlocks;

    private readonly AttentionProblem problem;
    private readonly IntegerRows keyRows;
    private readonly IntegerRows valueRows;
    private readonly VectorKernels kernels;
    private readonly int stateFloats;

    public FewIntegers(in AttentionProblem problem)
    {
        this.problem = problem;
        keyRows = new IntegerRows(problem.Keys, problem.BlockSize, problem.Shape.KeySize);
        valueRows = new IntegerRows(problem.Values, problem.BlockSize, problem.Shape.ValueSize);
        kernels = VectorKernels.Default;
        stateFloats = AttentionTiles.StateFloats(problem.Shape.ValueSize);
    }

    public void Execute(in AttentionItem item, ComputeTeam team, int worker)
    {
        ref readonly AttentionSlice slice = ref problem.Slices[item.Slice];
        int count = item.Rows * item.Heads;
        int keySize = keyRows.PaddedSize;
        int valueSize = valueRows.PaddedSize;
        long room = BlockKeys * ((keyRows.IsWhole ? 0 : keySize) + (valueRows.IsWhole ? 0 : valueSize)) * sizeof(short);
        long bytes = room + (2 * BlockKeys * sizeof(float))
            + (count * ((keySize * sizeof(short)) + (BlockKeys * (sizeof(float) + sizeof(short))) + (2L * (stateFloats + 1) * sizeof(float))));
        float* keyScales = (float*)team.Scratch(worker, bytes);
        float* valueScales = keyScales + BlockKeys;
        float* totals = valueScales + BlockKeys;
        float* states = totals + ((long)count * stateFloats);
        float* scores = states + ((long)count * stateFloats);
        float* factors = scores + (count * BlockKeys);
        float* units = factors + count;
        short* weights = (short*)(units + count);
        short* queries = weights + (count * BlockKeys);
        short* keyRoom = queries + (count * keySize);
        short* valueRoom = keyRoom + (keyRows.IsWhole ? 0 : BlockKeys * keySize);

        // Where the rows of a block are, of every second one in the same half: keys, then values.
        short** located = stackalloc short*[4 * BlockKeys];
        ReadQueries(item, slice, queries, factors);
        for (int q = 0; q < count; q++)
        {
            AttentionTiles<T>.Clear(totals + (q * stateFloats), stateFloats);
        }

        int end = slice.Visible is null ? slice.FirstRow + item.Row + item.Rows : slice.FirstRow + slice.Rows;
        int head = item.Head / (problem.Shape.QueryHeads / problem.Shape.KeyValueHeads);
        int firstBlock = slice.FirstVisible(item.Row, item.Rows, problem.Shape.Window) / BlockKeys;
        Locate(slice, head, Math.Max(firstBlock, item.Segment * SegmentBlocks), end, located);
        for (int segment = Math.Max(item.Segment, firstBlock / SegmentBlocks); segment < item.SegmentEnd; segment++)
        {
            for (int q = 0; q < count; q++)
            {
                AttentionTiles<T>.Clear(states + (q * stateFloats), stateFloats);
            }

            for (int block = Math.Max(firstBlock, segment * SegmentBlocks); block < (segment + 1) * SegmentBlocks && block * BlockKeys < end; block++)
            {
                int start = block * BlockKeys;
                int rows = Math.Min(BlockKeys, end - start);
                short** keys = Half(located, block);
                keyRows.Scales(slice.Blocks, head, start, rows, keyScales);
                valueRows.Scales(slice.Blocks, head, start, rows, valueScales);
                Locate(slice, head, block + 1, end, located);
                Place(keyRows, keys, rows, keyRoom, keySize);
                IntegerProducts<T>.Score(queries, count, keys, (rows + 3) & ~3, keys + BlockKeys, keySize, (int*)scores);
                for (int q = 0; q < count; q++)
                {
                    float* row = scores + (q * BlockKeys);
                    Scale(row, keyScales);
                    bool hidden = Hide(slice, item.Row + (q / item.Heads), start, row);
                    units[q] = Weigh(row, factors[q], valueScales, hidden, states + (q * stateFloats), stateFloats, weights + (q * BlockKeys));
                }

                Place(valueRows, keys + BlockKeys, rows, valueRoom, valueSize);
                IntegerProducts<T>.AddValues(
                    weights, units, count, keys + BlockKeys, (rows + 1) & ~1, Half(located, block + 1), valueSize, states, stateFloats);
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

    private static short** Half(short** located, int block) => located + ((block & 1) * 2 * BlockKeys);

    private void Locate(in AttentionSlice slice, int head, int block, int end, short** located)
    {
        short** rows = Half(located, block);
        int start = block * BlockKeys;
        keyRows.Locate(slice.Blocks, head, start, Math.Min(BlockKeys, end - start), BlockKeys, rows);
        valueRows.Locate(slice.Blocks, head, start, Math.Min(BlockKeys, end - start), BlockKeys, rows + BlockKeys);
    }

    /// <summary>Copies rows that cannot be multiplied where they lie.</summary>
    private static void Place(in IntegerRows reader, short** rows, int count, short* room, int stride)
    {
        if (reader.IsWhole)
        {
            return;
        }

        reader.Copy(rows, count, room, stride);
        for (int i = 0; i < BlockKeys; i++)
        {
            rows[i] = room + (Math.Min(i, count - 1) * stride);
        }
    }

    private void ReadQueries(in AttentionItem item, in AttentionSlice slice, short* queries, float* factors)
    {
        int size = problem.Shape.KeySize;
        for (int q = 0; q < item.Rows * item.Heads; q++)
        {
            float* source = slice.Queries + ((long)(item.Row + (q / item.Heads)) * slice.QueryStride) + ((long)(item.Head + (q % item.Heads)) * size);
            factors[q] = kernels.ToIntegers(source, queries, size, IntegerArithmetic.QueryLimit(size)) * problem.Shape.Scale;
            new Span<short>(queries + size, keyRows.PaddedSize - size).Clear();
            queries += keyRows.PaddedSize;
        }
    }

    /// <summary>Sums of products become scores, but for the query's factor.</summary>
    private static void Scale(float* scores, float* keyScales)
    {
        for (int i = 0; i < BlockKeys; i += 8)
        {
            (Vector256.ConvertToSingle(Vector256.Load((int*)scores + i)) * Vector256.Load(keyScales + i)).Store(scores + i);
        }
    }

    /// <summary>Overwrites the scores of what a query does not see.</summary>
    /// <returns>Whether there is any such.</returns>
    private bool Hide(in AttentionSlice slice, int row, int start, float* scores)
    {
        if (slice.IsPlain)
        {
            int low = Math.Clamp(slice.FirstPosition(row, problem.Shape.Window) - start, 0, BlockKeys);
            int high = (int)Math.Clamp((long)slice.Position(row) + 1 - start, 0, BlockKeys);
            new Span<float>(scores, low).Fill(float.NegativeInfinity);
            new Span<float>(scores + high, BlockKeys - high).Fill(float.NegativeInfinity);
            return low > 0 || high < BlockKeys;
        }

        for (int i = 0; i < BlockKeys; i++)
        {
            if (!slice.Sees(row, start + i, problem.Shape.Window))
            {
                scores[i] = float.NegativeInfinity;
            }
        }

        return true;
    }

    /// <summary>Takes a block of scores into a query's state and turns them into weights.</summary>
    /// <returns>What a weight of one is worth.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Weigh(float* scores, float factor, float* valueScales, bool hidden, float* state, int stateFloats, short* weights)
    {
        T greatestLanes = T.Max(T.Max(T.Load(scores), T.Load(scores + 16)), T.Max(T.Load(scores + 32), T.Load(scores + 48)));
        float greatest = greatestLanes.Maximum() * factor;
        if (greatest > state[0] + IntegerArithmetic.Tolerance)
        {
            float rest = AttentionTiles<T>.Exp(state[0] - greatest);
            T rests = T.Broadcast(rest);
            state[0] = greatest;
            state[1] *= rest;
            for (int i = 16; i < stateFloats; i += 16)
            {
                (T.Load(state + i) * rests).Store(state + i);
            }
        }

        T nothing = T.Broadcast(float.NegativeInfinity);
        T factors = T.Broadcast(factor);
        T shift = T.Broadcast(-state[0]);
        T sum = T.Zero;
        T most = T.Zero;
        for (int i = 0; i < BlockKeys; i += 16)
        {
            T score = T.Load(scores + i);
            T weight = IntegerMath<T>.Weight(T.Fma(score, factors, shift));
            T scaled = weight * T.Load(valueScales + i);
            if (hidden)
            {
                weight = T.IfLess(nothing, score, weight, T.Zero);
                scaled = T.IfLess(nothing, score, scaled, T.Zero);
            }

            sum += weight;
            most = T.Max(most, scaled);
            scaled.Store(scores + i);
        }

        state[1] += sum.Sum();
        float top = most.Maximum();
        T inverse = T.Broadcast(top < IntegerArithmetic.LeastWeight ? 0 : IntegerArithmetic.WeightLimit / top);
        for (int i = 0; i < BlockKeys; i += 16)
        {
            T.Fma(T.Load(scores + i), inverse, T.Broadcast(IntegerArithmetic.Rounder)).Store(scores + i);
            Vector256.Narrow(Vector256.Load((int*)scores + i), Vector256.Load((int*)scores + i + 8)).Store(weights + i);
        }

        return top * (1f / IntegerArithmetic.WeightLimit);
    }
}
