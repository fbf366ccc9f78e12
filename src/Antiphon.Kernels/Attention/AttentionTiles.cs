using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>Sizes that fix the order of sums, and with it every bit of an output.</summary>
internal static class AttentionTiles
{
    /// <summary>Cache rows in a tile of the online softmax.</summary>
    public const int TileRows = 32;

    /// <summary>Cache rows with sums of their own.</summary>
    public const int SegmentRows = 512;

    /// <summary>Most queries (rows times heads) that an item takes, so that many share what is read from the cache; how many has no influence on results.</summary>
    public const int MostQueries = 192;

    /// <summary>What <see cref="MostQueries"/> is halved down to where there is little to do.</summary>
    public const int LeastMost = 24;

    /// <summary>Floats of an item's queries and states that fit a second-level cache.</summary>
    public const int MostItemFloats = 128 << 10;

    /// <summary>Fewest queries that are worth transposing; either way gives the same bits.</summary>
    public const int ManyQueries = 8;

    /// <summary>Floats that an item of so many queries keeps at hand.</summary>
    public static long ItemFloats(in AttentionShape shape, int queries) => (long)queries * (shape.KeySize + (2 * shape.ValueSize) + TileRows);

    /// <summary>Floats of a query's state: greatest score, sum of exponentials, padding to a cache line, weighted sum of values.</summary>
    public static int StateFloats(int valueSize) => 16 + ((valueSize + 15) & ~15);
}

/// <summary>The inner loops of attention.</summary>
internal static unsafe class AttentionTiles<T>
    where T : unmanaged, ILanes<T>
{
    private const int TileRows = AttentionTiles.TileRows;

    /// <summary>A state that has seen nothing.</summary>
    public static void Clear(float* state, int stateFloats)
    {
        new Span<float>(state, stateFloats).Clear();
        state[0] = float.NegativeInfinity;
    }

    /// <summary>scores = cap * tanh(scores / cap).</summary>
    /// <param name="scores">Scores.</param>
    /// <param name="count">Number of scores; a multiple of 16.</param>
    /// <param name="cap">The cap, above zero.</param>
    public static void SoftCap(float* scores, int count, float cap)
    {
        T caps = T.Broadcast(cap);
        for (int i = 0; i < count; i += 16)
        {
            (LaneMath<T>.Tanh(T.Load(scores + i) / caps) * caps).Store(scores + i);
        }
    }

    /// <summary>scores[q, k] = scale * (query q . key k).</summary>
    /// <param name="queries">Query rows, <paramref name="size"/> floats each.</param>
    /// <param name="count">Number of queries.</param>
    /// <param name="keys">Key rows; a multiple of four.</param>
    /// <param name="keyStride">Floats between them.</param>
    /// <param name="keyCount">Number of keys.</param>
    /// <param name="size">Floats in a row; a multiple of 16.</param>
    /// <param name="scale">Factor.</param>
    /// <param name="scores">Receives rows of 32.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Score(float* queries, int count, float* keys, int keyStride, int keyCount, int size, float scale, float* scores)
    {
        for (int k = 0; k < keyCount; k += 4)
        {
            float* four = keys + (k * keyStride);
            int q = 0;
            if (typeof(T) == typeof(Lanes512))
            {
                for (; q + 2 <= count; q += 2)
                {
                    ScoreTwo(queries + (q * size), four, keyStride, size, scale, scores + (q * TileRows) + k);
                }
            }

            for (; q < count; q++)
            {
                ScoreOne(queries + (q * size), four, keyStride, size, scale, scores + (q * TileRows) + k);
            }
        }
    }

    /// <summary>Takes a tile of scores into a query's state and turns them into weights.</summary>
    /// <param name="scores">32 scores, minus infinity where nothing is visible; receives the weights.</param>
    /// <param name="state">The query's state.</param>
    /// <param name="size">Floats of the weighted sum; a multiple of 16.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Weigh(float* scores, float* state, int size)
    {
        T low = T.Load(scores);
        T high = T.Load(scores + 16);
        float greatest = T.Max(low, high).Maximum();
        greatest = greatest > state[0] ? greatest : state[0];
        if (float.IsNegativeInfinity(greatest))
        {
            T.Zero.Store(scores);
            T.Zero.Store(scores + 16);
            return;
        }

        T shift = T.Broadcast(greatest);
        low = LaneMath<T>.Exp(low - shift);
        high = LaneMath<T>.Exp(high - shift);
        low.Store(scores);
        high.Store(scores + 16);

        // Most tiles do not raise the maximum; a factor of one changes nothing.
        float factor = 1f;
        if (greatest != state[0])
        {
            factor = Exp(state[0] - greatest);
            T factors = T.Broadcast(factor);
            for (int i = 0; i < size; i += 16)
            {
                (T.Load(state + 16 + i) * factors).Store(state + 16 + i);
            }
        }

        state[1] = MathF.FusedMultiplyAdd(state[1], factor, (low + high).Sum());
        state[0] = greatest;
    }

    /// <summary>Adds the weighted values of a tile to every query's state.</summary>
    /// <param name="weights">32 weights for each query.</param>
    /// <param name="values">Value rows.</param>
    /// <param name="rows">Number of value rows.</param>
    /// <param name="stride">Floats between two value rows.</param>
    /// <param name="size">Floats of a value row that count; a multiple of 16.</param>
    /// <param name="states">The queries' states.</param>
    /// <param name="stateFloats">Floats of a state.</param>
    /// <param name="count">Number of queries.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddValues(float* weights, float* values, int rows, int stride, int size, float* states, int stateFloats, int count)
    {
        int q = 0;
        if (typeof(T) == typeof(Lanes512))
        {
            for (; q + 4 <= count; q += 4)
            {
                int d = 0;
                for (; d + 32 <= size; d += 32)
                {
                    FourByTwo(weights + (q * TileRows), values + d, rows, stride, states + ((long)q * stateFloats) + 16 + d, stateFloats);
                }

                for (; d < size; d += 16)
                {
                    for (int i = 0; i < 4; i++)
                    {
                        OneByOne(weights + ((q + i) * TileRows), values + d, rows, stride, states + ((long)(q + i) * stateFloats) + 16 + d);
                    }
                }
            }
        }

        for (; q < count; q++)
        {
            int d = 0;
            for (; d + 64 <= size; d += 64)
            {
                OneByFour(weights + (q * TileRows), values + d, rows, stride, states + ((long)q * stateFloats) + 16 + d);
            }

            for (; d < size; d += 16)
            {
                OneByOne(weights + (q * TileRows), values + d, rows, stride, states + ((long)q * stateFloats) + 16 + d);
            }
        }
    }

    /// <summary>Adds a later segment's state to that of the segments before it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Merge(float* total, float* segment, int stateFloats)
    {
        if (float.IsNegativeInfinity(segment[0]))
        {
            return;
        }

        float greatest = segment[0] > total[0] ? segment[0] : total[0];
        float totalFactor = Exp(total[0] - greatest);
        float segmentFactor = Exp(segment[0] - greatest);
        total[1] = MathF.FusedMultiplyAdd(segment[1], segmentFactor, total[1] * totalFactor);
        total[0] = greatest;
        T first = T.Broadcast(totalFactor);
        T second = T.Broadcast(segmentFactor);
        for (int i = 16; i < stateFloats; i += 16)
        {
            T.Fma(T.Load(segment + i), second, T.Load(total + i) * first).Store(total + i);
        }
    }

    /// <summary>Turns a state into an output; a query that saw nothing gets zeros.</summary>
    /// <param name="total">The state over all segments.</param>
    /// <param name="sink">A logit without a value, or null.</param>
    /// <param name="output">Receives <paramref name="size"/> values.</param>
    /// <param name="size">Value size.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Finish(float* total, float* sink, float* output, int size)
    {
        float sum = total[1];
        float factor = 1f;
        if (sink is not null)
        {
            float greatest = *sink > total[0] ? *sink : total[0];
            factor = Exp(total[0] - greatest);
            sum = MathF.FusedMultiplyAdd(sum, factor, Exp(*sink - greatest));
        }

        if (sum == 0)
        {
            new Span<float>(output, size).Clear();
            return;
        }

        T scale = T.Broadcast(factor / sum);
        float* rest = stackalloc float[16];
        for (int i = 0; i < size; i += 16)
        {
            T value = T.Load(total + 16 + i) * scale;
            if (i + 16 <= size)
            {
                value.Store(output + i);
            }
            else
            {
                value.Store(rest);
                new ReadOnlySpan<float>(rest, size - i).CopyTo(new Span<float>(output + i, size - i));
            }
        }
    }

    private static float Exp(float value)
    {
        float* lanes = stackalloc float[16];
        LaneMath<T>.Exp(T.Broadcast(value)).Store(lanes);
        return lanes[0];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreOne(float* query, float* keys, int keyStride, int size, float scale, float* scores)
    {
        T a = T.Zero, b = T.Zero, c = T.Zero, d = T.Zero;
        float* second = keys + keyStride;
        float* third = second + keyStride;
        float* fourth = third + keyStride;
        for (long i = 0; i < size; i += 16)
        {
            T q = T.Load(query + i);
            a = T.Fma(q, T.Load(keys + i), a);
            b = T.Fma(q, T.Load(second + i), b);
            c = T.Fma(q, T.Load(third + i), c);
            d = T.Fma(q, T.Load(fourth + i), d);
        }

        scores[0] = a.Sum() * scale;
        scores[1] = b.Sum() * scale;
        scores[2] = c.Sum() * scale;
        scores[3] = d.Sum() * scale;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreTwo(float* query, float* keys, int keyStride, int size, float scale, float* scores)
    {
        T a = T.Zero, b = T.Zero, c = T.Zero, d = T.Zero;
        T e = T.Zero, f = T.Zero, g = T.Zero, h = T.Zero;
        float* other = query + size;
        float* second = keys + keyStride;
        float* third = second + keyStride;
        float* fourth = third + keyStride;
        for (long i = 0; i < size; i += 16)
        {
            T q = T.Load(query + i);
            T r = T.Load(other + i);
            T k = T.Load(keys + i);
            a = T.Fma(q, k, a);
            e = T.Fma(r, k, e);
            k = T.Load(second + i);
            b = T.Fma(q, k, b);
            f = T.Fma(r, k, f);
            k = T.Load(third + i);
            c = T.Fma(q, k, c);
            g = T.Fma(r, k, g);
            k = T.Load(fourth + i);
            d = T.Fma(q, k, d);
            h = T.Fma(r, k, h);
        }

        scores[0] = a.Sum() * scale;
        scores[1] = b.Sum() * scale;
        scores[2] = c.Sum() * scale;
        scores[3] = d.Sum() * scale;
        scores += TileRows;
        scores[0] = e.Sum() * scale;
        scores[1] = f.Sum() * scale;
        scores[2] = g.Sum() * scale;
        scores[3] = h.Sum() * scale;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneByOne(float* weights, float* values, int rows, int stride, float* sums)
    {
        T sum = T.Load(sums);
        for (int r = 0; r < rows; r++)
        {
            sum = T.Fma(T.Broadcast(weights[r]), T.Load(values), sum);
            values += stride;
        }

        sum.Store(sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneByFour(float* weights, float* values, int rows, int stride, float* sums)
    {
        T a = T.Load(sums), b = T.Load(sums + 16), c = T.Load(sums + 32), d = T.Load(sums + 48);
        for (int r = 0; r < rows; r++)
        {
            T weight = T.Broadcast(weights[r]);
            a = T.Fma(weight, T.Load(values), a);
            b = T.Fma(weight, T.Load(values + 16), b);
            c = T.Fma(weight, T.Load(values + 32), c);
            d = T.Fma(weight, T.Load(values + 48), d);
            values += stride;
        }

        a.Store(sums);
        b.Store(sums + 16);
        c.Store(sums + 32);
        d.Store(sums + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByTwo(float* weights, float* values, int rows, int stride, float* sums, int stateFloats)
    {
        float* sumsB = sums + stateFloats;
        float* sumsC = sumsB + stateFloats;
        float* sumsD = sumsC + stateFloats;
        T a0 = T.Load(sums), a1 = T.Load(sums + 16);
        T b0 = T.Load(sumsB), b1 = T.Load(sumsB + 16);
        T c0 = T.Load(sumsC), c1 = T.Load(sumsC + 16);
        T d0 = T.Load(sumsD), d1 = T.Load(sumsD + 16);
        for (int r = 0; r < rows; r++)
        {
            T v0 = T.Load(values), v1 = T.Load(values + 16);
            T weight = T.Broadcast(weights[r]);
            a0 = T.Fma(weight, v0, a0);
            a1 = T.Fma(weight, v1, a1);
            weight = T.Broadcast(weights[r + TileRows]);
            b0 = T.Fma(weight, v0, b0);
            b1 = T.Fma(weight, v1, b1);
            weight = T.Broadcast(weights[r + (2 * TileRows)]);
            c0 = T.Fma(weight, v0, c0);
            c1 = T.Fma(weight, v1, c1);
            weight = T.Broadcast(weights[r + (3 * TileRows)]);
            d0 = T.Fma(weight, v0, d0);
            d1 = T.Fma(weight, v1, d1);
            values += stride;
        }

        a0.Store(sums);
        a1.Store(sums + 16);
        b0.Store(sumsB);
        b1.Store(sumsB + 16);
        c0.Store(sumsC);
        c1.Store(sumsC + 16);
        d0.Store(sumsD);
        d1.Store(sumsD + 16);
    }
}
