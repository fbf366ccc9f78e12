namespace Antiphon.Kernels.MultiScale;

/// <summary>How a product is made.</summary>
internal enum ProductKind
{
    /// <summary>In C#.</summary>
    Lanes,

    /// <summary><see cref="PairStripKernel"/>.</summary>
    PairStrips,

    /// <summary><see cref="PairPanelKernel"/>.</summary>
    PairPanels,

    /// <summary><see cref="DotKernel"/>.</summary>
    Dot,

    /// <summary><see cref="StripKernel"/>.</summary>
    Strips,

    /// <summary><see cref="StripKernel"/>, with words.</summary>
    WordStrips,

    /// <summary><see cref="PanelKernel"/>.</summary>
    Panels,

    /// <summary><see cref="TileKernel"/>.</summary>
    Tiles,
}

/// <summary>One of several ways to make a product, all with the same bits.</summary>
/// <param name="Kind">The kernel.</param>
/// <param name="Panel">Unpacked strips that share a pass over all tokens and should stay in the second-level cache: KiB of panels, a number of tiles.</param>
internal readonly record struct ProductPlan(ProductKind Kind, int Panel = 0)
{
    private static readonly ProductPlan[] InLanes = [new(ProductKind.Lanes)];
    private static readonly ProductPlan[] OnlyPairStrips = [new(ProductKind.PairStrips)];
    private static readonly ProductPlan[] PairStripsFirst = [new(ProductKind.PairStrips), .. Sized(ProductKind.PairPanels, 256, 64)];
    private static readonly ProductPlan[] PairPanelsFirst = [.. Sized(ProductKind.PairPanels, 256, 64, 128, 512), new(ProductKind.PairStrips)];
    private static readonly ProductPlan[] StripsFirst = [new(ProductKind.Strips), new(ProductKind.Dot)];
    private static readonly ProductPlan[] OnlyStrips = [new(ProductKind.Strips)];
    private static readonly ProductPlan[] OnlyWordStrips = [new(ProductKind.WordStrips)];
    private static readonly ProductPlan[] OnlyPanels = [.. Sized(ProductKind.Panels, 512, 128, 256, 768, 1024)];
    private static readonly ProductPlan[] DotBeforeTiles = [new(ProductKind.Dot), new(ProductKind.Tiles, 8)];
    private static readonly ProductPlan[] TilesFirst = [new(ProductKind.Tiles, 8), new(ProductKind.Dot)];
    private static readonly ProductPlan[] OnlyTiles = [.. Sized(ProductKind.Tiles, 8, 4, 16)];

    /// <summary>Numbers of tokens that are measured together: 1, 2, 3 and 4, 5, 6 to 8, 9 to 16, 17 to 48, more.</summary>
    public const int Classes = 8;

    /// <summary>The class of a number of tokens, from 0.</summary>
    public static int Class(int tokens) => tokens switch { 1 => 0, 2 => 1, <= 4 => 2, 5 => 3, <= 8 => 4, <= 16 => 5, <= 48 => 6, _ => 7 };

    /// <summary>A class for people.</summary>
    public static string ClassName(int index) => index switch { 0 => "1 token", 1 => "2 tokens", 2 => "3-4 tokens", 3 => "5 tokens", 4 => "6-8 tokens", 5 => "9-16 tokens", 6 => "17-48 tokens", _ => "49 tokens or more" };

    /// <summary>The plans for a class, the usually fastest first.</summary>
    public static ProductPlan[] For(MultiScaleKernels kernels, CodeLayout layout, int index) => (kernels.IsGenerated, kernels.HasTiles, index) switch
    {
        (false, _, _) => InLanes,
        _ when layout.IsWords && !kernels.HasPairs => OnlyWordStrips,
        _ when kernels.HasPairs => index switch { <= 4 => OnlyPairStrips, <= 6 => PairStripsFirst, _ => PairPanelsFirst },
        (_, true, <= 4) => DotBeforeTiles,
        (_, true, 5) => TilesFirst,
        (_, true, _) => OnlyTiles,
        (_, _, <= 4) => StripsFirst,
        (_, _, <= 6) => kernels.Passes == 2 ? OnlyWordStrips : OnlyStrips,
        _ => OnlyPanels,
    };

    /// <summary>The order of split activations that the kernel reads.</summary>
    /// <param name="passes">1 or 2.</param>
    public SplitOrder Order(int passes) => Kind switch
    {
        ProductKind.Panels when passes == 2 => SplitOrder.Pairs,
        ProductKind.Lanes or ProductKind.PairStrips or ProductKind.PairPanels or ProductKind.WordStrips => SplitOrder.Pairs,
        ProductKind.Strips or ProductKind.Panels => SplitOrder.Unsigned,
        _ => SplitOrder.Bytes,
    };

    /// <inheritdoc/>
    public override string ToString() => Kind switch
    {
        ProductKind.PairStrips => "strips",
        ProductKind.WordStrips => "strips of words",
        ProductKind.Panels or ProductKind.PairPanels => $"panels of {Panel} KiB",
        ProductKind.Tiles => $"tiles, {Panel} strips",
        _ => Kind.ToString().ToLowerInvariant(),
    };

    private static IEnumerable<ProductPlan> Sized(ProductKind kind, params int[] sizes) => sizes.Select(size => new ProductPlan(kind, size));
}
