namespace Antiphon.Kernels;

/// <summary>
/// A format of blocks, decoded in registers: the one description behind decoding rows into memory and multiplying them without going there.
/// The values are exactly <see cref="BlockDecoder"/>'s: scales are products without rounding in every one of these formats, so the order of
/// operations does not matter.
/// </summary>
internal unsafe interface IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    /// <summary>Values of a block; a multiple of 32.</summary>
    static abstract int Columns { get; }

    /// <summary>Bytes of a block.</summary>
    static abstract int Bytes { get; }

    /// <summary>Floats that <see cref="Prepare"/> writes for a block.</summary>
    static abstract int Factors { get; }

    /// <summary>Turns the scales of some blocks into floats, which is cheaper together than one by one.</summary>
    /// <param name="source">The first block.</param>
    /// <param name="blocks">Number of blocks.</param>
    /// <param name="factors">Room for <see cref="Factors"/> floats a block, and 16 more.</param>
    static abstract void Prepare(byte* source, int blocks, float* factors);

    /// <summary>Decodes 32 values.</summary>
    /// <param name="block">The block.</param>
    /// <param name="factors">What <see cref="Prepare"/> wrote for it.</param>
    /// <param name="pair">Which 32 values of the block.</param>
    /// <param name="first">The first sixteen.</param>
    /// <param name="second">The others.</param>
    static abstract void Pair(byte* block, float* factors, int pair, out T first, out T second);
}
