namespace Antiphon.Kernels.Packed;

/// <summary>Truth tables for <c>vpternlog</c> a, b, c.</summary>
internal static class Ternary
{
    /// <summary>(a and b) or c.</summary>
    public const byte AndOr = 0xEA;

    /// <summary>a or (b and c).</summary>
    public const byte OrAnd = 0xF8;
}
