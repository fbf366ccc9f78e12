using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels.Integers;

/// <summary>
/// The products of a few queries with a block of rows of integers that are read where the cache keeps them, each once. All sums are exact, so each tier
/// adds as it likes. As in <see cref="CachedRows{T, TValues}"/>, the rows that are needed next are asked for one by one between the products of these.
/// </summary>
/// <remarks>Sizes are multiples of 32; a row of weights, scores or scales has 64 places.</remarks>
internal static unsafe class IntegerProducts<T>
    where T : unmanaged, ILanes<T>
{
    private const int BlockKeys = IntegerArithmetic.BlockKeys;

    /// <summary>scores[q, k] = query q . key k.</summary>
    /// <param name="queries">Query rows, one behind the other.</param>
    /// <param name="count">Number of queries.</param>
    /// <param name="keys">Where the keys are.</param>
    /// <param name="keyCount">Number of keys; a multiple of four.</param>
    /// <param name="next">Rows that are needed next, as many.</param>
    /// <param name="size">Values in a row.</param>
    /// <param name="scores">Receives rows of 64.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Score(short* queries, int count, short** keys, int keyCount, short** next, int size, int* scores)
    {
        for (int k = 0; k < keyCount; k += 4)
        {
            int q = 0;
            if (typeof(T) != typeof(LanesPortable))
            {
                for (; q + 2 <= count; q += 2)
                {
                    ScoreTwo(queries + (q * size), keys + k, (q == 0 ? next : keys) + k, size, scores + (q * BlockKeys) + k);
                }
            }

            for (; q < count; q++)
            {
                ScoreOne(queries + (q * size), keys + k, (q == 0 ? next : keys) + k, size, scores + (q * BlockKeys) + k);
            }
        }
    }

    /// <summary>Adds the weighted values of a block to every query's state.</summary>
    /// <param name="weights">64 weights for each query.</param>
    /// <param name="units">For each query, what a weight of one is worth.</param>
    /// <param name="count">Number of queries.</param>
    /// <param name="values">Where the value rows are.</param>
    /// <param name="rows">Number of value rows; even.</param>
    /// <param name="next">Rows that are needed next, as many.</param>
    /// <param name="size">Values in a row.</param>
    /// <param name="states">The queries' states.</param>
    /// <param name="stateFloats">Floats of a state, see <see cref="AttentionTiles.StateFloats"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddValues(short* weights, float* units, int count, short** values, int rows, short** next, int size, float* states, int stateFloats)
    {
        int q = 0;
        if (typeof(T) == typeof(Lanes512))
        {
            for (; q + 2 <= count; q += 2)
            {
                short** ahead = q == 0 ? next : values;
                int d = 0;
                for (; d + 64 <= size; d += 64)
                {
                    AddTwo(weights + (q * BlockKeys), units + q, values, rows, ahead, d, states + ((long)q * stateFloats), stateFloats);
                }

                for (int i = 0; i < 2 && d < size; i++)
                {
                    AddOne(weights + ((q + i) * BlockKeys), units[q + i], values, rows, ahead, d, states + ((long)(q + i) * stateFloats), stateFloats);
                }
            }
        }
        else if (typeof(T) == typeof(Lanes256))
        {
            for (; q + 2 <= count; q += 2)
            {
                for (int d = 0; d < size; d += 32)
                {
                    AddTwoNarrow(weights + (q * BlockKeys), units + q, values, rows, q == 0 ? next : values, d, states + ((long)q * stateFloats), stateFloats);
                }
            }
        }

        for (; q < count; q++)
        {
            for (int d = 0; d < size; d += 32)
            {
                AddOne(weights + (q * BlockKeys), units[q], values, rows, q == 0 ? next : values, d, states + ((long)q * stateFloats), stateFloats);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fetch(short* row, nint column)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(row + column);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreOne(short* query, short** keys, short** next, int size, int* scores)
    {
        if (typeof(T) == typeof(Lanes512))
        {
            Vector512<int> a = default, b = default, c = default, d = default;
            for (nint i = 0; i < size; i += 32)
            {
                Fetch(next[0], i);
                Fetch(next[1], i);
                Fetch(next[2], i);
                Fetch(next[3], i);
                Vector512<short> q = Vector512.Load(query + i);
                a += Avx512BW.MultiplyAddAdjacent(q, Vector512.Load(keys[0] + i));
                b += Avx512BW.MultiplyAddAdjacent(q, Vector512.Load(keys[1] + i));
                c += Avx512BW.MultiplyAddAdjacent(q, Vector512.Load(keys[2] + i));
                d += Avx512BW.MultiplyAddAdjacent(q, Vector512.Load(keys[3] + i));
            }

            Sums(a, b, c, d).Store(scores);
        }
        else if (typeof(T) == typeof(Lanes256))
        {
            Vector256<int> a = default, b = default, c = default, d = default;
            for (nint i = 0; i < size; i += 16)
            {
                Fetch(next[0], i);
                Fetch(next[1], i);
                Fetch(next[2], i);
                Fetch(next[3], i);
                Vector256<short> q = Vector256.Load(query + i);
                a += Avx2.MultiplyAddAdjacent(q, Vector256.Load(keys[0] + i));
                b += Avx2.MultiplyAddAdjacent(q, Vector256.Load(keys[1] + i));
                c += Avx2.MultiplyAddAdjacent(q, Vector256.Load(keys[2] + i));
                d += Avx2.MultiplyAddAdjacent(q, Vector256.Load(keys[3] + i));
            }

            Sums(a, b, c, d).Store(scores);
        }
        else
        {
            for (int k = 0; k < 4; k++)
            {
                int sum = 0;
                for (int i = 0; i < size; i++)
                {
                    sum += query[i] * keys[k][i];
                }

                scores[k] = sum;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreTwo(short* query, short** keys, short** next, int size, int* scores)
    {
        if (typeof(T) == typeof(Lanes256))
        {
            ScoreTwoNarrow(query, keys, next, size, scores);
            return;
        }

        Vector512<int> a = default, b = default, c = default, d = default;
        Vector512<int> e = default, f = default, g = default, h = default;
        short* other = query + size;
        short* first = keys[0];
        short* second = keys[1];
        short* third = keys[2];
        short* fourth = keys[3];
        short* nextFirst = next[0];
        short* nextSecond = next[1];
        short* nextThird = next[2];
        short* nextFourth = next[3];
        for (nint i = 0; i < size; i += 32)
        {
            Fetch(nextFirst, i);
            Fetch(nextSecond, i);
            Fetch(nextThird, i);
            Fetch(nextFourth, i);
            Vector512<short> q = Vector512.Load(query + i);
            Vector512<short> r = Vector512.Load(other + i);
            Vector512<short> k = Vector512.Load(first + i);
            a += Avx512BW.MultiplyAddAdjacent(q, k);
            e += Avx512BW.MultiplyAddAdjacent(r, k);
            k = Vector512.Load(second + i);
            b += Avx512BW.MultiplyAddAdjacent(q, k);
            f += Avx512BW.MultiplyAddAdjacent(r, k);
            k = Vector512.Load(third + i);
            c += Avx512BW.MultiplyAddAdjacent(q, k);
            g += Avx512BW.MultiplyAddAdjacent(r, k);
            k = Vector512.Load(fourth + i);
            d += Avx512BW.MultiplyAddAdjacent(q, k);
            h += Avx512BW.MultiplyAddAdjacent(r, k);
        }

        Sums(a, b, c, d).Store(scores);
        Sums(e, f, g, h).Store(scores + BlockKeys);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreTwoNarrow(short* query, short** keys, short** next, int size, int* scores)
    {
        Vector256<int> a = default, b = default, c = default, d = default;
        Vector256<int> e = default, f = default, g = default, h = default;
        short* other = query + size;
        short* first = keys[0];
        short* second = keys[1];
        short* third = keys[2];
        short* fourth = keys[3];
        for (nint i = 0; i < size; i += 32)
        {
            Fetch(next[0], i);
            Fetch(next[1], i);
            Fetch(next[2], i);
            Fetch(next[3], i);
            for (nint at = i; at < i + 32; at += 16)
            {
                Vector256<short> q = Vector256.Load(query + at);
                Vector256<short> r = Vector256.Load(other + at);
                Vector256<short> k = Vector256.Load(first + at);
                a += Avx2.MultiplyAddAdjacent(q, k);
                e += Avx2.MultiplyAddAdjacent(r, k);
                k = Vector256.Load(second + at);
                b += Avx2.MultiplyAddAdjacent(q, k);
                f += Avx2.MultiplyAddAdjacent(r, k);
                k = Vector256.Load(third + at);
                c += Avx2.MultiplyAddAdjacent(q, k);
                g += Avx2.MultiplyAddAdjacent(r, k);
                k = Vector256.Load(fourth + at);
                d += Avx2.MultiplyAddAdjacent(q, k);
                h += Avx2.MultiplyAddAdjacent(r, k);
            }
        }

        Sums(a, b, c, d).Store(scores);
        Sums(e, f, g, h).Store(scores + BlockKeys);
    }

    /// <summary>The sums of four vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Sums(Vector256<int> a, Vector256<int> b, Vector256<int> c, Vector256<int> d)
    {
        Vector256<int> sums = Avx2.HorizontalAdd(Avx2.HorizontalAdd(a, b), Avx2.HorizontalAdd(c, d));
        return sums.GetLower() + sums.GetUpper();
    }

    /// <summary>The sums of four vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<int> Sums(Vector512<int> a, Vector512<int> b, Vector512<int> c, Vector512<int> d)
    {
        Vector512<long> low = (Avx512F.UnpackLow(a, b) + Avx512F.UnpackHigh(a, b)).AsInt64();
        Vector512<long> high = (Avx512F.UnpackLow(c, d) + Avx512F.UnpackHigh(c, d)).AsInt64();
        Vector512<int> all = Avx512F.UnpackLow(low, high).AsInt32() + Avx512F.UnpackHigh(low, high).AsInt32();
        Vector256<int> half = all.GetLower() + all.GetUpper();
        return half.GetLower() + half.GetUpper();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddOne(short* weights, float unit, short** values, int rows, short** next, nint column, float* state, int stateFloats)
    {
        float* sums = state + 16 + column;
        if (typeof(T) == typeof(Lanes512))
        {
            Vector512<int> low = default, high = default;
            for (int r = 0; r < rows; r += 2)
            {
                Fetch(next[r], column);
                Fetch(next[r + 1], column);
                Vector512<short> first = Vector512.Load(values[r] + column);
                Vector512<short> second = Vector512.Load(values[r + 1] + column);
                Vector512<short> weight = Vector512.Create(*(int*)(weights + r)).AsInt16();
                low += Avx512BW.MultiplyAddAdjacent(Avx512BW.UnpackLow(first, second), weight);
                high += Avx512BW.MultiplyAddAdjacent(Avx512BW.UnpackHigh(first, second), weight);
            }

            Add(low, high, unit, sums, column + 32 <= stateFloats - 16);
        }
        else if (typeof(T) == typeof(Lanes256))
        {
            for (int half = 0; half < 32 && column + half < stateFloats - 16; half += 16)
            {
                Vector256<int> low = default, high = default;
                for (int r = 0; r < rows; r += 2)
                {
                    Fetch(next[r], column + half);
                    Fetch(next[r + 1], column + half);
                    Vector256<short> first = Vector256.Load(values[r] + column + half);
                    Vector256<short> second = Vector256.Load(values[r + 1] + column + half);
                    Vector256<short> weight = Vector256.Create(*(int*)(weights + r)).AsInt16();
                    low += Avx2.MultiplyAddAdjacent(Avx2.UnpackLow(first, second), weight);
                    high += Avx2.MultiplyAddAdjacent(Avx2.UnpackHigh(first, second), weight);
                }

                Add(low, high, unit, sums + half);
            }
        }
        else
        {
            for (nint d = 0; d < 32 && column + d < stateFloats - 16; d++)
            {
                int sum = 0;
                for (int r = 0; r < rows; r++)
                {
                    sum += weights[r] * values[r][column + d];
                }

                sums[d] = MathF.FusedMultiplyAdd(sum, unit, sums[d]);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddTwo(short* weights, float* units, short** values, int rows, short** next, nint column, float* states, int stateFloats)
    {
        Vector512<int> a0 = default, a1 = default, a2 = default, a3 = default;
        Vector512<int> b0 = default, b1 = default, b2 = default, b3 = default;
        for (int r = 0; r < rows; r += 2)
        {
            short* first = values[r] + column;
            short* second = values[r + 1] + column;
            Fetch(next[r], column);
            Fetch(next[r], column + 32);
            Fetch(next[r + 1], column);
            Fetch(next[r + 1], column + 32);
            Vector512<short> x = Vector512.Load(first);
            Vector512<short> y = Vector512.Load(second);
            Vector512<short> low = Avx512BW.UnpackLow(x, y);
            Vector512<short> high = Avx512BW.UnpackHigh(x, y);
            Vector512<short> weight = Vector512.Create(*(int*)(weights + r)).AsInt16();
            Vector512<short> other = Vector512.Create(*(int*)(weights + r + BlockKeys)).AsInt16();
            a0 += Avx512BW.MultiplyAddAdjacent(low, weight);
            a1 += Avx512BW.MultiplyAddAdjacent(high, weight);
            b0 += Avx512BW.MultiplyAddAdjacent(low, other);
            b1 += Avx512BW.MultiplyAddAdjacent(high, other);
            x = Vector512.Load(first + 32);
            y = Vector512.Load(second + 32);
            low = Avx512BW.UnpackLow(x, y);
            high = Avx512BW.UnpackHigh(x, y);
            a2 += Avx512BW.MultiplyAddAdjacent(low, weight);
            a3 += Avx512BW.MultiplyAddAdjacent(high, weight);
            b2 += Avx512BW.MultiplyAddAdjacent(low, other);
            b3 += Avx512BW.MultiplyAddAdjacent(high, other);
        }

        float* sums = states + 16 + column;
        bool whole = column + 64 <= stateFloats - 16;
        Add(a0, a1, units[0], sums, true);
        Add(a2, a3, units[0], sums + 32, whole);
        Add(b0, b1, units[1], sums + stateFloats, true);
        Add(b2, b3, units[1], sums + stateFloats + 32, whole);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddTwoNarrow(short* weights, float* units, short** values, int rows, short** next, nint column, float* states, int stateFloats)
    {
        bool whole = column + 32 <= stateFloats - 16;
        Vector256<int> a0 = default, a1 = default, a2 = default, a3 = default;
        Vector256<int> b0 = default, b1 = default, b2 = default, b3 = default;
        for (int r = 0; r < rows; r += 2)
        {
            short* first = values[r] + column;
            short* second = values[r + 1] + column;
            Fetch(next[r], column);
            Fetch(next[r + 1], column);
            Vector256<short> weight = Vector256.Create(*(int*)(weights + r)).AsInt16();
            Vector256<short> other = Vector256.Create(*(int*)(weights + r + BlockKeys)).AsInt16();
            Vector256<short> x = Vector256.Load(first);
            Vector256<short> y = Vector256.Load(second);
            Vector256<short> low = Avx2.UnpackLow(x, y);
            Vector256<short> high = Avx2.UnpackHigh(x, y);
            a0 += Avx2.MultiplyAddAdjacent(low, weight);
            a1 += Avx2.MultiplyAddAdjacent(high, weight);
            b0 += Avx2.MultiplyAddAdjacent(low, other);
            b1 += Avx2.MultiplyAddAdjacent(high, other);
            x = Vector256.Load(first + 16);
            y = Vector256.Load(second + 16);
            low = Avx2.UnpackLow(x, y);
            high = Avx2.UnpackHigh(x, y);
            a2 += Avx2.MultiplyAddAdjacent(low, weight);
            a3 += Avx2.MultiplyAddAdjacent(high, weight);
            b2 += Avx2.MultiplyAddAdjacent(low, other);
            b3 += Avx2.MultiplyAddAdjacent(high, other);
        }

        float* sums = states + 16 + column;
        Add(a0, a1, units[0], sums);
        Add(b0, b1, units[1], sums + stateFloats);
        if (whole)
        {
            Add(a2, a3, units[0], sums + 16);
            Add(b2, b3, units[1], sums + stateFloats + 16);
        }
    }

    /// <summary>Adds sums of 16 columns, which come as unpacking leaves them, to a state.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(Vector256<int> low, Vector256<int> high, float unit, float* sums)
    {
        Vector256<float> units = Vector256.Create(unit);
        Fma.MultiplyAdd(Vector256.ConvertToSingle(Avx2.Permute2x128(low, high, 0x20)), units, Vector256.Load(sums)).Store(sums);
        Fma.MultiplyAdd(Vector256.ConvertToSingle(Avx2.Permute2x128(low, high, 0x31)), units, Vector256.Load(sums + 8)).Store(sums + 8);
    }

    /// <summary>Adds sums of 32 columns, which come as unpacking leaves them, to a state.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(Vector512<int> low, Vector512<int> high, float unit, float* sums, bool whole)
    {
        Vector512<float> units = Vector512.Create(unit);
        Vector512<int> first = Avx512F.PermuteVar16x32x2(low, Vector512.Create(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23), high);
        Avx512F.FusedMultiplyAdd(Vector512.ConvertToSingle(first), units, Vector512.Load(sums)).Store(sums);
        if (whole)
        {
            Vector512<int> second = Avx512F.PermuteVar16x32x2(low, Vector512.Create(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31), high);
            Avx512F.FusedMultiplyAdd(Vector512.ConvertToSingle(second), units, Vector512.Load(sums + 16)).Store(sums + 16);
        }
    }
}
