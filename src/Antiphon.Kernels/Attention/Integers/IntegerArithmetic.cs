namespace Antiphon.Kernels.Integers;

/// <summary>What attention over a cache of integers computes, for one query, in portable C#: the order of every sum and every rounding.</summary>
/// <remarks>
/// Keys, values and queries are rows of integers with one scale each (<see cref="VectorKernels.ToIntegers"/>). Scores are exact sums of integer products,
/// then scaled. Keys are taken in blocks of 64 at absolute places; the shift of the exponents follows the greatest score only when a block exceeds it by
/// more than <see cref="Tolerance"/>. In each block the weights, times the scales of their value rows, become integers relative to the greatest of them; so
/// the weighted sum of a block is a sum of integers too, and exact. Sums over blocks are float32, fresh for every 512 keys, and merged in order.
/// What a query does not see changes nothing, so an output depends on its query and on what that sees alone; and since sums of integers have no order,
/// every tier gives the same bits.
/// </remarks>
internal static unsafe class IntegerArithmetic
{
    /// <summary>Greatest magnitude of a key's integers.</summary>
    public const int KeyLimit = 4095;

    /// <summary>Greatest magnitude of a value's integers.</summary>
    public const int ValueLimit = 2047;

    /// <summary>Greatest weight; 64 weights times values stay below 2^31.</summary>
    public const int WeightLimit = 16383;

    /// <summary>Keys with weights of one scale.</summary>
    public const int BlockKeys = 64;

    /// <summary>Blocks with sums of their own: the unit in which long contexts are shared among threads.</summary>
    public const int SegmentBlocks = AttentionTiles.SegmentRows / BlockKeys;

    /// <summary>Most values of a row.</summary>
    public const int LargestSize = 256;

    /// <summary>
    /// Most queries of an item with generated code, whole groups of 48: keys and values are brought into order once for all of them. A chunk of a prompt, 512 rows
    /// with two query heads to a key head, is two items. How many has no influence on results.
    /// </summary>
    public const int MostQueries = 528;

    /// <summary>How far scores may exceed the shift before it follows.</summary>
    public const float Tolerance = 8;

    /// <summary>Scores further below the shift count as this far: e^-40 of a weight is beyond float32, and nothing gets near subnormal numbers.</summary>
    public const float LowestScore = -40;

    /// <summary>Blocks whose greatest weighted scale is smaller add nothing.</summary>
    public const float LeastWeight = 7.7037198e-34f; // 2^-110

    /// <summary>Added to a number of small magnitude, it leaves the nearest whole number in the lowest bits of the sum.</summary>
    public const float Rounder = 12582912; // 1.5 * 2^23

    /// <summary>log2 e.</summary>
    public const float Log2E = 1.44269504f;

    /// <summary>ln 2.</summary>
    public const float Ln2 = 0.693147181f;

    /// <summary>e^r on ±ln 2 / 2 is 1 + r * these, lowest power first, within 2.9e-6.</summary>
    public static ReadOnlySpan<float> Power => [0.9999666810035706f, 0.5000302791595459f, 0.16787712275981903f, 0.04151352494955063f];

    /// <summary>Greatest magnitude of a query's integers: products with a key of so many values stay below 2^31.</summary>
    public static int QueryLimit(int size) => Math.Min(4095, int.MaxValue / (KeyLimit * size));

    /// <summary>Whether attention of this kind can be computed over a cache of integers.</summary>
    public static bool Supports(int keySize, int valueSize, float softCap) => softCap == 0 && keySize <= LargestSize && valueSize <= LargestSize;

    /// <summary>The attention of one query.</summary>
    /// <param name="query">The query.</param>
    /// <param name="keys">Key rows, as long as the query.</param>
    /// <param name="keyScales">Their scales.</param>
    /// <param name="values">Value rows, as long as the output.</param>
    /// <param name="valueScales">Their scales.</param>
    /// <param name="visible">Which rows the query sees.</param>
    /// <param name="scale">Factor on the dot products.</param>
    /// <param name="sink">A logit without a value, or null.</param>
    /// <param name="output">Receives the output.</param>
    public static void Attend(
        ReadOnlySpan<float> query, ReadOnlySpan<short> keys, ReadOnlySpan<float> keyScales, ReadOnlySpan<short> values, ReadOnlySpan<float> valueScales,
        ReadOnlySpan<bool> visible, float scale, float? sink, Span<float> output)
    {
        short[] integers = new short[query.Length];
        float factor = Quantize(query, integers, QueryLimit(query.Length)) * scale;
        int stateFloats = AttentionTiles.StateFloats(output.Length);
        float[] total = new float[stateFloats];
        float[] state = new float[stateFloats];
        fixed (float* totals = total, states = state, outputs = output)
        {
            AttentionTiles<LanesPortable>.Clear(totals, stateFloats);
            for (int segment = 0; segment < visible.Length; segment += AttentionTiles.SegmentRows)
            {
                AttentionTiles<LanesPortable>.Clear(states, stateFloats);
                for (int block = segment; block < Math.Min(visible.Length, segment + AttentionTiles.SegmentRows); block += BlockKeys)
                {
                    int count = Math.Min(BlockKeys, visible.Length - block);
                    AddBlock(
                        integers, factor, keys.Slice(block * query.Length, count * query.Length), keyScales.Slice(block, count),
                        values.Slice(block * output.Length, count * output.Length), valueScales.Slice(block, count), visible.Slice(block, count), state, output.Length);
                }

                AttentionTiles<LanesPortable>.Merge(totals, states, stateFloats);
            }

            float logit = sink ?? 0;
            AttentionTiles<LanesPortable>.Finish(totals, sink is null ? null : &logit, outputs, output.Length);
        }
    }

    /// <summary>A row as integers; <see cref="VectorKernels.ToIntegers"/> in its simplest form.</summary>
    /// <returns>The scale.</returns>
    public static float Quantize(ReadOnlySpan<float> row, Span<short> integers, int limit)
    {
        float greatest = 0;
        foreach (float value in row)
        {
            greatest = Math.Max(greatest, Math.Abs(Finite(value)));
        }

        float inverse = greatest < 1e-30f ? 0 : limit / greatest;
        for (int i = 0; i < row.Length; i++)
        {
            integers[i] = Whole(Finite(row[i]), inverse);
        }

        return greatest < 1e-30f ? 0 : greatest / limit;

        static float Finite(float value) => float.IsFinite(value) ? value : MathF.CopySign(float.MaxValue, value);
    }

    private static void AddBlock(
        ReadOnlySpan<short> query, float factor, ReadOnlySpan<short> keys, ReadOnlySpan<float> keyScales, ReadOnlySpan<short> values, ReadOnlySpan<float> valueScales,
        ReadOnlySpan<bool> visible, Span<float> state, int size)
    {
        Span<float> scores = stackalloc float[BlockKeys];
        Span<float> weights = stackalloc float[BlockKeys];
        float greatest = float.NegativeInfinity;
        for (int i = 0; i < visible.Length; i++)
        {
            int dot = 0;
            for (int d = 0; d < query.Length; d++)
            {
                dot += query[d] * keys[(i * query.Length) + d];
            }

            scores[i] = dot * keyScales[i];
            greatest = visible[i] && scores[i] > greatest ? scores[i] : greatest;
        }

        greatest *= factor;
        if (greatest > state[0] + Tolerance)
        {
            float rest = Exp(state[0] - greatest);
            state[0] = greatest;
            for (int i = 1; i < state.Length; i++)
            {
                state[i] *= rest;
            }
        }

        float most = 0;
        Span<float> sums = stackalloc float[16];
        weights.Clear();
        sums.Clear();
        for (int i = 0; i < visible.Length; i++)
        {
            if (visible[i])
            {
                float weight = Weight(MathF.FusedMultiplyAdd(scores[i], factor, -state[0]));
                sums[i % 16] += weight;
                weights[i] = weight * valueScales[i];
                most = Math.Max(most, weights[i]);
            }
        }

        for (int half = 8; half > 0; half /= 2)
        {
            for (int i = 0; i < half; i++)
            {
                sums[i] += sums[i + half];
            }
        }

        state[1] += sums[0];
        float inverse = most < LeastWeight ? 0 : WeightLimit / most;
        float unit = most * (1f / WeightLimit);
        for (int d = 0; d < size; d++)
        {
            int sum = 0;
            for (int i = 0; i < visible.Length; i++)
            {
                sum += Whole(weights[i], inverse) * values[(i * size) + d];
            }

            state[16 + d] = MathF.FusedMultiplyAdd(sum, unit, state[16 + d]);
        }
    }

    private static short Whole(float value, float factor) => (short)BitConverter.SingleToInt32Bits(MathF.FusedMultiplyAdd(value, factor, Rounder));

    private static float Weight(float x)
    {
        x = x > LowestScore ? x : LowestScore;
        float n = MathF.FusedMultiplyAdd(x, Log2E, Rounder) - Rounder;
        float r = MathF.FusedMultiplyAdd(n, -Ln2, x);
        float p = Power[3];
        for (int i = 2; i >= 0; i--)
        {
            p = MathF.FusedMultiplyAdd(p, r, Power[i]);
        }

        return MathF.ScaleB(MathF.FusedMultiplyAdd(p, r, 1), (int)n);
    }

    private static float Exp(float value)
    {
        float* lanes = stackalloc float[16];
        LaneMath<LanesPortable>.Exp(LanesPortable.Broadcast(value)).Store(lanes);
        return lanes[0];
    }
}
