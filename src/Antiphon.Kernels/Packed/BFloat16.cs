using System.Runtime.CompilerServices;

namespace Antiphon.Kernels.Packed;

/// <summary>Rounding to bfloat16 as the processor's conversion instructions do it.</summary>
internal static class BFloat16
{
    /// <summary>Rounds to nearest, ties to even; subnormal numbers become zero, NaN stays NaN.</summary>
    public static ushort Round(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        if (float.IsNaN(value))
        {
            return (ushort)((bits >> 16) | 0x40);
        }

        return (bits & 0x7F800000) == 0 ? (ushort)(bits >> 16 & 0x8000) : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>Rounds to nearest, ties away from zero, by adding half a unit to the bits; subnormal numbers stay what they are.</summary>
    public static ushort RoundAway(float value) => (ushort)((BitConverter.SingleToUInt32Bits(value) + 0x8000) >> 16);

    /// <summary>The exact value; subnormal numbers become zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Value(ushort bits) => (bits & 0x7F80) == 0 ? BitConverter.UInt32BitsToSingle((uint)(bits & 0x8000) << 16) : BitConverter.UInt32BitsToSingle((uint)bits << 16);
}
