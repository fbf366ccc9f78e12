using System.Runtime.Intrinsics;

namespace Antiphon.Kernels;

/// <summary>What the four-bit codes of the table formats stand for.</summary>
internal static class Nibbles
{
    /// <summary>The levels of IQ4_NL and IQ4_XS.</summary>
    public static Vector128<sbyte> NonLinear => Vector128.Create(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

    /// <summary>E2M1 numbers, doubled to make them whole.</summary>
    public static Vector128<sbyte> DoubledE2M1 => Vector128.Create(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

    /// <summary>Half of the power of two that an E8M0 scale stands for.</summary>
    public static float HalfPowerOfTwo(byte exponent) =>
        BitConverter.Int32BitsToSingle(exponent < 2 ? 0x200000 << exponent : (exponent - 1) << 23);
}
