using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>
/// The inner loops of attention for many queries: sixteen queries in the lanes of a vector, keys and values broadcast. Nothing is added across lanes,
/// and the softmax is computed for sixteen queries at once. Sums have the order that <see cref="PagedAttention"/> fixes: that of <see cref="FewQueries{T}"/>.
/// </summary>
internal static unsafe class QueryLanes<T>
    where T : unmanaged, ILanes<T>
{
    private const int TileRows = AttentionTiles.TileRows;

    /// <summary>Floats that <see cref="Score"/> and <see cref="Weigh"/> need for sums that wait: four levels of a tree, twenty-four vectors each.</summary>
    public const int TemporaryFloats = 4 * 24 * 16;

    /// <summary>How many of the queries that are left a group should take, in lanes: up to three vectors where there are registers enough.</summary>
    /// <param name="left">Lanes left, a multiple of 16.</param>
    public static int Width(int left) => typeof(T) != typeof(Lanes512) || left == 16 ? 16 : left is 32 or 64 ? 32 : 48;

    /// <summary>scores[k, q] = scale * (query q . key k), sixteen sums (number i takes values i, i + 16, …) added as <see cref="ILanes{T}.Sum"/> does.</summary>
    /// <param name="queries">[size, width], aligned to 64 bytes.</param>
    /// <param name="width">Queries in the group, see <see cref="Width"/>.</param>
    /// <param name="keys">Rows of keys.</param>
    /// <param name="keyCount">How many; a multiple of <see cref="TileReader{T}.RowStep"/>.</param>
    /// <param name="size">Floats in a row; a multiple of 16.</param>
    /// <param name="scale">Factor.</param>
    /// <param name="scores">Receives [key, width].</param>
    /// <param name="temporary">Room for <see cref="TemporaryFloats"/>.</param>
    public static void Score(float* queries, int width, float* keys, int keyCount, int size, float scale, float* scores, float* temporary)
    {
        if (width == 48)
        {
            for (int k = 0; k < keyCount; k += 8)
            {
                ScoreEightByThree(queries, keys + ((long)k * size), size, scale, scores + (k * 48), temporary);
            }
        }
        else if (width == 32)
        {
            for (int k = 0; k < keyCount; k += 8)
            {
                ScoreEightByTwo(queries, keys + ((long)k * size), size, scale, scores + (k * 32), temporary);
            }
        }
        else
        {
            for (int k = 0; k < keyCount; k += 4)
            {
                ScoreFourByOne(queries, keys + ((long)k * size), size, scale, scores + (k * 16), temporary);
            }
        }
    }

    /// <summary>Takes a tile of scores into the states of a group and turns them into weights.</summary>
    /// <param name="scores">[32, width], minus infinity where nothing is visible; receives the weights.</param>
    /// <param name="width">Queries in the group.</param>
    /// <param name="greatest">Greatest score of each query so far.</param>
    /// <param name="sums">Sum of exponentials of each query.</param>
    /// <param name="factors">Receives what each query's weighted sum must be multiplied with first.</param>
    /// <param name="tree">Room for <see cref="TemporaryFloats"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Weigh(float* scores, int width, float* greatest, float* sums, float* factors, float* tree)
    {
        for (int lane = 0; lane < width; lane += 16)
        {
            float* column = scores + lane;
            T before = T.Load(greatest + lane);
            T a = before, b = before, c = before, d = before;
            for (int k = 0; k < TileRows; k += 4)
            {
                a = T.Max(T.Load(column + (k * width)), a);
                b = T.Max(T.Load(column + ((k + 1) * width)), b);
                c = T.Max(T.Load(column + ((k + 2) * width)), c);
                d = T.Max(T.Load(column + ((k + 3) * width)), d);
            }

            // A query that has seen nothing yet subtracts nothing: its weights are zero, and its factor multiplies zeros.
            T after = T.Max(T.Max(a, b), T.Max(c, d));
            T shift = T.IfLess(T.Broadcast(float.NegativeInfinity), after, after, T.Zero);
            for (int k = 0; k < 16; k++)
            {
                float* low = column + (k * width);
                float* high = column + ((k + 16) * width);
                T first = LaneMath<T>.Exp(T.Load(low) - shift);
                T second = LaneMath<T>.Exp(T.Load(high) - shift);
                first.Store(low);
                second.Store(high);
                (first + second).Store(tree + (k * 16));
            }

            for (int half = 8; half > 0; half /= 2)
            {
                for (int k = 0; k < half; k++)
                {
                    (T.Load(tree + (k * 16)) + T.Load(tree + ((k + half) * 16))).Store(tree + (k * 16));
                }
            }

            T factor = LaneMath<T>.Exp(before - shift);
            T.Fma(T.Load(sums + lane), factor, T.Load(tree)).Store(sums + lane);
            after.Store(greatest + lane);
            factor.Store(factors + lane);
        }
    }

    /// <summary>outputs[d, q] = factor[q] * outputs[d, q] + the sum over the tile of weight[r, q] * value[r, d], row after row.</summary>
    /// <param name="weights">[32, width].</param>
    /// <param name="width">Queries in the group.</param>
    /// <param name="factors">A factor for each query.</param>
    /// <param name="values">Rows of values.</param>
    /// <param name="rows">How many.</param>
    /// <param name="stride">Floats between two rows.</param>
    /// <param name="size">Floats of a row that count; a multiple of 16.</param>
    /// <param name="outputs">[size, width].</param>
    public static void AddValues(float* weights, int width, float* factors, float* values, int rows, int stride, int size, float* outputs)
    {
        if (width == 48)
        {
            for (int d = 0; d < size; d += 8)
            {
                AddEightByThree(weights, factors, values + d, rows, stride, outputs + (d * 48));
            }
        }
        else if (width == 32)
        {
            for (int d = 0; d < size; d += 8)
            {
                AddEightByTwo(weights, factors, values + d, rows, stride, outputs + (d * 32));
            }
        }
        else
        {
            for (int d = 0; d < size; d += 4)
            {
                AddFourByOne(weights, factors, values + d, rows, stride, outputs + (d * 16));
            }
        }
    }

    /// <summary>Adds a later segment's states to those of the segments before it.</summary>
    /// <param name="width">Queries in the group.</param>
    /// <param name="size">Floats of an output.</param>
    /// <param name="greatest">Greatest score of each query.</param>
    /// <param name="sums">Sum of exponentials of each query.</param>
    /// <param name="outputs">[size, width].</param>
    /// <param name="segmentGreatest">The segment's.</param>
    /// <param name="segmentSums">The segment's.</param>
    /// <param name="segmentOutputs">The segment's.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Merge(
        int width, int size, float* greatest, float* sums, float* outputs, float* segmentGreatest, float* segmentSums, float* segmentOutputs)
    {
        T nothing = T.Broadcast(float.NegativeInfinity);
        for (int lane = 0; lane < width; lane += 16)
        {
            T before = T.Load(greatest + lane);
            T segment = T.Load(segmentGreatest + lane);
            T after = T.Max(segment, before);
            T shift = T.IfLess(nothing, after, after, T.Zero);
            T first = LaneMath<T>.Exp(before - shift);
            T second = LaneMath<T>.Exp(segment - shift);
            after.Store(greatest + lane);
            T sum = T.Load(sums + lane);
            T.IfLess(nothing, segment, T.Fma(T.Load(segmentSums + lane), second, sum * first), sum).Store(sums + lane);
            for (int d = lane; d < size * width; d += width)
            {
                T output = T.Load(outputs + d);
                T.IfLess(nothing, segment, T.Fma(T.Load(segmentOutputs + d), second, output * first), output).Store(outputs + d);
            }
        }
    }

    // The sums of one of the sixteen places at a time. They are visited in an order (0, 8, 4, 12, 2, …) in which every two sums that belong together
    // follow each other, so that the tree of additions needs one set of waiting sums for each of its levels. Three vectors of queries, because loads are
    // the scarcest: eleven for twenty-four products.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreEightByThree(float* queries, float* keys, int size, float scale, float* scores, float* temporary)
    {
        float* end = keys + size;
        for (int place = 0; place < 16; place++)
        {
            T a0 = T.Zero, a1 = T.Zero, a2 = T.Zero, b0 = T.Zero, b1 = T.Zero, b2 = T.Zero;
            T c0 = T.Zero, c1 = T.Zero, c2 = T.Zero, d0 = T.Zero, d1 = T.Zero, d2 = T.Zero;
            T e0 = T.Zero, e1 = T.Zero, e2 = T.Zero, f0 = T.Zero, f1 = T.Zero, f2 = T.Zero;
            T g0 = T.Zero, g1 = T.Zero, g2 = T.Zero, h0 = T.Zero, h1 = T.Zero, h2 = T.Zero;
            int start = Place(place);
            float* query = queries + (start * 48);
            float* k0 = keys + start;
            float* k3 = k0 + (3L * size);
            float* k6 = k3 + (3L * size);
            for (; k0 < end; k0 += 16, k3 += 16, k6 += 16, query += 16 * 48)
            {
                T q0 = T.Load(query);
                T q1 = T.Load(query + 16);
                T q2 = T.Load(query + 32);
                T key = T.Broadcast(k0[0]);
                a0 = T.Fma(key, q0, a0);
                a1 = T.Fma(key, q1, a1);
                a2 = T.Fma(key, q2, a2);
                key = T.Broadcast(k0[(nint)size]);
                b0 = T.Fma(key, q0, b0);
                b1 = T.Fma(key, q1, b1);
                b2 = T.Fma(key, q2, b2);
                key = T.Broadcast(k0[2 * (nint)size]);
                c0 = T.Fma(key, q0, c0);
                c1 = T.Fma(key, q1, c1);
                c2 = T.Fma(key, q2, c2);
                key = T.Broadcast(k3[0]);
                d0 = T.Fma(key, q0, d0);
                d1 = T.Fma(key, q1, d1);
                d2 = T.Fma(key, q2, d2);
                key = T.Broadcast(k3[(nint)size]);
                e0 = T.Fma(key, q0, e0);
                e1 = T.Fma(key, q1, e1);
                e2 = T.Fma(key, q2, e2);
                key = T.Broadcast(k3[2 * (nint)size]);
                f0 = T.Fma(key, q0, f0);
                f1 = T.Fma(key, q1, f1);
                f2 = T.Fma(key, q2, f2);
                key = T.Broadcast(k6[0]);
                g0 = T.Fma(key, q0, g0);
                g1 = T.Fma(key, q1, g1);
                g2 = T.Fma(key, q2, g2);
                key = T.Broadcast(k6[(nint)size]);
                h0 = T.Fma(key, q0, h0);
                h1 = T.Fma(key, q1, h1);
                h2 = T.Fma(key, q2, h2);
            }

            float* waiting = temporary;
            for (int rest = place; (rest & 1) != 0; rest >>= 1, waiting += 24 * 16)
            {
                a0 += T.Load(waiting);
                a1 += T.Load(waiting + 16);
                a2 += T.Load(waiting + 32);
                b0 += T.Load(waiting + 48);
                b1 += T.Load(waiting + 64);
                b2 += T.Load(waiting + 80);
                c0 += T.Load(waiting + 96);
                c1 += T.Load(waiting + 112);
                c2 += T.Load(waiting + 128);
                d0 += T.Load(waiting + 144);
                d1 += T.Load(waiting + 160);
                d2 += T.Load(waiting + 176);
                e0 += T.Load(waiting + 192);
                e1 += T.Load(waiting + 208);
                e2 += T.Load(waiting + 224);
                f0 += T.Load(waiting + 240);
                f1 += T.Load(waiting + 256);
                f2 += T.Load(waiting + 272);
                g0 += T.Load(waiting + 288);
                g1 += T.Load(waiting + 304);
                g2 += T.Load(waiting + 320);
                h0 += T.Load(waiting + 336);
                h1 += T.Load(waiting + 352);
                h2 += T.Load(waiting + 368);
            }

            if (place == 15)
            {
                T factor = T.Broadcast(scale);
                a0 *= factor;
                a1 *= factor;
                a2 *= factor;
                b0 *= factor;
                b1 *= factor;
                b2 *= factor;
                c0 *= factor;
                c1 *= factor;
                c2 *= factor;
                d0 *= factor;
                d1 *= factor;
                d2 *= factor;
                e0 *= factor;
                e1 *= factor;
                e2 *= factor;
                f0 *= factor;
                f1 *= factor;
                f2 *= factor;
                g0 *= factor;
                g1 *= factor;
                g2 *= factor;
                h0 *= factor;
                h1 *= factor;
                h2 *= factor;
                waiting = scores;
            }

            a0.Store(waiting);
            a1.Store(waiting + 16);
            a2.Store(waiting + 32);
            b0.Store(waiting + 48);
            b1.Store(waiting + 64);
            b2.Store(waiting + 80);
            c0.Store(waiting + 96);
            c1.Store(waiting + 112);
            c2.Store(waiting + 128);
            d0.Store(waiting + 144);
            d1.Store(waiting + 160);
            d2.Store(waiting + 176);
            e0.Store(waiting + 192);
            e1.Store(waiting + 208);
            e2.Store(waiting + 224);
            f0.Store(waiting + 240);
            f1.Store(waiting + 256);
            f2.Store(waiting + 272);
            g0.Store(waiting + 288);
            g1.Store(waiting + 304);
            g2.Store(waiting + 320);
            h0.Store(waiting + 336);
            h1.Store(waiting + 352);
            h2.Store(waiting + 368);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreEightByTwo(float* queries, float* keys, int size, float scale, float* scores, float* temporary)
    {
        float* end = keys + size;
        for (int place = 0; place < 16; place++)
        {
            T a0 = T.Zero, a1 = T.Zero, b0 = T.Zero, b1 = T.Zero, c0 = T.Zero, c1 = T.Zero, d0 = T.Zero, d1 = T.Zero;
            T e0 = T.Zero, e1 = T.Zero, f0 = T.Zero, f1 = T.Zero, g0 = T.Zero, g1 = T.Zero, h0 = T.Zero, h1 = T.Zero;
            int start = Place(place);
            float* query = queries + (start * 32);
            float* k0 = keys + start;
            float* k3 = k0 + (3L * size);
            float* k6 = k3 + (3L * size);
            for (; k0 < end; k0 += 16, k3 += 16, k6 += 16, query += 16 * 32)
            {
                T q0 = T.Load(query);
                T q1 = T.Load(query + 16);
                T key = T.Broadcast(k0[0]);
                a0 = T.Fma(key, q0, a0);
                a1 = T.Fma(key, q1, a1);
                key = T.Broadcast(k0[(nint)size]);
                b0 = T.Fma(key, q0, b0);
                b1 = T.Fma(key, q1, b1);
                key = T.Broadcast(k0[2 * (nint)size]);
                c0 = T.Fma(key, q0, c0);
                c1 = T.Fma(key, q1, c1);
                key = T.Broadcast(k3[0]);
                d0 = T.Fma(key, q0, d0);
                d1 = T.Fma(key, q1, d1);
                key = T.Broadcast(k3[(nint)size]);
                e0 = T.Fma(key, q0, e0);
                e1 = T.Fma(key, q1, e1);
                key = T.Broadcast(k3[2 * (nint)size]);
                f0 = T.Fma(key, q0, f0);
                f1 = T.Fma(key, q1, f1);
                key = T.Broadcast(k6[0]);
                g0 = T.Fma(key, q0, g0);
                g1 = T.Fma(key, q1, g1);
                key = T.Broadcast(k6[(nint)size]);
                h0 = T.Fma(key, q0, h0);
                h1 = T.Fma(key, q1, h1);
            }

            float* waiting = temporary;
            for (int rest = place; (rest & 1) != 0; rest >>= 1, waiting += 16 * 16)
            {
                a0 += T.Load(waiting);
                a1 += T.Load(waiting + 16);
                b0 += T.Load(waiting + 32);
                b1 += T.Load(waiting + 48);
                c0 += T.Load(waiting + 64);
                c1 += T.Load(waiting + 80);
                d0 += T.Load(waiting + 96);
                d1 += T.Load(waiting + 112);
                e0 += T.Load(waiting + 128);
                e1 += T.Load(waiting + 144);
                f0 += T.Load(waiting + 160);
                f1 += T.Load(waiting + 176);
                g0 += T.Load(waiting + 192);
                g1 += T.Load(waiting + 208);
                h0 += T.Load(waiting + 224);
                h1 += T.Load(waiting + 240);
            }

            if (place == 15)
            {
                T factor = T.Broadcast(scale);
                a0 *= factor;
                a1 *= factor;
                b0 *= factor;
                b1 *= factor;
                c0 *= factor;
                c1 *= factor;
                d0 *= factor;
                d1 *= factor;
                e0 *= factor;
                e1 *= factor;
                f0 *= factor;
                f1 *= factor;
                g0 *= factor;
                g1 *= factor;
                h0 *= factor;
                h1 *= factor;
                waiting = scores;
            }

            a0.Store(waiting);
            a1.Store(waiting + 16);
            b0.Store(waiting + 32);
            b1.Store(waiting + 48);
            c0.Store(waiting + 64);
            c1.Store(waiting + 80);
            d0.Store(waiting + 96);
            d1.Store(waiting + 112);
            e0.Store(waiting + 128);
            e1.Store(waiting + 144);
            f0.Store(waiting + 160);
            f1.Store(waiting + 176);
            g0.Store(waiting + 192);
            g1.Store(waiting + 208);
            h0.Store(waiting + 224);
            h1.Store(waiting + 240);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreFourByOne(float* queries, float* keys, int size, float scale, float* scores, float* temporary)
    {
        float* end = keys + size;
        for (int place = 0; place < 16; place++)
        {
            T a = T.Zero, b = T.Zero, c = T.Zero, d = T.Zero;
            int start = Place(place);
            float* query = queries + (start * 16);
            float* k0 = keys + start;
            float* k3 = k0 + (3L * size);
            for (; k0 < end; k0 += 16, k3 += 16, query += 16 * 16)
            {
                T q = T.Load(query);
                a = T.Fma(T.Broadcast(k0[0]), q, a);
                b = T.Fma(T.Broadcast(k0[(nint)size]), q, b);
                c = T.Fma(T.Broadcast(k0[2 * (nint)size]), q, c);
                d = T.Fma(T.Broadcast(k3[0]), q, d);
            }

            float* waiting = temporary;
            for (int rest = place; (rest & 1) != 0; rest >>= 1, waiting += 4 * 16)
            {
                a += T.Load(waiting);
                b += T.Load(waiting + 16);
                c += T.Load(waiting + 32);
                d += T.Load(waiting + 48);
            }

            if (place == 15)
            {
                T factor = T.Broadcast(scale);
                a *= factor;
                b *= factor;
                c *= factor;
                d *= factor;
                waiting = scores;
            }

            a.Store(waiting);
            b.Store(waiting + 16);
            c.Store(waiting + 32);
            d.Store(waiting + 48);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddEightByThree(float* weights, float* factors, float* values, int rows, int stride, float* outputs)
    {
        T w0 = T.Load(factors);
        T w1 = T.Load(factors + 16);
        T w2 = T.Load(factors + 32);
        T a0 = T.Load(outputs) * w0, a1 = T.Load(outputs + 16) * w1, a2 = T.Load(outputs + 32) * w2;
        T b0 = T.Load(outputs + 48) * w0, b1 = T.Load(outputs + 64) * w1, b2 = T.Load(outputs + 80) * w2;
        T c0 = T.Load(outputs + 96) * w0, c1 = T.Load(outputs + 112) * w1, c2 = T.Load(outputs + 128) * w2;
        T d0 = T.Load(outputs + 144) * w0, d1 = T.Load(outputs + 160) * w1, d2 = T.Load(outputs + 176) * w2;
        T e0 = T.Load(outputs + 192) * w0, e1 = T.Load(outputs + 208) * w1, e2 = T.Load(outputs + 224) * w2;
        T f0 = T.Load(outputs + 240) * w0, f1 = T.Load(outputs + 256) * w1, f2 = T.Load(outputs + 272) * w2;
        T g0 = T.Load(outputs + 288) * w0, g1 = T.Load(outputs + 304) * w1, g2 = T.Load(outputs + 320) * w2;
        T h0 = T.Load(outputs + 336) * w0, h1 = T.Load(outputs + 352) * w1, h2 = T.Load(outputs + 368) * w2;
        for (int r = 0; r < rows; r++)
        {
            w0 = T.Load(weights);
            w1 = T.Load(weights + 16);
            w2 = T.Load(weights + 32);
            T value = T.Broadcast(values[0]);
            a0 = T.Fma(value, w0, a0);
            a1 = T.Fma(value, w1, a1);
            a2 = T.Fma(value, w2, a2);
            value = T.Broadcast(values[1]);
            b0 = T.Fma(value, w0, b0);
            b1 = T.Fma(value, w1, b1);
            b2 = T.Fma(value, w2, b2);
            value = T.Broadcast(values[2]);
            c0 = T.Fma(value, w0, c0);
            c1 = T.Fma(value, w1, c1);
            c2 = T.Fma(value, w2, c2);
            value = T.Broadcast(values[3]);
            d0 = T.Fma(value, w0, d0);
            d1 = T.Fma(value, w1, d1);
            d2 = T.Fma(value, w2, d2);
            value = T.Broadcast(values[4]);
            e0 = T.Fma(value, w0, e0);
            e1 = T.Fma(value, w1, e1);
            e2 = T.Fma(value, w2, e2);
            value = T.Broadcast(values[5]);
            f0 = T.Fma(value, w0, f0);
            f1 = T.Fma(value, w1, f1);
            f2 = T.Fma(value, w2, f2);
            value = T.Broadcast(values[6]);
            g0 = T.Fma(value, w0, g0);
            g1 = T.Fma(value, w1, g1);
            g2 = T.Fma(value, w2, g2);
            value = T.Broadcast(values[7]);
            h0 = T.Fma(value, w0, h0);
            h1 = T.Fma(value, w1, h1);
            h2 = T.Fma(value, w2, h2);
            weights += 48;
            values += stride;
        }

        a0.Store(outputs);
        a1.Store(outputs + 16);
        a2.Store(outputs + 32);
        b0.Store(outputs + 48);
        b1.Store(outputs + 64);
        b2.Store(outputs + 80);
        c0.Store(outputs + 96);
        c1.Store(outputs + 112);
        c2.Store(outputs + 128);
        d0.Store(outputs + 144);
        d1.Store(outputs + 160);
        d2.Store(outputs + 176);
        e0.Store(outputs + 192);
        e1.Store(outputs + 208);
        e2.Store(outputs + 224);
        f0.Store(outputs + 240);
        f1.Store(outputs + 256);
        f2.Store(outputs + 272);
        g0.Store(outputs + 288);
        g1.Store(outputs + 304);
        g2.Store(outputs + 320);
        h0.Store(outputs + 336);
        h1.Store(outputs + 352);
        h2.Store(outputs + 368);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddEightByTwo(float* weights, float* factors, float* values, int rows, int stride, float* outputs)
    {
        T f0 = T.Load(factors);
        T f1 = T.Load(factors + 16);
        T a0 = T.Load(outputs) * f0, a1 = T.Load(outputs + 16) * f1;
        T b0 = T.Load(outputs + 32) * f0, b1 = T.Load(outputs + 48) * f1;
        T c0 = T.Load(outputs + 64) * f0, c1 = T.Load(outputs + 80) * f1;
        T d0 = T.Load(outputs + 96) * f0, d1 = T.Load(outputs + 112) * f1;
        T e0 = T.Load(outputs + 128) * f0, e1 = T.Load(outputs + 144) * f1;
        T g0 = T.Load(outputs + 160) * f0, g1 = T.Load(outputs + 176) * f1;
        T h0 = T.Load(outputs + 192) * f0, h1 = T.Load(outputs + 208) * f1;
        T i0 = T.Load(outputs + 224) * f0, i1 = T.Load(outputs + 240) * f1;
        for (int r = 0; r < rows; r++)
        {
            T w0 = T.Load(weights);
            T w1 = T.Load(weights + 16);
            T value = T.Broadcast(values[0]);
            a0 = T.Fma(w0, value, a0);
            a1 = T.Fma(w1, value, a1);
            value = T.Broadcast(values[1]);
            b0 = T.Fma(w0, value, b0);
            b1 = T.Fma(w1, value, b1);
            value = T.Broadcast(values[2]);
            c0 = T.Fma(w0, value, c0);
            c1 = T.Fma(w1, value, c1);
            value = T.Broadcast(values[3]);
            d0 = T.Fma(w0, value, d0);
            d1 = T.Fma(w1, value, d1);
            value = T.Broadcast(values[4]);
            e0 = T.Fma(w0, value, e0);
            e1 = T.Fma(w1, value, e1);
            value = T.Broadcast(values[5]);
            g0 = T.Fma(w0, value, g0);
            g1 = T.Fma(w1, value, g1);
            value = T.Broadcast(values[6]);
            h0 = T.Fma(w0, value, h0);
            h1 = T.Fma(w1, value, h1);
            value = T.Broadcast(values[7]);
            i0 = T.Fma(w0, value, i0);
            i1 = T.Fma(w1, value, i1);
            weights += 32;
            values += stride;
        }

        a0.Store(outputs);
        a1.Store(outputs + 16);
        b0.Store(outputs + 32);
        b1.Store(outputs + 48);
        c0.Store(outputs + 64);
        c1.Store(outputs + 80);
        d0.Store(outputs + 96);
        d1.Store(outputs + 112);
        e0.Store(outputs + 128);
        e1.Store(outputs + 144);
        g0.Store(outputs + 160);
        g1.Store(outputs + 176);
        h0.Store(outputs + 192);
        h1.Store(outputs + 208);
        i0.Store(outputs + 224);
        i1.Store(outputs + 240);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddFourByOne(float* weights, float* factors, float* values, int rows, int stride, float* outputs)
    {
        T factor = T.Load(factors);
        T a = T.Load(outputs) * factor;
        T b = T.Load(outputs + 16) * factor;
        T c = T.Load(outputs + 32) * factor;
        T d = T.Load(outputs + 48) * factor;
        for (int r = 0; r < rows; r++)
        {
            T weight = T.Load(weights);
            a = T.Fma(weight, T.Broadcast(values[0]), a);
            b = T.Fma(weight, T.Broadcast(values[1]), b);
            c = T.Fma(weight, T.Broadcast(values[2]), c);
            d = T.Fma(weight, T.Broadcast(values[3]), d);
            weights += 16;
            values += stride;
        }

        a.Store(outputs);
        b.Store(outputs + 16);
        c.Store(outputs + 32);
        d.Store(outputs + 48);
    }

    /// <summary>The four bits of a number in reverse.</summary>
    private static int Place(int number) => ((number & 1) << 3) | ((number & 2) << 1) | ((number & 4) >> 1) | (number >> 3);
}
