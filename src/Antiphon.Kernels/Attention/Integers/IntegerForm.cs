namespace Antiphon.Kernels.Integers;

/// <summary>Instructions that products of attention over integers are generated for. The results are the same.</summary>
internal enum IntegerForm
{
    /// <summary>Products of pairs, and additions.</summary>
    Avx2,

    /// <summary>Products of pairs that are added in the same instruction (AVX-VNNI).</summary>
    Avx2Fused,

    /// <summary>The same on vectors of 512 bits (AVX-512 VNNI).</summary>
    Avx512,
}
