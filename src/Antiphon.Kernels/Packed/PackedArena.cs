namespace Antiphon.Kernels.Packed;

/// <summary>
/// Memory for many packed matrices, one behind the other, so that small ones share huge pages too: fewer faults while packing, fewer misses of the address
/// cache while reading. Each piece of memory goes back to the system with the last matrix in it.
/// </summary>
#pragma warning disable CA1001 // The piece belongs to the matrices in it; with the last of them it goes.
internal sealed unsafe class PackedArena
#pragma warning restore CA1001
{
    // Addresses, not memory: pages come into being when they are written.
    private const long PieceBytes = 256L << 20;
    private const long Alignment = 4096;

    private readonly Lock gate = new();
    private PackedMemory? piece;
    private long used;

    /// <summary>Takes zeroed memory, aligned to a page.</summary>
    /// <param name="bytes">Bytes.</param>
    /// <param name="owner">Keeps it alive.</param>
    /// <exception cref="InsufficientMemoryException">There is no such memory.</exception>
    public byte* Take(long bytes, out PackedMemory owner)
    {
        // What would leave much of a piece empty gets one of its own.
        if (bytes > PieceBytes / 4)
        {
            owner = new PackedMemory(bytes);
            return owner.Pointer;
        }

        lock (gate)
        {
            if (piece is null || used + bytes > PieceBytes)
            {
                piece = new PackedMemory(PieceBytes);
                used = 0;
            }

            owner = piece;
            byte* taken = piece.Pointer + used;
            used += (bytes + Alignment - 1) & -Alignment;
            return taken;
        }
    }
}
