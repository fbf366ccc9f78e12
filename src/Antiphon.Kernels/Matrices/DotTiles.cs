using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Antiphon.Kernels;

/// <summary>Tiles of dot products: a few weight rows times a few tokens.</summary>
internal static unsafe class DotTiles
{
    /// <summary>Weight rows in a tile.</summary>
    public const int Rows = 4;

    /// <summary>Most tokens in a group.</summary>
    public const int MostTokens = 6;

    /// <summary>Sums over the lanes of four neighbouring vectors of sixteen, in the order of <see cref="ILanes{T}.Sum"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> SumFour(float* lanes)
    {
        Vector128<float> a = Fold(lanes), b = Fold(lanes + 16), c = Fold(lanes + 32), d = Fold(lanes + 48);

        // Lanes 0 and 1 of what is left after i + 2, of all four side by side.
        Vector128<float> ab = Low(a, b) + High(a, b);
        Vector128<float> cd = Low(c, d) + High(c, d);
        return Vector128.Create(ab.GetLower(), cd.GetLower()) + Vector128.Create(ab.GetUpper(), cd.GetUpper());
    }

    // i + 8, then i + 4.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Fold(float* lanes) =>
        (Vector128.Load(lanes) + Vector128.Load(lanes + 8)) + (Vector128.Load(lanes + 4) + Vector128.Load(lanes + 12));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Low(Vector128<float> a, Vector128<float> b) => System.Runtime.Intrinsics.X86.Sse.IsSupported
        ? System.Runtime.Intrinsics.X86.Sse.UnpackLow(a, b)
        : Vector128.Create(a[0], b[0], a[1], b[1]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> High(Vector128<float> a, Vector128<float> b) => System.Runtime.Intrinsics.X86.Sse.IsSupported
        ? System.Runtime.Intrinsics.X86.Sse.UnpackHigh(a, b)
        : Vector128.Create(a[2], b[2], a[3], b[3]);
}

/// <summary>
/// Tiles of dot products on the vectors of a tier, where no code can be generated. Sums stay in sixteen lanes and are added to those in memory, so
/// that a product can be taken in pieces of columns without changing a bit of it.
/// </summary>
internal static unsafe class DotTiles<T>
    where T : unmanaged, ILanes<T>
{
    private const int Lanes = 16;
    private const int Rows = DotTiles.Rows;

    /// <summary>What the kernel for so many tokens does with a panel.</summary>
    public static void Run(int all, TileArguments* arguments)
    {
        int groups = TokenGroups.CountOf(all, DotTiles.MostTokens);
        for (int tile = 0; tile < arguments->Tiles; tile++)
        {
            for (int group = 0; group < groups; group++)
            {
                int start = TokenGroups.StartOf(group, groups, all);
                Run(tile, all, start, TokenGroups.StartOf(group + 1, groups, all) - start, arguments);
            }
        }
    }

    private static void Run(int tile, int all, int start, int tokens, TileArguments* arguments)
    {
        float* weights = (float*)((byte*)arguments->Weights + (tile * arguments->TileBytes));
        float* input = (float*)((byte*)arguments->Input + (start * arguments->InputStride) + (tokens * arguments->ColumnBytes));
        float* sums = arguments->Sums + (((tile * all) + start) * Rows * Lanes);
        if (arguments->Add == 0)
        {
            new Span<float>(sums, tokens * Rows * Lanes).Clear();
        }

        int token = 0;
        for (; token + 2 <= tokens; token += 2)
        {
            ByTwo(weights, input + (token * Lanes), tokens * Lanes, arguments->Steps, sums + (token * Rows * Lanes));
        }

        if (token < tokens)
        {
            ByOne(weights, input + (token * Lanes), tokens * Lanes, arguments->Steps, sums + (token * Rows * Lanes));
        }

        for (token = 0; arguments->Finish != 0 && token < tokens; token++)
        {
            float* output = (float*)((byte*)arguments->Output + ((start + token) * arguments->OutputStride)) + (tile * Rows);
            DotTiles.SumFour(sums + (token * Rows * Lanes)).Store(output);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void ByOne(float* w, float* x, nint inputStride, long steps, float* sums)
    {
        T a0 = T.Load(sums), a1 = T.Load(sums + Lanes), a2 = T.Load(sums + (2 * Lanes)), a3 = T.Load(sums + (3 * Lanes));
        for (; steps > 0; steps--)
        {
            T input = T.Load(x);
            a0 = T.Fma(input, T.Load(w), a0);
            a1 = T.Fma(input, T.Load(w + Lanes), a1);
            a2 = T.Fma(input, T.Load(w + (2 * Lanes)), a2);
            a3 = T.Fma(input, T.Load(w + (3 * Lanes)), a3);
            w += Rows * Lanes;
            x += inputStride;
        }

        a0.Store(sums);
        a1.Store(sums + Lanes);
        a2.Store(sums + (2 * Lanes));
        a3.Store(sums + (3 * Lanes));
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void ByTwo(float* w, float* x, nint inputStride, long steps, float* sums)
    {
        T a0 = T.Load(sums), a1 = T.Load(sums + Lanes), a2 = T.Load(sums + (2 * Lanes)), a3 = T.Load(sums + (3 * Lanes));
        T b0 = T.Load(sums + (4 * Lanes)), b1 = T.Load(sums + (5 * Lanes)), b2 = T.Load(sums + (6 * Lanes)), b3 = T.Load(sums + (7 * Lanes));
        for (; steps > 0; steps--)
        {
            T w0 = T.Load(w), w1 = T.Load(w + Lanes), w2 = T.Load(w + (2 * Lanes)), w3 = T.Load(w + (3 * Lanes));
            T input = T.Load(x);
            a0 = T.Fma(input, w0, a0);
            a1 = T.Fma(input, w1, a1);
            a2 = T.Fma(input, w2, a2);
            a3 = T.Fma(input, w3, a3);
            input = T.Load(x + Lanes);
            b0 = T.Fma(input, w0, b0);
            b1 = T.Fma(input, w1, b1);
            b2 = T.Fma(input, w2, b2);
            b3 = T.Fma(input, w3, b3);
            w += Rows * Lanes;
            x += inputStride;
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
}
