namespace Antiphon.Kernels;

/// <summary>
/// Turns float32 values into blocks. Scales are chosen per block, and every element then takes the code whose decoded value is nearest,
/// measured with the scale as it is stored.
/// </summary>
public static unsafe partial class BlockEncoder
{
    /// <summary>Whether values can be written in a format. The IQ1, IQ2 and IQ3 types can only be read.</summary>
    public static bool CanEncode(TensorFormat format) => format is TensorFormat.F32 or TensorFormat.F16 or TensorFormat.BF16 || Encoder(format) is not null;

    /// <summary>Encodes whole blocks.</summary>
    /// <param name="format">A format that <see cref="CanEncode"/>.</param>
    /// <param name="values">The values; whole blocks of them, and finite unless the format is a plain float.</param>
    /// <param name="blocks">Receives the blocks; exactly as many bytes as they take.</param>
    /// <exception cref="ArgumentException">The lengths do not belong together, or a value is not finite or too large for the format.</exception>
    /// <exception cref="NotSupportedException">The format can only be read.</exception>
    public static void Encode(TensorFormat format, ReadOnlySpan<float> values, Span<byte> blocks)
    {
        if (format.ByteCount(values.Length) != blocks.Length)
        {
            throw new ArgumentException($"{blocks.Length} bytes of {format} do not hold {values.Length} values", nameof(values));
        }

        fixed (float* x = values)
        fixed (byte* y = blocks)
        {
            switch (format)
            {
                case TensorFormat.F32:
                    Buffer.MemoryCopy(x, y, blocks.Length, blocks.Length);
                    return;
                case TensorFormat.F16:
                    for (int i = 0; i < values.Length; i++)
                    {
                        ((ushort*)y)[i] = HalfConversions.F32ToF16(x[i]);
                    }

                    return;
                case TensorFormat.BF16:
                    for (int i = 0; i < values.Length; i++)
                    {
                        ((ushort*)y)[i] = HalfConversions.F32ToBF16(x[i]);
                    }

                    return;
            }

            delegate*<float*, byte*, void> encode = Encoder(format);
            if (encode is null)
            {
                throw new NotSupportedException($"{format} can only be read; choose another format to write");
            }

            blocks.Clear();
            int elements = format.BlockElements();
            for (int b = 0; b < values.Length / elements; b++)
            {
                for (int i = b * elements; i < (b + 1) * elements; i++)
                {
                    if (!float.IsFinite(x[i]))
                    {
                        throw new ArgumentException($"value {i} is {x[i]}, and {format} holds finite values only", nameof(values));
                    }
                }

                encode(x + (b * elements), y + (b * format.BlockBytes()));
            }
        }
    }

    private static delegate*<float*, byte*, void> Encoder(TensorFormat format) => format switch
    {
        TensorFormat.Q1_0 => &Q1_0,
        TensorFormat.Q4_0 => &Q4_0,
        TensorFormat.Q4_1 => &Q4_1,
        TensorFormat.Q5_0 => &Q5_0,
        TensorFormat.Q5_1 => &Q5_1,
        TensorFormat.Q8_0 => &Q8_0,
        TensorFormat.Q8_1 => &Q8_1,
        TensorFormat.Q8_K => &Q8_K,
        TensorFormat.Q2_K => &Q2_K,
        TensorFormat.Q3_K => &Q3_K,
        TensorFormat.Q4_K => &Q4_K,
        TensorFormat.Q5_K => &Q5_K,
        TensorFormat.Q6_K => &Q6_K,
        TensorFormat.IQ4_NL => &IQ4_NL,
        TensorFormat.IQ4_XS => &IQ4_XS,
        TensorFormat.TQ1_0 => &TQ1_0,
        TensorFormat.TQ2_0 => &TQ2_0,
        TensorFormat.MXFP4 => &MXFP4,
        TensorFormat.NVFP4 => &NVFP4,
        _ => null,
    };

    /// <summary>Stores a scale as a half float and gives back what it decodes to.</summary>
    private static float StoreHalf(float value, byte* place)
    {
        ushort half = HalfConversions.F32ToF16(value);
        if ((half & 0x7c00) == 0x7c00)
        {
            throw new ArgumentException($"a block needs a scale of {value}, past the largest half float; choose a format with wider scales, such as BF16");
        }

        *(ushort*)place = half;
        return HalfConversions.F16ToF32(half);
    }

    /// <summary>The whole number nearest to value / scale within a range; 0, moved into the range, for scale 0.</summary>
    private static int Nearest(float value, float scale, int least, int most)
    {
        float quotient = scale == 0 ? 0 : value / scale;
        return (int)Math.Clamp(MathF.Round(quotient), least, most);
    }

    /// <summary>Index of the level nearest to a value.</summary>
    private static int NearestLevel(float value, ReadOnlySpan<sbyte> levels)
    {
        int best = 0;
        for (int i = 1; i < levels.Length; i++)
        {
            if (MathF.Abs(levels[i] - value) < MathF.Abs(levels[best] - value))
            {
                best = i;
            }
        }

        return best;
    }

    /// <summary>The value of largest magnitude, with its sign.</summary>
    private static float Extreme(float* x, int count)
    {
        float extreme = 0;
        for (int i = 0; i < count; i++)
        {
            extreme = MathF.Abs(x[i]) > MathF.Abs(extreme) ? x[i] : extreme;
        }

        return extreme;
    }

    private static (float Least, float Most) Range(float* x, int count)
    {
        float least = x[0];
        float most = x[0];
        for (int i = 1; i < count; i++)
        {
            least = MathF.Min(least, x[i]);
            most = MathF.Max(most, x[i]);
        }

        return (least, most);
    }
}
