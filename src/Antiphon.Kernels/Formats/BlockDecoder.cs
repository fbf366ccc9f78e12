using System.Buffers.Binary;

namespace Antiphon.Kernels;

/// <summary>Turns blocks of any format into float32 values: the portable definition of what the bits of a format mean.</summary>
public static class BlockDecoder
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

        switch (format)
        {
            case TensorFormat.F32:
                for (int i = 0; i < values.Length; i++)
                {
                    values[i] = BinaryPrimitives.ReadSingleLittleEndian(blocks[(4 * i)..]);
                }

                break;
            case TensorFormat.F16:
                for (int i = 0; i < values.Length; i++)
                {
                    values[i] = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks[(2 * i)..]);
                }

                break;
            case TensorFormat.BF16:
                for (int i = 0; i < values.Length; i++)
                {
                    values[i] = BitConverter.Int32BitsToSingle(BinaryPrimitives.ReadUInt16LittleEndian(blocks[(2 * i)..]) << 16);
                }

                break;
            case TensorFormat.Q8_0:
                for (int b = 0; b < values.Length / 32; b++)
                {
                    float scale = (float)BinaryPrimitives.ReadHalfLittleEndian(blocks[(34 * b)..]);
                    for (int j = 0; j < 32; j++)
                    {
                        values[(32 * b) + j] = scale * (sbyte)blocks[(34 * b) + 2 + j];
                    }
                }

                break;
            default:
                throw new NotSupportedException($"no decoder for {format} yet");
        }
    }
}
