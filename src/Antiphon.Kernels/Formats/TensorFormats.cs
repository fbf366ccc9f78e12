namespace Antiphon.Kernels;

/// <summary>Sizes of the tensor formats, and the one place where tensor sizes are computed.</summary>
public static class TensorFormats
{
    /// <summary>Number of elements in one block of a format; 1 for the plain formats.</summary>
    public static int BlockElements(this TensorFormat format) => Describe(format).Elements;

    /// <summary>Number of bytes in one block of a format.</summary>
    public static int BlockBytes(this TensorFormat format) => Describe(format).Bytes;

    /// <summary>Whether the type number of a GGUF tensor info names a format that is known here.</summary>
    public static bool IsKnown(int number) => number is >= 0 and < 64 && Enum.IsDefined((TensorFormat)number);

    /// <summary>Bytes of a row of <paramref name="elements"/> values.</summary>
    /// <exception cref="ArgumentException">The row is not a whole number of blocks.</exception>
    /// <exception cref="OverflowException">The size does not fit in 64 bits.</exception>
    public static long ByteCount(this TensorFormat format, long elements)
    {
        (int blockElements, int blockBytes) = Describe(format);
        ArgumentOutOfRangeException.ThrowIfNegative(elements);
        if (elements % blockElements != 0)
        {
            throw new ArgumentException($"{elements} elements are not a whole number of {format} blocks of {blockElements}", nameof(elements));
        }

        return checked(elements / blockElements * blockBytes);
    }

    private static (int Elements, int Bytes) Describe(TensorFormat format) => format switch
    {
        TensorFormat.F32 or TensorFormat.I32 or TensorFormat.U32 => (1, 4),
        TensorFormat.F16 or TensorFormat.BF16 or TensorFormat.I16 or TensorFormat.U16 => (1, 2),
        TensorFormat.F64 or TensorFormat.I64 or TensorFormat.U64 => (1, 8),
        TensorFormat.I8 or TensorFormat.U8 or TensorFormat.BOOL or TensorFormat.F8_E4M3 or TensorFormat.F8_E5M2 or TensorFormat.F8_E8M0 => (1, 1),
        TensorFormat.Q1_0 => (128, 18),
        TensorFormat.Q4_0 => (32, 18),
        TensorFormat.Q4_1 => (32, 20),
        TensorFormat.Q5_0 => (32, 22),
        TensorFormat.Q5_1 => (32, 24),
        TensorFormat.Q8_0 => (32, 34),
        TensorFormat.Q8_1 => (32, 36),
        TensorFormat.Q8_K => (256, 292),
        TensorFormat.Q2_K => (256, 84),
        TensorFormat.Q3_K => (256, 110),
        TensorFormat.Q4_K => (256, 144),
        TensorFormat.Q5_K => (256, 176),
        TensorFormat.Q6_K => (256, 210),
        TensorFormat.IQ4_NL => (32, 18),
        TensorFormat.IQ4_XS => (256, 136),
        TensorFormat.IQ2_XXS => (256, 66),
        TensorFormat.IQ2_XS => (256, 74),
        TensorFormat.IQ2_S => (256, 82),
        TensorFormat.IQ3_XXS => (256, 98),
        TensorFormat.IQ3_S => (256, 110),
        TensorFormat.IQ1_S => (256, 50),
        TensorFormat.IQ1_M => (256, 56),
        TensorFormat.TQ1_0 => (256, 54),
        TensorFormat.TQ2_0 => (256, 66),
        TensorFormat.MXFP4 => (32, 17),
        TensorFormat.NVFP4 => (64, 36),
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "not a tensor format"),
    };
}
