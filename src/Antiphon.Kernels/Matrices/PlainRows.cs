using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels;

/// <summary>A format without blocks, whose rows may have any number of columns.</summary>
internal unsafe interface IPlainValues<T>
    where T : unmanaged, ILanes<T>
{
    /// <summary>Bytes of a value.</summary>
    static abstract int Bytes { get; }

    /// <summary>Sixteen values.</summary>
    static abstract T Load(byte* source);
}

/// <summary>Float32 numbers.</summary>
internal readonly unsafe struct F32Values<T> : IPlainValues<T>
    where T : unmanaged, ILanes<T>
{
    public static int Bytes => sizeof(float);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load(byte* source) => T.Load((float*)source);
}

/// <summary>IEEE half-precision numbers.</summary>
internal readonly unsafe struct F16Values<T> : IPlainValues<T>
    where T : unmanaged, ILanes<T>
{
    public static int Bytes => sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load(byte* source) => T.LoadHalf((ushort*)source);
}

/// <summary>Bfloat16 numbers.</summary>
internal readonly unsafe struct BF16Values<T> : IPlainValues<T>
    where T : unmanaged, ILanes<T>
{
    public static int Bytes => sizeof(ushort);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Load(byte* source) => T.LoadBFloat16((ushort*)source);
}

/// <summary>What can be done with rows of plain numbers.</summary>
internal static unsafe class PlainRows<T, TValues>
    where T : unmanaged, ILanes<T>
    where TValues : struct, IPlainValues<T>
{
    private const int Lanes = 16;

    /// <summary>None: there are no scales.</summary>
    public static int FactorCount(int columns) => 0;

    /// <summary>Decodes any number of values; see <see cref="RowMajorWeights.Decode"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Decode(byte* source, int count, float* values, int step)
    {
        int i = 0;
        for (; i + Lanes <= count; i += Lanes, values += step)
        {
            TValues.Load(source + (i * TValues.Bytes)).Store(values);
        }

        if (i < count)
        {
            byte* rest = stackalloc byte[Lanes * sizeof(float)];
            Rest(source + (i * TValues.Bytes), count - i, rest).Store(values);
        }
    }

    /// <summary>The products of four rows, which follow each other, with one input, in the defined order of additions.</summary>
    /// <param name="source">The first row.</param>
    /// <param name="columns">Number of columns.</param>
    /// <param name="x">The input, with zeros behind it up to a multiple of sixteen.</param>
    /// <param name="factors">Not used.</param>
    /// <param name="y">Receives four results.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void MultiplyFour(byte* source, int columns, float* x, float* factors, float* y)
    {
        nint rowBytes = (nint)columns * TValues.Bytes;
        byte* second = source + rowBytes;
        byte* third = second + rowBytes;
        byte* fourth = third + rowBytes;
        T a = T.Zero, b = T.Zero, c = T.Zero, d = T.Zero;
        nint i = 0;
        nint ahead = Math.Max(4 * rowBytes, 4096);
        for (; i + Lanes <= columns; i += Lanes)
        {
            T input = T.Load(x + i);
            nint at = i * TValues.Bytes;
            if (Sse.IsSupported)
            {
                byte* next = source + (4 * at) + ahead;
                for (int line = 0; line < 4 * Lanes * TValues.Bytes; line += 64)
                {
                    Sse.Prefetch0(next + line);
                }
            }

            a = T.Fma(input, TValues.Load(source + at), a);
            b = T.Fma(input, TValues.Load(second + at), b);
            c = T.Fma(input, TValues.Load(third + at), c);
            d = T.Fma(input, TValues.Load(fourth + at), d);
        }

        if (i < columns)
        {
            byte* rest = stackalloc byte[Lanes * sizeof(float)];
            T input = T.Load(x + i);
            int count = columns - (int)i;
            nint at = i * TValues.Bytes;
            a = T.Fma(input, Rest(source + at, count, rest), a);
            b = T.Fma(input, Rest(second + at, count, rest), b);
            c = T.Fma(input, Rest(third + at, count, rest), c);
            d = T.Fma(input, Rest(fourth + at, count, rest), d);
        }

        y[0] = a.Sum();
        y[1] = b.Sum();
        y[2] = c.Sum();
        y[3] = d.Sum();
    }

    /// <summary>Fewer than sixteen values, and zeros: nothing is read behind them.</summary>
    private static T Rest(byte* source, int count, byte* room)
    {
        new Span<byte>(room, Lanes * TValues.Bytes).Clear();
        new ReadOnlySpan<byte>(source, count * TValues.Bytes).CopyTo(new Span<byte>(room, Lanes * TValues.Bytes));
        return TValues.Load(room);
    }
}
