namespace Antiphon.Kernels.MultiScale;

/// <summary>What kernels of this folder compute, in portable C#: every rounding, and the order of every addition.</summary>
/// <remarks>
/// A row of activations becomes integers of one scale, x = beta * Q, of 16 bits for two passes and of 8 for one. Two passes multiply
/// the two bytes of Q, Q = 256 q1 + q2, with the codes one after the other: that is multi-scale dequantisation with a ratio of 256, for which the integer sums of
/// both passes merge exactly. Because Q is rounded once, nothing is left over that a second rounding would have to clamp, and the error is at most half a step, M / 65278,
/// where a residual of 8 bits with a ratio of 254 has M / 64516.
/// </remarks>
internal static class SplitArithmetic
{
    /// <summary>Largest integer of one pass.</summary>
    public const int OnePassLimit = 127;

    /// <summary>Largest integer of two passes: the largest number whose high and low byte are both signed bytes.</summary>
    public const int TwoPassLimit = (256 * 127) + 127;

    /// <summary>Rows whose largest magnitude is below this are multiplied by <see cref="Lift"/> first, so that their scale is not a subnormal number.</summary>
    public const float Tiny = 1 / Lift;

    /// <summary>2^64.</summary>
    public const float Lift = 18446744073709551616f;

    /// <summary>The largest integer for a number of passes.</summary>
    public static int Limit(int passes) => passes == 1 ? OnePassLimit : TwoPassLimit;

    /// <summary>The scales of a row.</summary>
    /// <param name="largest">The largest magnitude of its values; NaN or infinity if there is one among them.</param>
    /// <param name="passes">Passes.</param>
    public static RowScale ScaleOf(float largest, int passes)
    {
        if (!float.IsFinite(largest))
        {
            // Such a row gives NaN throughout: its integers are all zero, its scale is not a number.
            return new RowScale(0, 0, float.NaN, 1);
        }

        if (largest == 0)
        {
            return default;
        }

        float lift = largest < Tiny ? Lift : 1;
        return new RowScale(lift, Limit(passes) / (largest * lift), largest * lift / Limit(passes), 1 / lift);
    }

    /// <summary>Splits a row.</summary>
    /// <param name="x">The row.</param>
    /// <param name="passes">1 or 2.</param>
    /// <param name="integers">Receives the integers.</param>
    public static RowScale Split(ReadOnlySpan<float> x, int passes, Span<short> integers)
    {
        float largest = 0;
        foreach (float value in x)
        {
            largest = MathF.Max(largest, MathF.Abs(value));
        }

        RowScale scale = ScaleOf(largest, passes);
        for (int i = 0; i < x.Length; i++)
        {
            integers[i] = scale.Inverse == 0 ? (short)0 : (short)MathF.Round(x[i] * scale.Lift * scale.Inverse, MidpointRounding.ToEven);
        }

        return scale;
    }

    /// <summary>The two bytes of an integer of 16 bits.</summary>
    public static (sbyte High, sbyte Low) Bytes(short integer) => ((sbyte)((integer - (sbyte)integer) >> 8), (sbyte)integer);

    /// <summary>The product of a weight row with a split row.</summary>
    /// <remarks>
    /// Blocks in rising order, one chain of fused multiply-adds: the block's sum of value times integer, which is exact in 32 bits and rounded to float, times the block's
    /// scale. Before the block (where minimums are products with a number of the super-block: before the super-block) the minimum times the exact sum of its integers.
    /// At the end the two factors of the row's scale.
    /// </remarks>
    /// <param name="layout">The layout.</param>
    /// <param name="strip">The strip that holds the row.</param>
    /// <param name="columns">Columns of the matrix.</param>
    /// <param name="row">Row in the strip.</param>
    /// <param name="integers">The split row.</param>
    /// <param name="scale">Its scale.</param>
    public static unsafe float Dot(CodeLayout layout, byte* strip, int columns, int row, ReadOnlySpan<short> integers, RowScale scale)
    {
        float sum = 0;
        int blocks = (columns + layout.BlockColumns - 1) / layout.BlockColumns;
        int blocksPerSuper = CodeLayout.SuperTiles * layout.SubBlocks;
        for (int block = 0; block < blocks; block++)
        {
            if (layout.HasSuperMinimum && block % blocksPerSuper == 0)
            {
                int multiples = 0;
                for (int i = block; i < block + blocksPerSuper; i++)
                {
                    multiples += layout.Minimum(strip, row, i).Multiple * Sum(integers, i);
                }

                sum = MathF.FusedMultiplyAdd(multiples, layout.Minimum(strip, row, block).Unit, sum);
            }
            else if (layout.Scales == CodeScales.HalfWithMinimum)
            {
                sum = MathF.FusedMultiplyAdd(Sum(integers, block), layout.Minimum(strip, row, block).Unit, sum);
            }

            int products = 0;
            for (int column = block * layout.BlockColumns; column < Math.Min((block + 1) * layout.BlockColumns, columns); column++)
            {
                products += layout.Value(strip, columns, row, column) * integers[column];
            }

            sum = MathF.FusedMultiplyAdd(products, layout.Scale(strip, row, block), sum);
        }

        return sum * scale.Factor * scale.Unlift;

        int Sum(ReadOnlySpan<short> values, int block)
        {
            int total = 0;
            for (int column = block * layout.BlockColumns; column < Math.Min((block + 1) * layout.BlockColumns, columns); column++)
            {
                total += values[column];
            }

            return total;
        }
    }
}

/// <summary>How a row becomes integers, and what turns sums of them back: integer = round(x * Lift * Inverse), and a sum is multiplied by Factor, then by Unlift.</summary>
/// <param name="Lift">1, or 2^64 for rows of tiny numbers.</param>
/// <param name="Inverse">Integers in a unit; 0 for a row without integers.</param>
/// <param name="Factor">What an integer stands for.</param>
/// <param name="Unlift">1 / Lift.</param>
internal readonly record struct RowScale(float Lift, float Inverse, float Factor, float Unlift);
