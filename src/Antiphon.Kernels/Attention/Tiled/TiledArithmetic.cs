using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.Tiled;

/// <summary>What tiled attention computes, for one query, in portable C#: the order of every sum and every rounding.</summary>
/// <remarks>
/// Queries, keys, values and weights are bfloat16; sums are float32, with subnormal numbers replaced by zero. Keys are taken in blocks of 128 at absolute places;
/// the shift of the exponents follows the greatest score only when a block exceeds it by a factor of 2^8 (a weight stays below 256 times the greatest); every 1024
/// keys have fresh sums, which are merged in order. What a query does not see changes nothing, so an output depends on its query and on what that sees alone.
/// </remarks>
internal static class TiledArithmetic
{
    /// <summary>How far, in powers of two, scores may exceed the shift before it follows.</summary>
    public const float Tolerance = 8;

    /// <summary>The shift of a query that has seen nothing.</summary>
    public const float NoShift = -1e30f;

    /// <summary>2^x on [0, 1] within 8.8e-5: the coefficients of FlashAttention-4.</summary>
    private static readonly float[] Power = [1, 0.695146143436431884765625f, 0.227564394474029541015625f, 0.077119089663028717041015625f];

    /// <summary>
    /// Weights are cut to bfloat16, not rounded, which saves an instruction. A cut takes away 0.28 % on average (over fractions spread evenly in the logarithm);
    /// this factor puts that back.
    /// </summary>
    private const float CutCorrection = 1.00281f;

    /// <summary>The coefficients of <see cref="Factor"/>, lowest power first.</summary>
    public static ReadOnlySpan<float> FactorCoefficients => Power;

    /// <summary>The coefficients of <see cref="Weight"/>, lowest power first.</summary>
    public static ReadOnlySpan<float> WeightCoefficients => Cut;

    private static readonly float[] Cut = [.. Power.Select(c => c * CutCorrection)];

    /// <summary>2^x in bfloat16, cut after correction.</summary>
    public static ushort Weight(float x) => (ushort)(BitConverter.SingleToUInt32Bits(Power2(x, Cut)) >> 16);

    /// <summary>2^x, by which sums shrink when the shift grows.</summary>
    public static float Factor(float x) => Power2(x, Power);

    /// <summary>The attention of one query.</summary>
    /// <param name="query">The query, in bfloat16; a whole number of 32 values, as are key and value rows: zeros behind the true size.</param>
    /// <param name="keys">Key rows.</param>
    /// <param name="values">Value rows.</param>
    /// <param name="visible">Which rows the query sees.</param>
    /// <param name="scale">Factor on the dot products.</param>
    /// <param name="sink">A logit without a value, or null.</param>
    /// <param name="output">Receives the output, as long as a value row.</param>
    /// <returns>How often the shift followed, without the first time in each segment, and how often the greatest score rose.</returns>
    public static (int Shifts, int Rises) Attend(
        ReadOnlySpan<ushort> query, ReadOnlySpan<ushort> keys, ReadOnlySpan<ushort> values, ReadOnlySpan<bool> visible, float scale, float? sink, Span<float> output)
    {
        float scale2 = scale * Log2E;
        int size = output.Length;
        float[] total = new float[2 + size];
        total[0] = NoShift;
        float[] state = new float[2 + size];
        float[] scores = new float[TiledSizes.BlockKeys];
        ushort[] weights = new ushort[TiledSizes.BlockKeys];
        int shifts = 0;
        int rises = 0;
        for (int segment = 0; segment < visible.Length; segment += TiledSizes.SegmentKeys)
        {
            Array.Clear(state);
            state[0] = NoShift;
            float top = NoShift;
            int segmentEnd = Math.Min(visible.Length, segment + TiledSizes.SegmentKeys);
            for (int block = segment; block < segmentEnd; block += TiledSizes.BlockKeys)
            {
                float greatest = float.NegativeInfinity;
                for (int i = 0; i < TiledSizes.BlockKeys; i++)
                {
                    int key = block + i;
                    scores[i] = key < visible.Length && visible[key] ? TileArithmetic.DotAmx(keys.Slice(key * query.Length, query.Length), query) : float.NegativeInfinity;
                    greatest = Math.Max(greatest, scores[i]);
                }

                rises += greatest * scale2 > top && top > NoShift ? 1 : 0;
                top = Math.Max(top, greatest * scale2);
                shifts += Shift(greatest * scale2, state) ? 1 : 0;
                for (int i = 0; i < TiledSizes.BlockKeys; i++)
                {
                    weights[i] = Weight(MathF.FusedMultiplyAdd(scores[i], scale2, -state[0]));
                }

                Add(weights, block, values, state);
            }

            Merge(total, state);
        }

        Finish(total, sink, output);
        return (shifts, rises);
    }

    /// <summary>log2 e, by which scores become powers of two.</summary>
    public const float Log2E = 1.44269504f;

    /// <summary>The factors of two states that become one, and what the sum's shift is.</summary>
    private static float Exp(float powerOfTwo)
    {
        unsafe
        {
            float* lanes = stackalloc float[16];
            LaneMath<LanesPortable>.Exp(LanesPortable.Broadcast(powerOfTwo) * LanesPortable.Broadcast(1 / Log2E)).Store(lanes);
            return lanes[0];
        }
    }

    private static bool Shift(float greatest, float[] state)
    {
        if (!(greatest > state[0] + Tolerance))
        {
            return false;
        }

        bool first = state[1] == 0;
        float factor = Factor(Flush(state[0] - greatest));
        state[0] = greatest;
        for (int i = 1; i < state.Length; i++)
        {
            state[i] = Flush(state[i] * factor);
        }

        return !first;
    }

    private static void Add(ushort[] weights, int block, ReadOnlySpan<ushort> values, float[] state)
    {
        int size = state.Length - 2;
        for (int i = 0; i < weights.Length; i += 2)
        {
            // As VDPBF16PS adds a pair: the second first.
            state[1] = Flush(BFloat16.Value(weights[i]) + Flush(BFloat16.Value(weights[i + 1]) + state[1]));
        }

        Span<ushort> column = stackalloc ushort[TiledSizes.StepKeys];
        for (int step = 0; step < weights.Length; step += TiledSizes.StepKeys)
        {
            for (int d = 0; d < size; d++)
            {
                for (int i = 0; i < TiledSizes.StepKeys; i++)
                {
                    int at = ((block + step + i) * size) + d;
                    column[i] = at < values.Length ? values[at] : (ushort)0;
                }

                state[2 + d] = TileArithmetic.AddAmx(state[2 + d], column, weights.AsSpan(step, TiledSizes.StepKeys));
            }
        }
    }

    private static void Merge(float[] total, float[] segment)
    {
        float greatest = Math.Max(segment[0], total[0]);
        float totalFactor = Exp(total[0] - greatest);
        float segmentFactor = Exp(segment[0] - greatest);
        total[0] = greatest;
        for (int i = 1; i < total.Length; i++)
        {
            total[i] = MathF.FusedMultiplyAdd(segment[i], segmentFactor, total[i] * totalFactor);
        }
    }

    private static void Finish(float[] total, float? sink, Span<float> output)
    {
        float sum = total[1];
        float factor = 1;
        if (sink is { } logit)
        {
            float greatest = Math.Max(logit * Log2E, total[0]);
            factor = Exp(total[0] - greatest);
            sum = MathF.FusedMultiplyAdd(sum, factor, Exp((logit * Log2E) - greatest));
        }

        float scale = sum == 0 ? 0 : factor / sum;
        for (int i = 0; i < output.Length; i++)
        {
            output[i] = total[2 + i] * scale;
        }
    }

    private static float Power2(float x, float[] c)
    {
        x = Flush(x);
        float floor = MathF.Floor(x);
        float fraction = float.IsInfinity(x) ? 0 : x - floor;
        float p = MathF.FusedMultiplyAdd(MathF.FusedMultiplyAdd(MathF.FusedMultiplyAdd(c[3], fraction, c[2]), fraction, c[1]), fraction, c[0]);
        return float.IsNegativeInfinity(x) ? 0 : Flush(MathF.ScaleB(p, (int)Math.Max(floor, -1000)));
    }

    private static float Flush(float value) => float.IsSubnormal(value) ? MathF.CopySign(0, value) : value;
}
