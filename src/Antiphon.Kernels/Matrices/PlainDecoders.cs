namespace Antiphon.Kernels;

/// <summary>Decoders of formats without blocks into one run of memory, filled up with zeros to a multiple of sixteen.</summary>
internal static unsafe class PlainDecoders<T>
    where T : unmanaged, ILanes<T>
{
    public static void F32(byte* source, int count, float* values) => PlainRows<T, F32Values<T>>.Decode(source, count, values, 16);

    public static void F16(byte* source, int count, float* values) => PlainRows<T, F16Values<T>>.Decode(source, count, values, 16);

    public static void BF16(byte* source, int count, float* values) => PlainRows<T, BF16Values<T>>.Decode(source, count, values, 16);
}
