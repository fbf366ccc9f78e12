namespace Antiphon.Kernels;

/// <summary>A piece of attention for one worker: some rows and heads of a slice that share a key head, over some segments of the cache.</summary>
internal struct AttentionItem
{
    public int Slice;
    public int Row;
    public int Rows;
    public int Head;
    public int Heads;

    /// <summary>First segment, and the one behind the last.</summary>
    public int Segment;
    public int SegmentEnd;

    /// <summary>Where this item's state goes when other items do the other segments; -1: the item is complete.</summary>
    public long Partial;
}
