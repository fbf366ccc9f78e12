namespace Antiphon.Kernels;

/// <summary>Chooses what decodes weights of a format on a tier.</summary>
/// <remarks>
/// A decoder takes whole blocks, a number of values and room for them rounded up to sixteen, which it fills with zeros. The values are exactly
/// <see cref="BlockDecoder"/>'s: scales are products without rounding in every one of these formats, so the order of operations does not matter.
/// </remarks>
internal static unsafe class RowDecoders
{
    /// <summary>The decoder of a format, or null where there is only <see cref="BlockDecoder"/>.</summary>
    public static delegate*<byte*, int, float*, void> For(TensorFormat format, KernelTier tier) => tier switch
    {
        KernelTier.Portable => For<LanesPortable>(format),
        KernelTier.Avx2 => For<Lanes256>(format),
        _ => For<Lanes512>(format),
    };

    private static delegate*<byte*, int, float*, void> For<T>(TensorFormat format)
        where T : unmanaged, ILanes<T> => format switch
        {
            TensorFormat.F32 => &PlainDecoders<T>.F32,
            TensorFormat.F16 => &PlainDecoders<T>.F16,
            TensorFormat.BF16 => &PlainDecoders<T>.BF16,
            TensorFormat.Q8_0 => &BlockDecoders<T>.Q8_0,
            TensorFormat.Q4_0 => &BlockDecoders<T>.Q4_0,
            TensorFormat.Q4_1 => &BlockDecoders<T>.Q4_1,
            TensorFormat.Q5_0 => &BlockDecoders<T>.Q5_0,
            TensorFormat.Q5_1 => &BlockDecoders<T>.Q5_1,
            TensorFormat.IQ4_NL => &BlockDecoders<T>.IQ4_NL,
            TensorFormat.MXFP4 => &BlockDecoders<T>.MXFP4,
            TensorFormat.Q2_K => &SuperblockDecoders<T>.Q2_K,
            TensorFormat.Q3_K => &SuperblockDecoders<T>.Q3_K,
            TensorFormat.Q4_K => &SuperblockDecoders<T>.Q4_K,
            TensorFormat.Q5_K => &SuperblockDecoders<T>.Q5_K,
            TensorFormat.Q6_K => &SuperblockDecoders<T>.Q6_K,
            TensorFormat.IQ4_XS => &SuperblockDecoders<T>.IQ4_XS,
            _ => null,
        };
}
