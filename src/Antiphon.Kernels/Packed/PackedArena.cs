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

    // Huge pages that a team takes into use at once.
    private const int MostPages = 4;

    private readonly Lock gate = new();
    private PackedMemory? piece;
    private long used;
    private long touched;

    /// <summary>Takes zeroed memory, aligned to a page.</summary>
    /// <param name="bytes">Bytes.</param>
    /// <param name="team">Who makes the memory real: the system clears each huge page when it is touched first, which takes longer than packing into it.</param>
    /// <param name="owner">Keeps it alive.</param>
    /// <exception cref="InsufficientMemoryException">There is no such memory.</exception>
    public byte* Take(long bytes, ComputeTeam team, out PackedMemory owner)
    {
        // What would leave much of a piece empty gets one of its own.
        if (bytes > PieceBytes / 4)
        {
            owner = new PackedMemory(bytes);
            owner.Touch(0, bytes, team);
            return owner.Pointer;
        }

        lock (gate)
        {
            if (piece is null || used + bytes > PieceBytes)
            {
                piece = new PackedMemory(PieceBytes);
                used = 0;
                touched = 0;
            }

            if (used + bytes > touched)
            {
                // A page for each worker at least, also for small matrices.
                long end = Math.Min(Math.Max(used + bytes, touched + (Math.Min(team.Size, MostPages) * PackedMemory.HugePage)), PieceBytes);
                end = (end + PackedMemory.HugePage - 1) & -PackedMemory.HugePage;
                piece.Touch(touched, end, team);
                touched = end;
            }

            owner = piece;
            byte* taken = piece.Pointer + used;
            used += (bytes + Alignment - 1) & -Alignment;
            return taken;
        }
    }
}
