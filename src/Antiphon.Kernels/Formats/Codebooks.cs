using System.Numerics;
using System.Runtime.InteropServices;

namespace Antiphon.Kernels;

/// <summary>
/// The codebooks of the IQ formats, unpacked once into memory that stays for the life of the process, so that kernels can gather from it.
/// An entry is 4 or 8 signed bytes, the first element first.
/// </summary>
public static unsafe partial class Codebooks
{
    /// <summary>IQ2_XXS: 256 entries of 8 elements of 8, 25 or 43.</summary>
    public static readonly sbyte* IQ2XXS = Unpack(PackedIQ2XXS, 8, [8, 25, 43]);

    /// <summary>IQ2_XS: 512 entries of 8 elements of 8, 25 or 43.</summary>
    public static readonly sbyte* IQ2XS = Unpack(PackedIQ2XS, 8, [8, 25, 43]);

    /// <summary>IQ2_S: 1024 entries of 8 elements of 8, 25 or 43.</summary>
    public static readonly sbyte* IQ2S = Unpack(PackedIQ2S, 8, [8, 25, 43]);

    /// <summary>IQ3_XXS: 256 entries of 4 elements of 4 to 62.</summary>
    public static readonly sbyte* IQ3XXS = Unpack(PackedIQ3XXS, 4, [4, 12, 20, 28, 36, 44, 52, 62]);

    /// <summary>IQ3_S: 512 entries of 4 odd elements of 1 to 15.</summary>
    public static readonly sbyte* IQ3S = Unpack(PackedIQ3S, 4, [1, 3, 5, 7, 9, 11, 13, 15]);

    /// <summary>IQ1_S and IQ1_M: 2048 entries of 8 elements of -1, 0 or 1.</summary>
    public static readonly sbyte* IQ1 = Unpack(PackedIQ1, 8, [-1, 0, 1]);

    /// <summary>The sign bits that a 7-bit sign index stands for, 128 bytes: bit j set makes element j negative; bit 7 makes the number of ones even.</summary>
    public static readonly byte* Signs = UnpackSigns();

    /// <summary>The 16 levels of IQ4_NL and IQ4_XS.</summary>
    public static ReadOnlySpan<sbyte> IQ4 => [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

    /// <summary>The 16 levels of MXFP4 and NVFP4: twice the values of E2M1.</summary>
    public static ReadOnlySpan<sbyte> E2M1Doubled => [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

    private static sbyte* Unpack(ReadOnlySpan<ushort> packed, int elements, ReadOnlySpan<sbyte> levels)
    {
        int bits = 16 / elements == 2 ? 2 : 3;
        sbyte* entries = (sbyte*)NativeMemory.AlignedAlloc((nuint)(packed.Length * elements), 64);
        for (int i = 0; i < packed.Length * elements; i++)
        {
            entries[i] = levels[(packed[i / elements] >> (bits * (i % elements))) & ((1 << bits) - 1)];
        }

        return entries;
    }

    private static byte* UnpackSigns()
    {
        byte* signs = (byte*)NativeMemory.AlignedAlloc(128, 64);
        for (uint i = 0; i < 128; i++)
        {
            signs[i] = (byte)(i | ((uint)(BitOperations.PopCount(i) & 1) << 7));
        }

        return signs;
    }
}
