namespace Antiphon.Kernels;

/// <summary>All that the workers of one attention need.</summary>
internal unsafe struct AttentionProblem
{
    public AttentionShape Shape;
    public PagedRows Keys;
    public PagedRows Values;
    public int BlockSize;
    public AttentionSlice* Slices;
    public float* Sinks;
    public AttentionItem* Items;
    public int ItemCount;
    public float* Partials;

    /// <summary>Whether values are the beginnings of the keys' rows.</summary>
    public readonly bool ValuesAreKeys =>
        Keys.Data == Values.Data && Keys.Format == Values.Format && Shape.ValueSize <= Shape.KeySize && Keys.RowStride == Values.RowStride
        && Keys.HeadStride == Values.HeadStride && Keys.BlockStride == Values.BlockStride;

    /// <summary>The output of one query head.</summary>
    public readonly float* Output(in AttentionItem item, int query)
    {
        ref readonly AttentionSlice slice = ref Slices[item.Slice];
        return slice.Outputs + ((long)(item.Row + (query / item.Heads)) * slice.OutputStride) + ((long)(item.Head + (query % item.Heads)) * Shape.ValueSize);
    }
}
