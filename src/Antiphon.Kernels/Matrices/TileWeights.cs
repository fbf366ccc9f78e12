namespace Antiphon.Kernels;

/// <summary>How a kernel finds its weights.</summary>
internal enum TileWeights
{
    /// <summary>Decoded and laid out for it.</summary>
    Panel,

    /// <summary>Rows of float32 numbers.</summary>
    F32,

    /// <summary>Rows of half-precision numbers.</summary>
    F16,

    /// <summary>Rows of bfloat16 numbers.</summary>
    BF16,

    /// <summary>Rows of bfloat16 numbers, three at a time, which each of several groups of tokens decodes for itself.</summary>
    BF16Shared,

    /// <summary>Rows of Q8_0 blocks.</summary>
    Q8_0,

    /// <summary>Rows of Q4_0 blocks.</summary>
    Q4_0,

    /// <summary>Rows of Q4_K blocks.</summary>
    Q4_K,

    /// <summary>Rows of Q6_K blocks.</summary>
    Q6_K,
}
