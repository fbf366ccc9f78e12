namespace Antiphon.Kernels.Tiled;

/// <summary>Sizes that fix the order of sums of tiled attention, and with it every bit of an output.</summary>
internal static class TiledSizes
{
    /// <summary>Queries side by side in a vector or tile.</summary>
    public const int Columns = 16;

    /// <summary>Keys that one tile product sums over.</summary>
    public const int StepKeys = 32;

    /// <summary>Keys between two looks at the greatest score.</summary>
    public const int BlockKeys = 128;

    /// <summary>Steps in a block.</summary>
    public const int BlockSteps = BlockKeys / StepKeys;

    /// <summary>Keys with sums of their own: the unit in which long contexts are shared among threads.</summary>
    public const int SegmentKeys = 1024;

    /// <summary>Blocks in a segment.</summary>
    public const int SegmentBlocks = SegmentKeys / BlockKeys;

    /// <summary>Values of a row, filled up to whole steps of 32.</summary>
    public static int Padded(int size) => (size + 31) & ~31;

    /// <summary>
    /// Bytes of the state of 16 queries: a vector with the shift of their exponents (in powers of two), one with the sums of their weights, and one for each value of
    /// a value row with the weighted sums.
    /// </summary>
    public static int StateBytes(int valueSize) => (2 + Padded(valueSize)) * 64;
}
