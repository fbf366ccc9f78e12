using System.Runtime.CompilerServices;

namespace Antiphon.Kernels.Packed;

/// <summary>What generated kernels compute, in portable C#: the order of every addition, and every rounding.</summary>
/// <remarks>All arithmetic is float32, rounded to nearest even, with subnormal inputs and results replaced by zero, whatever the thread's modes.</remarks>
internal static class TileArithmetic
{
    /// <summary>A dot product of bfloat16 rows as the AMX tier computes it.</summary>
    /// <remarks>
    /// 32 columns at a time, as TDPBF16PS does: the even columns are one chain of fused multiply-adds from zero, the odd ones another;
    /// their sum is added to what came before.
    /// </remarks>
    /// <param name="a">One row; a whole number of 32 columns.</param>
    /// <param name="b">The other row, as long.</param>
    public static float DotAmx(ReadOnlySpan<ushort> a, ReadOnlySpan<ushort> b)
    {
        float sum = 0;
        for (int start = 0; start < a.Length; start += 32)
        {
            sum = AddAmx(sum, a.Slice(start, 32), b.Slice(start, 32));
        }

        return sum;
    }

    /// <summary>One step of <see cref="DotAmx"/>: adds the products of 32 columns.</summary>
    public static float AddAmx(float sum, ReadOnlySpan<ushort> a, ReadOnlySpan<ushort> b)
    {
        float even = 0;
        float odd = 0;
        for (int i = 0; i < 32; i += 2)
        {
            even = MultiplyAdd(a[i], b[i], even);
            odd = MultiplyAdd(a[i + 1], b[i + 1], odd);
        }

        return Flush(sum + Flush(even + odd));
    }

    /// <summary>A dot product of bfloat16 rows as the AVX-512 tier computes it.</summary>
    /// <remarks>
    /// 16 lanes: lane i takes columns 2i and 2i + 1 of every 32, as VDPBF16PS does: first the odd column, then the even one, each with a fused multiply-add.
    /// The lanes are then added as a binary tree: i and i + 8, then i and i + 4, i and i + 2, i and i + 1.
    /// </remarks>
    /// <param name="a">One row; a whole number of 32 columns.</param>
    /// <param name="b">The other row, as long.</param>
    public static float DotAvx512(ReadOnlySpan<ushort> a, ReadOnlySpan<ushort> b)
    {
        Span<float> lanes = stackalloc float[16];
        lanes.Clear();
        for (int start = 0; start < a.Length; start += 32)
        {
            for (int i = 0; i < 16; i++)
            {
                int at = start + (2 * i);
                lanes[i] = MultiplyAdd(a[at], b[at], MultiplyAdd(a[at + 1], b[at + 1], lanes[i]));
            }
        }

        return SumLanes(lanes);
    }

    /// <summary>The sum of 16 lanes in the order of <see cref="DotAvx512"/>'s last step.</summary>
    public static float SumLanes(ReadOnlySpan<float> lanes)
    {
        Span<float> sums = stackalloc float[16];
        lanes.CopyTo(sums);
        foreach (int distance in (ReadOnlySpan<int>)[8, 4, 2, 1])
        {
            for (int i = 0; i < distance; i++)
            {
                sums[i] += sums[i + distance];
            }
        }

        return sums[0];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float MultiplyAdd(ushort a, ushort b, float c) => Flush(MathF.FusedMultiplyAdd(BFloat16.Value(a), BFloat16.Value(b), c));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Flush(float value) => float.IsSubnormal(value) ? MathF.CopySign(0, value) : value;
}
