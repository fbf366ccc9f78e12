namespace Antiphon.Kernels.Packed;

/// <summary>
/// The huge pages that begin in memory which is about to be packed into. The system clears a page when it is touched first, which takes as long as packing into it; of two workers that meet in
/// a page both clear one, and one of these is thrown away. So workers take whole pages into use before they pack: each is cleared once, and several at a time.
/// </summary>
internal readonly unsafe struct FreshPages
{
    private readonly byte* first;

    /// <summary>The pages of a range.</summary>
    /// <param name="start">Where it begins.</param>
    /// <param name="bytes">Its length.</param>
    public FreshPages(byte* start, long bytes)
    {
        first = (byte*)(((nint)start + (nint)PackedMemory.HugePage - 1) & -(nint)PackedMemory.HugePage);
        Count = (int)Math.Max(0, (start + bytes - first + PackedMemory.HugePage - 1) / PackedMemory.HugePage);
    }

    /// <summary>Number of pages.</summary>
    public int Count { get; }

    /// <summary>Takes a page into use. Changes no byte, so that others may write there already.</summary>
    public void Touch(int page) => Interlocked.Or(ref *(int*)(first + (page * PackedMemory.HugePage)), 0);
}
