using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>Fused multiply-adds that need nothing but registers.</summary>
internal readonly unsafe struct FmaPass(KernelTier tier) : IParallelWork
{
    private const int Steps = 1 << 16;

    /// <summary>Floating-point operations in a chunk.</summary>
    public const double Operations = 2.0 * 16 * 6 * 2 * Steps;

    private readonly KernelTier tier = tier;

    public void Execute(int chunk, int worker)
    {
        float sum = tier switch
        {
            KernelTier.Portable => Compute<LanesPortable>(),
            KernelTier.Avx2 => Compute<Lanes256>(),
            _ => Compute<Lanes512>(),
        };
        Volatile.Write(ref Unsafe.AsRef(in sum), sum);
    }

    // Twelve chains for the latency; with two registers each they would not fit, so six in two rounds where lanes are narrow.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Compute<T>()
        where T : unmanaged, ILanes<T>
    {
        T factor = T.Broadcast(0.5f);
        T a = T.Zero, b = T.Zero, c = T.Zero, d = T.Zero, e = T.Zero, f = T.Zero;
        if (typeof(T) == typeof(Lanes512))
        {
            T g = T.Zero, h = T.Zero, i = T.Zero, j = T.Zero, k = T.Zero, l = T.Zero;
            for (int step = 0; step < Steps; step++)
            {
                a = T.Fma(a, factor, factor);
                b = T.Fma(b, factor, factor);
                c = T.Fma(c, factor, factor);
                d = T.Fma(d, factor, factor);
                e = T.Fma(e, factor, factor);
                f = T.Fma(f, factor, factor);
                g = T.Fma(g, factor, factor);
                h = T.Fma(h, factor, factor);
                i = T.Fma(i, factor, factor);
                j = T.Fma(j, factor, factor);
                k = T.Fma(k, factor, factor);
                l = T.Fma(l, factor, factor);
            }

            return (a + b + c + d + e + f + g + h + i + j + k + l).Sum();
        }

        for (int step = 0; step < 2 * Steps; step++)
        {
            a = T.Fma(a, factor, factor);
            b = T.Fma(b, factor, factor);
            c = T.Fma(c, factor, factor);
            d = T.Fma(d, factor, factor);
            e = T.Fma(e, factor, factor);
            f = T.Fma(f, factor, factor);
        }

        return (a + b + c + d + e + f).Sum();
    }
}
