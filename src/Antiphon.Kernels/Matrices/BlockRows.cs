using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels;

/// <summary>What can be done with rows of blocks.</summary>
internal static unsafe class BlockRows<T, TBlocks>
    where T : unmanaged, ILanes<T>
    where TBlocks : struct, IBlocks<T>
{
    // Columns whose scales are prepared together.
    private const int Batch = 512;

    /// <summary>Floats of scratch memory for the scales of <paramref name="columns"/> values.</summary>
    public static int FactorCount(int columns) => (((columns / TBlocks.Columns * TBlocks.Factors) + 15) & ~15) + 16;

    /// <summary>Decodes whole blocks; see <see cref="RowMajorWeights.Decode"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Decode(byte* source, int count, float* values, int step)
    {
        float* factors = stackalloc float[FactorCount(Batch)];
        int batch = Batch / TBlocks.Columns;
        for (int left = count / TBlocks.Columns; left > 0; left -= batch)
        {
            int blocks = Math.Min(left, batch);
            TBlocks.Prepare(source, blocks, factors);
            for (int block = 0; block < blocks; block++)
            {
                for (int pair = 0; pair < TBlocks.Columns / 32; pair++)
                {
                    TBlocks.Pair(source, factors + (block * TBlocks.Factors), pair, out T first, out T second);
                    first.Store(values);
                    second.Store(values + step);
                    values += 2 * step;
                }

                source += TBlocks.Bytes;
            }
        }
    }

    /// <summary>The products of four rows, which follow each other, with one input, in the defined order of additions.</summary>
    /// <param name="source">The first row.</param>
    /// <param name="columns">Number of columns.</param>
    /// <param name="x">The input.</param>
    /// <param name="factors">Room for <see cref="FactorCount"/> of four rows.</param>
    /// <param name="y">Receives four results.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void MultiplyFour(byte* source, int columns, float* x, float* factors, float* y)
    {
        int blocks = columns / TBlocks.Columns;
        TBlocks.Prepare(source, 4 * blocks, factors);
        nint rowBytes = (nint)blocks * TBlocks.Bytes;
        nint rowFactors = (nint)blocks * TBlocks.Factors;

        // What comes behind these rows, far enough away to arrive in time.
        byte* ahead = source + Math.Max(4 * rowBytes, 4096);

        // Each sum is a chain of dependent additions; four of them, and the decoding between, keep the machine busy.
        T a = T.Zero, b = T.Zero, c = T.Zero, d = T.Zero;
        for (int block = 0; block < blocks; block++)
        {
            Prefetch(ahead);
            ahead += 4 * TBlocks.Bytes;
            for (int pair = 0; pair < TBlocks.Columns / 32; pair++)
            {
                a = Add(source, factors, pair, x, a);
                b = Add(source + rowBytes, factors + rowFactors, pair, x, b);
                c = Add(source + (2 * rowBytes), factors + (2 * rowFactors), pair, x, c);
                d = Add(source + (3 * rowBytes), factors + (3 * rowFactors), pair, x, d);
                x += 32;
            }

            source += TBlocks.Bytes;
            factors += TBlocks.Factors;
        }

        y[0] = a.Sum();
        y[1] = b.Sum();
        y[2] = c.Sum();
        y[3] = d.Sum();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Add(byte* block, float* factors, int pair, float* x, T sum)
    {
        TBlocks.Pair(block, factors, pair, out T first, out T second);
        return T.Fma(second, T.Load(x + 16), T.Fma(first, T.Load(x), sum));
    }

    /// <summary>Asks for what four blocks take. Addresses behind the matrix do no harm.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* source)
    {
        if (Sse.IsSupported)
        {
            for (int at = 0; at < 4 * TBlocks.Bytes; at += 64)
            {
                Sse.Prefetch0(source + at);
            }
        }
    }
}
