using Antiphon.Kernels;
using Antiphon.Kernels.Packed;

namespace Antiphon.Models;

/// <summary>Decides in which layout a matrix is kept: that of its file, or packed for this machine's generated kernels.</summary>
internal sealed unsafe class MatrixPlacement(PackedKernels? kernels, ComputeTeam team, bool mapped)
{
    /// <summary>What a precision means on this machine.</summary>
    public static MatrixPlacement Create(MatrixPrecision precision, ComputeTeam team, WeightStore store, ModelSource source)
    {
        if (precision == MatrixPrecision.Fast && PackedKernels.TryCreate(null, out PackedKernels? kernels, out _))
        {
            store.Keep(kernels);
            return new MatrixPlacement(kernels, team, source.IsFileMapping);
        }

        return new MatrixPlacement(null, team, mapped: false);
    }

    /// <summary>Makes the matrix of a tensor.</summary>
    /// <param name="format">Its format.</param>
    /// <param name="rows">Output features.</param>
    /// <param name="columns">Input features.</param>
    /// <param name="data">Its first block, in a mapped file.</param>
    /// <param name="bytes">Its bytes.</param>
    /// <param name="exact">Whether it stays as it is: small differences would change what follows (routers), or it is changed next (adapters).</param>
    public WeightMatrix Place(TensorFormat format, int rows, int columns, byte* data, long bytes, bool exact)
    {
        if (kernels is null || exact || columns == 0 || !PackedKernels.Supports(format))
        {
            return WeightMatrix.Create(format, rows, columns, data, bytes);
        }

        WeightMatrix packed = kernels.Pack(format, rows, columns, data, bytes, team);
        if (mapped)
        {
            PackedMemory.ReleaseFilePages(data, bytes);
        }

        return packed;
    }
}
