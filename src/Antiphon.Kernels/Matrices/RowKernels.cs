namespace Antiphon.Kernels;

/// <summary>What computes with weights of a format on a tier.</summary>
internal unsafe struct RowKernels
{
    /// <summary>
    /// Decodes whole blocks: from where, how many values, where to, and how many floats lie from sixteen values to the next; zeros fill up the last sixteen.
    /// Null where there is only <see cref="BlockDecoder"/>.
    /// </summary>
    public delegate*<byte*, int, float*, int, void> Decode;

    /// <summary>Multiplies four rows with one input, see <see cref="BlockRows{T, TBlocks}.MultiplyFour"/>. Null where there is only <see cref="Decode"/>.</summary>
    public delegate*<byte*, int, float*, float*, float*, void> MultiplyFour;

    /// <summary>Floats of scratch memory for the scales of so many columns of all rows together.</summary>
    public delegate*<int, int> FactorCount;

    /// <summary>Turns the scales of some blocks into floats, see <see cref="IBlocks{T}.Prepare"/>. Null where there are no blocks.</summary>
    public delegate*<byte*, int, float*, void> Prepare;

    /// <summary>Columns of a block, and floats that are its scales; both 0 where there are no blocks.</summary>
    public int BlockColumns;

    /// <inheritdoc cref="BlockColumns"/>
    public int BlockFactors;

    /// <summary>Chooses by format and tier.</summary>
    public static RowKernels For(TensorFormat format, KernelTier tier) => tier switch
    {
        KernelTier.Portable => For<LanesPortable>(format),
        KernelTier.Avx2 => For<Lanes256>(format),
        _ => For<Lanes512>(format),
    };

    private static RowKernels For<T>(TensorFormat format)
        where T : unmanaged, ILanes<T> => format switch
        {
            TensorFormat.F32 => Plain<T, F32Values<T>>(),
            TensorFormat.F16 => Plain<T, F16Values<T>>(),
            TensorFormat.BF16 => Plain<T, BF16Values<T>>(),
            TensorFormat.Q8_0 => Blocks<T, Q8_0Blocks<T>>(),
            TensorFormat.Q4_0 => Blocks<T, Q4_0Blocks<T>>(),
            TensorFormat.Q4_1 => Blocks<T, Q4_1Blocks<T>>(),
            TensorFormat.Q5_0 => Blocks<T, Q5_0Blocks<T>>(),
            TensorFormat.Q5_1 => Blocks<T, Q5_1Blocks<T>>(),
            TensorFormat.IQ4_NL => Blocks<T, IQ4_NLBlocks<T>>(),
            TensorFormat.MXFP4 => Blocks<T, MXFP4Blocks<T>>(),
            TensorFormat.Q2_K => Blocks<T, Q2_KBlocks<T>>(),
            TensorFormat.Q3_K => Blocks<T, Q3_KBlocks<T>>(),
            TensorFormat.Q4_K => Blocks<T, Q4_KBlocks<T>>(),
            TensorFormat.Q5_K => Blocks<T, Q5_KBlocks<T>>(),
            TensorFormat.Q6_K => Blocks<T, Q6_KBlocks<T>>(),
            TensorFormat.IQ4_XS => Blocks<T, IQ4_XSBlocks<T>>(),
            _ => default,
        };

    private static RowKernels Plain<T, TValues>()
        where T : unmanaged, ILanes<T>
        where TValues : struct, IPlainValues<T> => new()
        {
            Decode = &PlainRows<T, TValues>.Decode,
            MultiplyFour = &PlainRows<T, TValues>.MultiplyFour,
            FactorCount = &PlainRows<T, TValues>.FactorCount,
        };

    private static RowKernels Blocks<T, TBlocks>()
        where T : unmanaged, ILanes<T>
        where TBlocks : struct, IBlocks<T> => new()
        {
            Decode = &BlockRows<T, TBlocks>.Decode,
            MultiplyFour = &BlockRows<T, TBlocks>.MultiplyFour,
            FactorCount = &BlockRows<T, TBlocks>.FactorCount,
            Prepare = &TBlocks.Prepare,
            BlockColumns = TBlocks.Columns,
            BlockFactors = TBlocks.Factors,
        };
}
