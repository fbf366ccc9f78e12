namespace Antiphon.Kernels.Packed;

/// <summary>One of several ways to make a product in AMX tiles, all with the same bits.</summary>
/// <param name="CacheEighths">Eighths of the second-level cache that a panel of expanded strips takes; 0: every tile is expanded for up to four groups of tokens.</param>
internal readonly record struct PackedPlan(int CacheEighths)
{
    private static readonly PackedPlan[] OnlyStream = [new(0)];
    private static readonly PackedPlan[] StreamFirst = [new(0), new(4), new(2)];
    private static readonly PackedPlan[] PanelsFirst = [new(4), new(2), new(3), new(5), new(6)];

    /// <summary>Numbers of tokens that are measured together: up to 16, 32, 48, 64, 128, more.</summary>
    public const int Classes = 6;

    private const int Expanded = 16 * AmxStreamKernel.MaxGroups;

    /// <summary>The plans for a number of tokens, the usually fastest first: strips of many tokens are expanded once for all rather than once for every few groups.</summary>
    public static PackedPlan[] For(KernelTier tier, int tokens) => tier != KernelTier.Amx || tokens <= 32 ? OnlyStream : tokens <= Expanded ? StreamFirst : PanelsFirst;

    /// <summary>The class of a number of tokens, from 0.</summary>
    public static int Class(int tokens) => tokens <= Expanded ? (tokens - 1) / 16 : tokens <= 128 ? 4 : 5;

    /// <summary>A class for people.</summary>
    public static string ClassName(int index) => index < 4 ? $"{(16 * index) + 1}-{16 * (index + 1)} tokens" : index == 4 ? "65-128 tokens" : "129 tokens or more";

    /// <inheritdoc/>
    public override string ToString() => CacheEighths == 0 ? "tile by tile" : $"panels of {CacheEighths}/8 of the cache";
}
