namespace Antiphon.Kernels;

/// <summary>One of several ways to make a product of float32 numbers, all with the same bits.</summary>
/// <param name="Shares">Whether batches read rows as <see cref="TileWeights.BF16Shared"/>.</param>
/// <param name="Rows">
/// Most weight rows that tokens pass over at once; of rows that groups share, a part of <see cref="TileKernels.SharedRows"/>. Three times as many where every group decodes them,
/// but is to have no other form.
/// </param>
/// <param name="CacheEighths">Eighths of the second-level cache that a prompt's decoded rows take at most.</param>
/// <param name="Steps">Steps of a prompt's columns, sixteen each, that pass by at once.</param>
internal readonly record struct TilePlan(bool Shares, int Rows, int CacheEighths = 0, int Steps = 0)
{
    // Of a panel and a group of tokens, so many steps fit in the first-level cache.
    private static readonly int FittingSteps = CpuFeatures.Current.Level1Bytes >= 48 * 1024 ? 64 : 32;

    private static readonly TilePlan[] Sharing = [new(true, TileKernels.SharedRows), new(true, TileKernels.SharedRows / 2), new(false, 16), new(false, 32)];
    private static readonly TilePlan[] Batches = [new(false, 16), new(false, 32), new(false, 8)];
    private static readonly TilePlan[] Prompts =
    [
        new(false, 128, 4, FittingSteps), new(false, 64, 4, FittingSteps), new(false, 256, 6, FittingSteps), new(false, 128, 2, FittingSteps),
        new(false, 128, 4, FittingSteps / 2), new(false, 128, 4, 2 * FittingSteps),
    ];

    /// <summary>Numbers of tokens that are measured together: four at a time up to 32, and more.</summary>
    public const int Classes = 2 * ((TileKernels.MostTogether / 4) + 1);

    /// <summary>The plans for a number of tokens, the usually fastest first.</summary>
    /// <param name="shares">Whether groups of tokens may share rows, and usually should.</param>
    /// <param name="tokens">The tokens.</param>
    public static TilePlan[] For(bool shares, int tokens) => tokens > TileKernels.MostTogether ? Prompts : shares ? Sharing : Batches;

    /// <summary>The class of a number of tokens, from 0: the same for the same plans.</summary>
    /// <inheritdoc cref="For"/>
    public static int Class(bool shares, int tokens) => (2 * Math.Min((tokens - 1) / 4, TileKernels.MostTogether / 4)) + (shares ? 1 : 0);

    /// <summary>A class for people.</summary>
    public static string ClassName(int index) =>
        index / 2 == TileKernels.MostTogether / 4 ? $"{TileKernels.MostTogether + 1} tokens or more"
        : $"{(index / 2 * 4) + 1}-{(index / 2 * 4) + 4} tokens{(index % 2 == 1 ? " in eights" : "")}";

    /// <inheritdoc/>
    public override string ToString() =>
        Steps > 0 ? $"panels of {Rows} rows, {CacheEighths}/8 of the cache, {Steps} steps" : $"{Rows} rows{(Shares ? ", decoded by each group" : "")}";
}
