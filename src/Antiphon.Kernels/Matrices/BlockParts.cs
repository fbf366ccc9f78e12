using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Antiphon.Kernels;

/// <summary>What decoders of blocks have in common.</summary>
internal static unsafe class BlockParts
{
    /// <summary>Some bits of every byte.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Bits(Vector128<byte> q, int shift, byte mask) => (q.AsUInt16() >> shift).AsByte() & Vector128.Create(mask);

    /// <summary>Sixteen bits as bytes of 16 or 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Fifth(byte* bits)
    {
        Vector128<byte> places = Vector128.Create(0x8040201008040201UL).AsByte();
        Vector128<byte> spread = Vector128.Create(Vector64.Create(bits[0]), Vector64.Create(bits[1]));
        return Vector128.Equals(spread & places, places) & Vector128.Create((byte)16);
    }

    /// <summary>One half-precision number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Half(byte* source)
    {
        uint half = *(ushort*)source;
        if ((half & 0x7C00) == 0x7C00)
        {
            return (float)*(Half*)source;
        }

        // What the conversion of .NET gives, without its many instructions: the same digits under another exponent, which a power of two puts right exactly.
        float magnitude = BitConverter.UInt32BitsToSingle((half & 0x7FFF) << 13) * BitConverter.UInt32BitsToSingle((127 + 112) << 23);
        return BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(magnitude) | ((half & 0x8000) << 16));
    }

    /// <summary>Converts half-precision numbers that lie apart.</summary>
    /// <param name="source">The first.</param>
    /// <param name="stride">Bytes between them.</param>
    /// <param name="count">How many.</param>
    /// <param name="values">Room for the count and 16 more.</param>
    public static void Halves<T>(byte* source, int stride, int count, float* values)
        where T : unmanaged, ILanes<T>
    {
        // They are collected in the end of the room first: the results never overtake what is still to be read.
        ushort* halves = (ushort*)(values + ((count + 15) & ~15)) - ((count + 15) & ~15);
        for (ushort* half = halves; half < halves + count; half++, source += stride)
        {
            *half = *(ushort*)source;
        }

        Convert<T>(halves, count, values);
    }

    /// <summary>Converts pairs of half-precision numbers; see <see cref="Halves"/>.</summary>
    public static void HalfPairs<T>(byte* source, int stride, int count, float* values)
        where T : unmanaged, ILanes<T>
    {
        uint* pairs = (uint*)(values + (((2 * count) + 15) & ~15)) - ((((2 * count) + 15) & ~15) / 2);
        for (uint* pair = pairs; pair < pairs + count; pair++, source += stride)
        {
            *pair = *(uint*)source;
        }

        Convert<T>((ushort*)pairs, 2 * count, values);
    }

    /// <summary>The eight scales of six bits and the eight minima that twelve bytes of Q4_K and Q5_K hold, in that order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> SixBits(byte* packed)
    {
        uint first = *(uint*)packed;
        uint second = *(uint*)(packed + 4);
        uint third = *(uint*)(packed + 8);
        return Vector128.Create(
            first & 0x3F3F3F3F,
            (third & 0x0F0F0F0F) | ((first >> 2) & 0x30303030),
            second & 0x3F3F3F3F,
            ((third >> 4) & 0x0F0F0F0F) | ((second >> 2) & 0x30303030)).AsByte();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Convert<T>(ushort* halves, int count, float* values)
        where T : unmanaged, ILanes<T>
    {
        for (int i = 0; i < count; i += 16)
        {
            T.LoadHalf(halves + i).Store(values + i);
        }
    }
}
