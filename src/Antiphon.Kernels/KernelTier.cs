namespace Antiphon.Kernels;

/// <summary>Instruction sets that kernels are written for, from the one every machine runs to the widest.</summary>
public enum KernelTier
{
    /// <summary>Plain .NET on any machine; 128-bit vectors where there are any.</summary>
    Portable,

    /// <summary>x86 with AVX2 and FMA.</summary>
    Avx2,

    /// <summary>x86 with AVX-512 F, BW, DQ and VL.</summary>
    Avx512,

    /// <summary>AVX-512 and the AMX tile units for int8 and bfloat16.</summary>
    Amx,
}
