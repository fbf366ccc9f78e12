using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.MultiScale;

/// <summary>
/// Memory for many matrices in few large pieces: a matrix of a megabyte or less would not get a huge page of its own, and reading through small pages costs
/// translations. A piece goes back to the system when no matrix holds it any more.
/// </summary>
internal sealed unsafe class WeightArena
{
    private const long PieceBytes = 64 << 20;
    private const long Alignment = 4096;

    private readonly Lock gate = new();
    // Not to be disposed here: matrices may outlive the arena.
    private object? piece;
    private byte* start;
    private long used;
    private long size;

    /// <summary>Zeroed memory, aligned to a page.</summary>
    /// <param name="bytes">How much.</param>
    /// <param name="owner">What the user must hold on to.</param>
    /// <exception cref="InsufficientMemoryException">There is no such memory.</exception>
    public byte* Take(long bytes, out object owner)
    {
        bytes = checked(bytes + Alignment - 1) & -Alignment;
        lock (gate)
        {
            if (piece is null || bytes > size - used)
            {
                // What is left of the last piece was never touched and takes no memory.
                size = Math.Max(bytes, PieceBytes);
                PackedMemory memory = new(size);
                piece = memory;
                start = memory.Pointer;
                used = 0;
            }

            owner = piece;
            used += bytes;
            return start + used - bytes;
        }
    }
}
