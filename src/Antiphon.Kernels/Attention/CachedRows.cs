using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels;

/// <summary>The products of a few queries with a tile of rows that are read where the cache keeps them, each once.</summary>
/// <remarks>
/// What a decode step costs is the way from memory. So the next tile's rows are asked for one by one between the products of this tile's, which keeps the way busy
/// without ever waiting for it; where the next block lies, the processor cannot know.
/// </remarks>
internal static unsafe class CachedRows<T, TValues>
    where T : unmanaged, ILanes<T>
    where TValues : struct, IPlainValues<T>
{
    private const int TileRows = AttentionTiles.TileRows;
    private const int LineBytes = 64;

    /// <summary>scores[q, k] = scale * (query q . key k).</summary>
    /// <param name="queries">Query rows, <paramref name="size"/> floats each.</param>
    /// <param name="count">Number of queries.</param>
    /// <param name="keys">Where the keys are.</param>
    /// <param name="keyCount">Number of keys; a multiple of four.</param>
    /// <param name="next">Keys that are needed next, as many.</param>
    /// <param name="size">Values in a row; a multiple of 16.</param>
    /// <param name="scale">Factor.</param>
    /// <param name="scores">Receives rows of 32.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Score(float* queries, int count, byte** keys, int keyCount, byte** next, int size, float scale, float* scores)
    {
        for (int k = 0; k < keyCount; k += 4)
        {
            int q = 0;
            if (typeof(T) == typeof(Lanes512))
            {
                for (; q + 2 <= count; q += 2)
                {
                    ScoreTwo(queries + (q * size), keys + k, (q == 0 ? next : keys) + k, size, scale, scores + (q * TileRows) + k);
                }
            }

            for (; q < count; q++)
            {
                ScoreOne(queries + (q * size), keys + k, (q == 0 ? next : keys) + k, size, scale, scores + (q * TileRows) + k);
            }
        }
    }

    /// <summary>Adds the weighted values of a tile to every query's state.</summary>
    /// <param name="weights">32 weights for each query.</param>
    /// <param name="count">Number of queries.</param>
    /// <param name="values">Where the value rows are.</param>
    /// <param name="rows">Number of value rows.</param>
    /// <param name="next">Rows that are needed next, as many.</param>
    /// <param name="size">Values in a row; a multiple of 16.</param>
    /// <param name="states">The queries' states.</param>
    /// <param name="stateFloats">Floats of a state.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddValues(float* weights, int count, byte** values, int rows, byte** next, int size, float* states, int stateFloats)
    {
        int q = 0;
        if (typeof(T) == typeof(Lanes512))
        {
            for (; q + 4 <= count; q += 4)
            {
                byte** ahead = q == 0 ? next : values;
                int d = 0;
                for (; d + 32 <= size; d += 32)
                {
                    FourByTwo(weights + (q * TileRows), values, rows, ahead, d, states + ((long)q * stateFloats) + 16 + d, stateFloats);
                }

                for (; d < size; d += 16)
                {
                    for (int i = 0; i < 4; i++)
                    {
                        OneByOne(weights + ((q + i) * TileRows), values, rows, ahead, d, states + ((long)(q + i) * stateFloats) + 16 + d);
                    }
                }
            }

            for (; q + 2 <= count; q += 2)
            {
                byte** ahead = q == 0 ? next : values;
                int d = 0;
                for (; d + 64 <= size; d += 64)
                {
                    TwoByFour(weights + (q * TileRows), values, rows, ahead, d, states + ((long)q * stateFloats) + 16 + d, stateFloats);
                }

                for (; d < size; d += 16)
                {
                    OneByOne(weights + (q * TileRows), values, rows, ahead, d, states + ((long)q * stateFloats) + 16 + d);
                    OneByOne(weights + ((q + 1) * TileRows), values, rows, ahead, d, states + ((long)(q + 1) * stateFloats) + 16 + d);
                }
            }
        }

        for (; q < count; q++)
        {
            byte** ahead = q == 0 ? next : values;
            int d = 0;
            for (; d + 64 <= size; d += 64)
            {
                OneByFour(weights + (q * TileRows), values, rows, ahead, d, states + ((long)q * stateFloats) + 16 + d);
            }

            for (; d < size; d += 16)
            {
                OneByOne(weights + (q * TileRows), values, rows, ahead, d, states + ((long)q * stateFloats) + 16 + d);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Load(byte* row, nint column) => TValues.Load(row + (column * TValues.Bytes));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fetch(byte* row, nint column)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(row + (column * TValues.Bytes));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fetch(byte* row, nint column, int count)
    {
        for (int at = 0; at < count; at += LineBytes / TValues.Bytes)
        {
            Fetch(row, column + at);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreOne(float* query, byte** keys, byte** next, int size, float scale, float* scores)
    {
        T a = T.Zero, b = T.Zero, c = T.Zero, d = T.Zero;
        byte* first = keys[0];
        byte* second = keys[1];
        byte* third = keys[2];
        byte* fourth = keys[3];
        byte* nextFirst = next[0];
        byte* nextSecond = next[1];
        byte* nextThird = next[2];
        byte* nextFourth = next[3];
        for (nint i = 0; i < size; i += 16)
        {
            if ((i * TValues.Bytes) % LineBytes == 0)
            {
                Fetch(nextFirst, i);
                Fetch(nextSecond, i);
                Fetch(nextThird, i);
                Fetch(nextFourth, i);
            }

            T q = T.Load(query + i);
            a = T.Fma(q, Load(first, i), a);
            b = T.Fma(q, Load(second, i), b);
            c = T.Fma(q, Load(third, i), c);
            d = T.Fma(q, Load(fourth, i), d);
        }

        scores[0] = a.Sum() * scale;
        scores[1] = b.Sum() * scale;
        scores[2] = c.Sum() * scale;
        scores[3] = d.Sum() * scale;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreTwo(float* query, byte** keys, byte** next, int size, float scale, float* scores)
    {
        T a = T.Zero, b = T.Zero, c = T.Zero, d = T.Zero;
        T e = T.Zero, f = T.Zero, g = T.Zero, h = T.Zero;
        float* other = query + size;
        byte* first = keys[0];
        byte* second = keys[1];
        byte* third = keys[2];
        byte* fourth = keys[3];
        byte* nextFirst = next[0];
        byte* nextSecond = next[1];
        byte* nextThird = next[2];
        byte* nextFourth = next[3];
        for (nint i = 0; i < size; i += 16)
        {
            if ((i * TValues.Bytes) % LineBytes == 0)
            {
                Fetch(nextFirst, i);
                Fetch(nextSecond, i);
                Fetch(nextThird, i);
                Fetch(nextFourth, i);
            }

            T q = T.Load(query + i);
            T r = T.Load(other + i);
            T k = Load(first, i);
            a = T.Fma(q, k, a);
            e = T.Fma(r, k, e);
            k = Load(second, i);
            b = T.Fma(q, k, b);
            f = T.Fma(r, k, f);
            k = Load(third, i);
            c = T.Fma(q, k, c);
            g = T.Fma(r, k, g);
            k = Load(fourth, i);
            d = T.Fma(q, k, d);
            h = T.Fma(r, k, h);
        }

        T.SumEight(a, b, c, d, e, f, g, h, scores, scores + TileRows);
        Vector128<float> factor = Vector128.Create(scale);
        (Vector128.Load(scores) * factor).Store(scores);
        (Vector128.Load(scores + TileRows) * factor).Store(scores + TileRows);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneByOne(float* weights, byte** values, int rows, byte** next, nint column, float* sums)
    {
        T sum = T.Load(sums);
        for (int r = 0; r < rows; r++)
        {
            Fetch(next[r], column, 16);
            sum = T.Fma(T.Broadcast(weights[r]), Load(values[r], column), sum);
        }

        sum.Store(sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneByFour(float* weights, byte** values, int rows, byte** next, nint column, float* sums)
    {
        T a = T.Load(sums), b = T.Load(sums + 16), c = T.Load(sums + 32), d = T.Load(sums + 48);
        for (int r = 0; r < rows; r++)
        {
            Fetch(next[r], column, 64);
            T weight = T.Broadcast(weights[r]);
            byte* row = values[r];
            a = T.Fma(weight, Load(row, column), a);
            b = T.Fma(weight, Load(row, column + 16), b);
            c = T.Fma(weight, Load(row, column + 32), c);
            d = T.Fma(weight, Load(row, column + 48), d);
        }

        a.Store(sums);
        b.Store(sums + 16);
        c.Store(sums + 32);
        d.Store(sums + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TwoByFour(float* weights, byte** values, int rows, byte** next, nint column, float* sums, int stateFloats)
    {
        float* sumsB = sums + stateFloats;
        T a0 = T.Load(sums), a1 = T.Load(sums + 16), a2 = T.Load(sums + 32), a3 = T.Load(sums + 48);
        T b0 = T.Load(sumsB), b1 = T.Load(sumsB + 16), b2 = T.Load(sumsB + 32), b3 = T.Load(sumsB + 48);
        for (int r = 0; r < rows; r++)
        {
            Fetch(next[r], column, 64);
            T weight = T.Broadcast(weights[r]);
            T other = T.Broadcast(weights[r + TileRows]);
            byte* row = values[r];
            T v = Load(row, column);
            a0 = T.Fma(weight, v, a0);
            b0 = T.Fma(other, v, b0);
            v = Load(row, column + 16);
            a1 = T.Fma(weight, v, a1);
            b1 = T.Fma(other, v, b1);
            v = Load(row, column + 32);
            a2 = T.Fma(weight, v, a2);
            b2 = T.Fma(other, v, b2);
            v = Load(row, column + 48);
            a3 = T.Fma(weight, v, a3);
            b3 = T.Fma(other, v, b3);
        }

        a0.Store(sums);
        a1.Store(sums + 16);
        a2.Store(sums + 32);
        a3.Store(sums + 48);
        b0.Store(sumsB);
        b1.Store(sumsB + 16);
        b2.Store(sumsB + 32);
        b3.Store(sumsB + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByTwo(float* weights, byte** values, int rows, byte** next, nint column, float* sums, int stateFloats)
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
            Fetch(next[r], column, 32);
            T v0 = Load(values[r], column), v1 = Load(values[r], column + 16);
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
