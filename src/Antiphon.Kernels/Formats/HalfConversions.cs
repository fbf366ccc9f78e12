using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Antiphon.Kernels;

/// <summary>
/// Conversions between float32 and the 16-bit floats, given as bits. Rounding is to nearest, ties to even; what lies past the largest finite
/// value by half a step becomes infinite; subnormals are kept; a NaN stays a NaN of its sign.
/// </summary>
public static class HalfConversions
{
    /// <summary>The float32 of an IEEE half.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float F16ToF32(ushort half)
    {
        // The exponent is moved by a multiplication, which normalises subnormals on its way.
        uint magnitude = (uint)(half & 0x7fff) << 13;
        uint bits = BitConverter.SingleToUInt32Bits(BitConverter.UInt32BitsToSingle(magnitude) * 5.192297e33f);
        if (magnitude >= 0x0f800000)
        {
            bits |= magnitude > 0x0f800000 ? 0x7fc00000u : 0x7f800000u;
        }

        return BitConverter.UInt32BitsToSingle(bits | ((uint)(half & 0x8000) << 16));
    }

    /// <summary>The float32 of IEEE halfs in the lower halves of lanes, on any processor.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector256<float> F16ToF32(Vector256<uint> halfs)
    {
        // The exponent moves by 112; of subnormal numbers, which would slow a product down, a difference does it. Infinities and NaN keep the greatest exponent.
        Vector256<uint> magnitude = (halfs & Vector256.Create(0x7FFFu)) << 13;
        Vector256<float> least = Vector256.Create(6.103515625e-5f);
        Vector256<uint> subnormal = ((magnitude | least.AsUInt32()).AsSingle() - least).AsUInt32();
        Vector256<uint> number = Vector256.ConditionalSelect(
            Vector256.LessThan(magnitude.AsInt32(), Vector256.Create(1 << 23)).AsUInt32(), subnormal, magnitude + Vector256.Create(112u << 23));
        Vector256<uint> special = Vector256.GreaterThan(magnitude.AsInt32(), Vector256.Create((31 << 23) - 1)).AsUInt32() & Vector256.Create(0x7F800000u);
        return (number | special | ((halfs & Vector256.Create(0x8000u)) << 16)).AsSingle();
    }

    /// <summary>The IEEE half nearest to a float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort F32ToF16(float value) => BitConverter.HalfToUInt16Bits((Half)value);

    /// <summary>The float32 of a bfloat16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float BF16ToF32(ushort value) => BitConverter.UInt32BitsToSingle((uint)value << 16);

    /// <summary>The bfloat16 nearest to a float32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort F32ToBF16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value)
            ? (ushort)((bits >> 16) | 0x40)
            : (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }
}
