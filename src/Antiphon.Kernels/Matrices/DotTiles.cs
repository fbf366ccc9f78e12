using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>
/// Dot products of a few weight rows with a few activation rows, kept in registers. Sums stay in sixteen lanes and are added to those in memory, so
/// that a product can be taken in pieces of columns without changing a bit of it.
/// </summary>
internal static unsafe class DotTiles<T>
    where T : unmanaged, ILanes<T>
{
    /// <summary>Weight rows that <see cref="Accumulate"/> takes at once.</summary>
    public const int WeightRows = 4;

    /// <summary>Most activation rows that <see cref="Accumulate"/> takes at once.</summary>
    public const int InputRows = 6;

    private const int Lanes = 16;

    /// <summary>sums[i, r] += x[i] * w[r], lane by lane, for four weight rows r and up to six activation rows i.</summary>
    /// <param name="w">Four rows of weights.</param>
    /// <param name="weightStride">Floats between them.</param>
    /// <param name="x">The activation rows.</param>
    /// <param name="inputStride">Floats between them.</param>
    /// <param name="inputs">Number of activation rows, 1 to 6.</param>
    /// <param name="columns">Number of columns; a multiple of 16.</param>
    /// <param name="sums">Sixteen lanes for each of [inputs, 4].</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Accumulate(float* w, long weightStride, float* x, long inputStride, int inputs, int columns, float* sums)
    {
        if (typeof(T) == typeof(Lanes512))
        {
            // 24 sums, four weights and an input fit in 32 registers.
            switch (inputs)
            {
                case 6:
                    Four.BySix(w, weightStride, x, inputStride, columns, sums);
                    return;
                case 5:
                    Four.ByFour(w, weightStride, x, inputStride, columns, sums);
                    Four.ByOne(w, weightStride, x + (4 * inputStride), columns, sums + (16 * Lanes));
                    return;
                case 4:
                    Four.ByFour(w, weightStride, x, inputStride, columns, sums);
                    return;
                case 3:
                    Four.ByTwo(w, weightStride, x, inputStride, columns, sums);
                    Four.ByOne(w, weightStride, x + (2 * inputStride), columns, sums + (8 * Lanes));
                    return;
                case 2:
                    Four.ByTwo(w, weightStride, x, inputStride, columns, sums);
                    return;
                default:
                    Four.ByOne(w, weightStride, x, columns, sums);
                    return;
            }
        }

        // Two registers to sixteen lanes: twelve for the sums of two by three rows, of sixteen.
        int done = 0;
        for (; done + 3 <= inputs; done += 3)
        {
            TwoByThree(w, weightStride, x + (done * inputStride), inputStride, columns, sums + (done * 4 * Lanes));
            TwoByThree(w + (2 * weightStride), weightStride, x + (done * inputStride), inputStride, columns, sums + (((done * 4) + 2) * Lanes));
        }

        for (; done < inputs; done++)
        {
            Four.ByOne(w, weightStride, x + (done * inputStride), columns, sums + (done * 4 * Lanes));
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void TwoByThree(float* w, long weightStride, float* x, long inputStride, int columns, float* sums)
    {
        T a0 = T.Load(sums), a1 = T.Load(sums + Lanes);
        T b0 = T.Load(sums + (4 * Lanes)), b1 = T.Load(sums + (5 * Lanes));
        T c0 = T.Load(sums + (8 * Lanes)), c1 = T.Load(sums + (9 * Lanes));
        float* second = w + weightStride;
        float* xb = x + inputStride;
        float* xc = xb + inputStride;
        for (long i = 0; i < columns; i += Lanes)
        {
            T w0 = T.Load(w + i), w1 = T.Load(second + i);
            T input = T.Load(x + i);
            a0 = T.Fma(input, w0, a0);
            a1 = T.Fma(input, w1, a1);
            input = T.Load(xb + i);
            b0 = T.Fma(input, w0, b0);
            b1 = T.Fma(input, w1, b1);
            input = T.Load(xc + i);
            c0 = T.Fma(input, w0, c0);
            c1 = T.Fma(input, w1, c1);
        }

        a0.Store(sums);
        a1.Store(sums + Lanes);
        b0.Store(sums + (4 * Lanes));
        b1.Store(sums + (5 * Lanes));
        c0.Store(sums + (8 * Lanes));
        c1.Store(sums + (9 * Lanes));
    }

    /// <summary>Four weight rows.</summary>
    private static class Four
    {
        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        public static void ByOne(float* w, long weightStride, float* x, int columns, float* sums)
        {
            T a0 = T.Load(sums), a1 = T.Load(sums + Lanes), a2 = T.Load(sums + (2 * Lanes)), a3 = T.Load(sums + (3 * Lanes));
            float* second = w + weightStride;
            float* third = second + weightStride;
            float* fourth = third + weightStride;
            for (long i = 0; i < columns; i += Lanes)
            {
                T w0 = T.Load(w + i), w1 = T.Load(second + i), w2 = T.Load(third + i), w3 = T.Load(fourth + i);
                T input = T.Load(x + i);
                a0 = T.Fma(input, w0, a0);
                a1 = T.Fma(input, w1, a1);
                a2 = T.Fma(input, w2, a2);
                a3 = T.Fma(input, w3, a3);
            }

            a0.Store(sums);
            a1.Store(sums + Lanes);
            a2.Store(sums + (2 * Lanes));
            a3.Store(sums + (3 * Lanes));
        }

        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        public static void ByTwo(float* w, long weightStride, float* x, long inputStride, int columns, float* sums)
        {
            T a0 = T.Load(sums), a1 = T.Load(sums + Lanes), a2 = T.Load(sums + (2 * Lanes)), a3 = T.Load(sums + (3 * Lanes));
            T b0 = T.Load(sums + (4 * Lanes)), b1 = T.Load(sums + (5 * Lanes)), b2 = T.Load(sums + (6 * Lanes)), b3 = T.Load(sums + (7 * Lanes));
            float* second = w + weightStride;
            float* third = second + weightStride;
            float* fourth = third + weightStride;
            float* xb = x + inputStride;
            for (long i = 0; i < columns; i += Lanes)
            {
                T w0 = T.Load(w + i), w1 = T.Load(second + i), w2 = T.Load(third + i), w3 = T.Load(fourth + i);
                T input = T.Load(x + i);
                a0 = T.Fma(input, w0, a0);
                a1 = T.Fma(input, w1, a1);
                a2 = T.Fma(input, w2, a2);
                a3 = T.Fma(input, w3, a3);
                input = T.Load(xb + i);
                b0 = T.Fma(input, w0, b0);
                b1 = T.Fma(input, w1, b1);
                b2 = T.Fma(input, w2, b2);
                b3 = T.Fma(input, w3, b3);
            }

            a0.Store(sums);
            a1.Store(sums + Lanes);
            a2.Store(sums + (2 * Lanes));
            a3.Store(sums + (3 * Lanes));
            b0.Store(sums + (4 * Lanes));
            b1.Store(sums + (5 * Lanes));
            b2.Store(sums + (6 * Lanes));
            b3.Store(sums + (7 * Lanes));
        }

        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        public static void ByFour(float* w, long weightStride, float* x, long inputStride, int columns, float* sums)
        {
            T a0 = T.Load(sums), a1 = T.Load(sums + Lanes), a2 = T.Load(sums + (2 * Lanes)), a3 = T.Load(sums + (3 * Lanes));
            T b0 = T.Load(sums + (4 * Lanes)), b1 = T.Load(sums + (5 * Lanes)), b2 = T.Load(sums + (6 * Lanes)), b3 = T.Load(sums + (7 * Lanes));
            T c0 = T.Load(sums + (8 * Lanes)), c1 = T.Load(sums + (9 * Lanes)), c2 = T.Load(sums + (10 * Lanes)), c3 = T.Load(sums + (11 * Lanes));
            T d0 = T.Load(sums + (12 * Lanes)), d1 = T.Load(sums + (13 * Lanes)), d2 = T.Load(sums + (14 * Lanes)), d3 = T.Load(sums + (15 * Lanes));
            float* second = w + weightStride;
            float* third = second + weightStride;
            float* fourth = third + weightStride;
            float* xb = x + inputStride;
            float* xc = xb + inputStride;
            float* xd = xc + inputStride;
            for (long i = 0; i < columns; i += Lanes)
            {
                T w0 = T.Load(w + i), w1 = T.Load(second + i), w2 = T.Load(third + i), w3 = T.Load(fourth + i);
                T input = T.Load(x + i);
                a0 = T.Fma(input, w0, a0);
                a1 = T.Fma(input, w1, a1);
                a2 = T.Fma(input, w2, a2);
                a3 = T.Fma(input, w3, a3);
                input = T.Load(xb + i);
                b0 = T.Fma(input, w0, b0);
                b1 = T.Fma(input, w1, b1);
                b2 = T.Fma(input, w2, b2);
                b3 = T.Fma(input, w3, b3);
                input = T.Load(xc + i);
                c0 = T.Fma(input, w0, c0);
                c1 = T.Fma(input, w1, c1);
                c2 = T.Fma(input, w2, c2);
                c3 = T.Fma(input, w3, c3);
                input = T.Load(xd + i);
                d0 = T.Fma(input, w0, d0);
                d1 = T.Fma(input, w1, d1);
                d2 = T.Fma(input, w2, d2);
                d3 = T.Fma(input, w3, d3);
            }

            a0.Store(sums);
            a1.Store(sums + Lanes);
            a2.Store(sums + (2 * Lanes));
            a3.Store(sums + (3 * Lanes));
            b0.Store(sums + (4 * Lanes));
            b1.Store(sums + (5 * Lanes));
            b2.Store(sums + (6 * Lanes));
            b3.Store(sums + (7 * Lanes));
            c0.Store(sums + (8 * Lanes));
            c1.Store(sums + (9 * Lanes));
            c2.Store(sums + (10 * Lanes));
            c3.Store(sums + (11 * Lanes));
            d0.Store(sums + (12 * Lanes));
            d1.Store(sums + (13 * Lanes));
            d2.Store(sums + (14 * Lanes));
            d3.Store(sums + (15 * Lanes));
        }

        [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
        public static void BySix(float* w, long weightStride, float* x, long inputStride, int columns, float* sums)
        {
            T a0 = T.Load(sums), a1 = T.Load(sums + Lanes), a2 = T.Load(sums + (2 * Lanes)), a3 = T.Load(sums + (3 * Lanes));
            T b0 = T.Load(sums + (4 * Lanes)), b1 = T.Load(sums + (5 * Lanes)), b2 = T.Load(sums + (6 * Lanes)), b3 = T.Load(sums + (7 * Lanes));
            T c0 = T.Load(sums + (8 * Lanes)), c1 = T.Load(sums + (9 * Lanes)), c2 = T.Load(sums + (10 * Lanes)), c3 = T.Load(sums + (11 * Lanes));
            T d0 = T.Load(sums + (12 * Lanes)), d1 = T.Load(sums + (13 * Lanes)), d2 = T.Load(sums + (14 * Lanes)), d3 = T.Load(sums + (15 * Lanes));
            T e0 = T.Load(sums + (16 * Lanes)), e1 = T.Load(sums + (17 * Lanes)), e2 = T.Load(sums + (18 * Lanes)), e3 = T.Load(sums + (19 * Lanes));
            T f0 = T.Load(sums + (20 * Lanes)), f1 = T.Load(sums + (21 * Lanes)), f2 = T.Load(sums + (22 * Lanes)), f3 = T.Load(sums + (23 * Lanes));
            float* second = w + weightStride;
            float* third = second + weightStride;
            float* fourth = third + weightStride;
            float* xb = x + inputStride;
            float* xc = xb + inputStride;
            float* xd = xc + inputStride;
            float* xe = xd + inputStride;
            float* xf = xe + inputStride;
            for (long i = 0; i < columns; i += Lanes)
            {
                T w0 = T.Load(w + i), w1 = T.Load(second + i), w2 = T.Load(third + i), w3 = T.Load(fourth + i);
                T input = T.Load(x + i);
                a0 = T.Fma(input, w0, a0);
                a1 = T.Fma(input, w1, a1);
                a2 = T.Fma(input, w2, a2);
                a3 = T.Fma(input, w3, a3);
                input = T.Load(xb + i);
                b0 = T.Fma(input, w0, b0);
                b1 = T.Fma(input, w1, b1);
                b2 = T.Fma(input, w2, b2);
                b3 = T.Fma(input, w3, b3);
                input = T.Load(xc + i);
                c0 = T.Fma(input, w0, c0);
                c1 = T.Fma(input, w1, c1);
                c2 = T.Fma(input, w2, c2);
                c3 = T.Fma(input, w3, c3);
                input = T.Load(xd + i);
                d0 = T.Fma(input, w0, d0);
                d1 = T.Fma(input, w1, d1);
                d2 = T.Fma(input, w2, d2);
                d3 = T.Fma(input, w3, d3);
                input = T.Load(xe + i);
                e0 = T.Fma(input, w0, e0);
                e1 = T.Fma(input, w1, e1);
                e2 = T.Fma(input, w2, e2);
                e3 = T.Fma(input, w3, e3);
                input = T.Load(xf + i);
                f0 = T.Fma(input, w0, f0);
                f1 = T.Fma(input, w1, f1);
                f2 = T.Fma(input, w2, f2);
                f3 = T.Fma(input, w3, f3);
            }

            a0.Store(sums);
            a1.Store(sums + Lanes);
            a2.Store(sums + (2 * Lanes));
            a3.Store(sums + (3 * Lanes));
            b0.Store(sums + (4 * Lanes));
            b1.Store(sums + (5 * Lanes));
            b2.Store(sums + (6 * Lanes));
            b3.Store(sums + (7 * Lanes));
            c0.Store(sums + (8 * Lanes));
            c1.Store(sums + (9 * Lanes));
            c2.Store(sums + (10 * Lanes));
            c3.Store(sums + (11 * Lanes));
            d0.Store(sums + (12 * Lanes));
            d1.Store(sums + (13 * Lanes));
            d2.Store(sums + (14 * Lanes));
            d3.Store(sums + (15 * Lanes));
            e0.Store(sums + (16 * Lanes));
            e1.Store(sums + (17 * Lanes));
            e2.Store(sums + (18 * Lanes));
            e3.Store(sums + (19 * Lanes));
            f0.Store(sums + (20 * Lanes));
            f1.Store(sums + (21 * Lanes));
            f2.Store(sums + (22 * Lanes));
            f3.Store(sums + (23 * Lanes));
        }
    }
}
