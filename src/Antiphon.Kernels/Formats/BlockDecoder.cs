namespace Antiphon.Kernels;

/// <summary>
/// Turns blocks of any format into float32 values: the portable definition of what the bits of a format mean. Non-finite scales and values are
/// decoded by the rules of IEEE arithmetic and touch no other block.
/// </summary>
public static unsafe class BlockDecoder
{
    /// <summary>Decodes whole blocks.</summary>
    /// <param name="format">The format of <paramref name="blocks"/>.</param>
    /// <param name="blocks">Whole blocks, one after the other.</param>
    /// <param name="values">Receives the values; exactly as many as the blocks hold.</param>
    /// <exception cref="ArgumentException">The lengths do not belong together.</exception>
    public static void Decode(TensorFormat format, ReadOnlySpan<byte> blocks, Span<float> values)
    {
        if (format.ByteCount(values.Length) != blocks.Length)
        {
            throw new ArgumentException($"{blocks.Length} bytes of {format} do not hold {values.Length} values", nameof(values));
        }

        fixed (byte* x = blocks)
        fixed (float* y = values)
        {
            Decode(format, x, y, values.Length);
        }
    }

    /// <summary>Decodes whole blocks through pointers, which need not be aligned.</summary>
    /// <param name="format">The format of the blocks.</param>
    /// <param name="x">The first block.</param>
    /// <param name="y">Receives the values.</param>
    /// <param name="count">Number of values; whole blocks.</param>
    public static void Decode(TensorFormat format, byte* x, float* y, long count)
    {
        switch (format)
        {
            case TensorFormat.F32:
                Buffer.MemoryCopy(x, y, 4 * count, 4 * count);
                break;
            case TensorFormat.F16:
                for (long i = 0; i < count; i++)
                {
                    y[i] = HalfConversions.F16ToF32(((ushort*)x)[i]);
                }

                break;
            case TensorFormat.BF16:
                for (long i = 0; i < count; i++)
                {
                    y[i] = HalfConversions.BF16ToF32(((ushort*)x)[i]);
                }

                break;
            case TensorFormat.F64:
                for (long i = 0; i < count; i++)
                {
                    y[i] = (float)((double*)x)[i];
                }

                break;
            case TensorFormat.I8:
                for (long i = 0; i < count; i++)
                {
                    y[i] = ((sbyte*)x)[i];
                }

                break;
            case TensorFormat.I16:
                for (long i = 0; i < count; i++)
                {
                    y[i] = ((short*)x)[i];
                }

                break;
            case TensorFormat.I32:
                for (long i = 0; i < count; i++)
                {
                    y[i] = ((int*)x)[i];
                }

                break;
            case TensorFormat.I64:
                for (long i = 0; i < count; i++)
                {
                    y[i] = ((long*)x)[i];
                }

                break;
            case TensorFormat.U8:
                for (long i = 0; i < count; i++)
                {
                    y[i] = x[i];
                }

                break;
            case TensorFormat.U16:
                for (long i = 0; i < count; i++)
                {
                    y[i] = ((ushort*)x)[i];
                }

                break;
            case TensorFormat.U32:
                for (long i = 0; i < count; i++)
                {
                    y[i] = (long)((uint*)x)[i];
                }

                break;
            case TensorFormat.U64:
                for (long i = 0; i < count; i++)
                {
                    y[i] = PlainFormats.Nearest(((ulong*)x)[i]);
                }

                break;
            case TensorFormat.BOOL:
                for (long i = 0; i < count; i++)
                {
                    y[i] = x[i] != 0 ? 1 : 0;
                }

                break;
            case TensorFormat.F8_E4M3:
                Look(SmallFloats.E4M3, x, y, count);
                break;
            case TensorFormat.F8_E5M2:
                Look(SmallFloats.E5M2, x, y, count);
                break;
            case TensorFormat.F8_E8M0:
                Look(SmallFloats.E8M0, x, y, count);
                break;
            default:
                DecodeBlocks(format, x, y, count);
                break;
        }
    }

    private static void Look(ReadOnlySpan<float> table, byte* x, float* y, long count)
    {
        for (long i = 0; i < count; i++)
        {
            y[i] = table[x[i]];
        }
    }

    private static void DecodeBlocks(TensorFormat format, byte* x, float* y, long count)
    {
        delegate*<byte*, float*, void> block = format switch
        {
            TensorFormat.Q1_0 => &PlainFormats.Q1_0,
            TensorFormat.Q4_0 => &PlainFormats.Q4_0,
            TensorFormat.Q4_1 => &PlainFormats.Q4_1,
            TensorFormat.Q5_0 => &PlainFormats.Q5_0,
            TensorFormat.Q5_1 => &PlainFormats.Q5_1,
            TensorFormat.Q8_0 => &PlainFormats.Q8_0,
            TensorFormat.Q8_1 => &PlainFormats.Q8_1,
            TensorFormat.Q8_K => &PlainFormats.Q8_K,
            TensorFormat.Q2_K => &KQuants.Q2_K,
            TensorFormat.Q3_K => &KQuants.Q3_K,
            TensorFormat.Q4_K => &KQuants.Q4_K,
            TensorFormat.Q5_K => &KQuants.Q5_K,
            TensorFormat.Q6_K => &KQuants.Q6_K,
            TensorFormat.IQ4_NL => &IQuants.IQ4_NL,
            TensorFormat.IQ4_XS => &IQuants.IQ4_XS,
            TensorFormat.IQ2_XXS => &IQuants.IQ2_XXS,
            TensorFormat.IQ2_XS => &IQuants.IQ2_XS,
            TensorFormat.IQ2_S => &IQuants.IQ2_S,
            TensorFormat.IQ3_XXS => &IQuants.IQ3_XXS,
            TensorFormat.IQ3_S => &IQuants.IQ3_S,
            TensorFormat.IQ1_S => &IQuants.IQ1_S,
            TensorFormat.IQ1_M => &IQuants.IQ1_M,
            TensorFormat.TQ1_0 => &Ternary.TQ1_0,
            TensorFormat.TQ2_0 => &Ternary.TQ2_0,
            TensorFormat.MXFP4 => &Fp4.MXFP4,
            TensorFormat.NVFP4 => &Fp4.NVFP4,
            _ => throw new ArgumentOutOfRangeException(nameof(format), format, "not a tensor format"),
        };
        int elements = format.BlockElements();
        int bytes = format.BlockBytes();
        for (long b = count / elements; b > 0; b--, x += bytes, y += elements)
        {
            block(x, y);
        }
    }
}
