using Antiphon.Kernels;
using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;

namespace Antiphon.Models;

/// <summary>Decides in which layout a matrix is kept: that of its file, packed as bfloat16 kernels want it, or packed for products of integers.</summary>
internal sealed unsafe class MatrixPlacement(PackedKernels? rounded, MultiScaleKernels? split, ComputeTeam team, bool mapped)
{
    /// <summary>What a precision means on this machine.</summary>
    public static MatrixPlacement Create(MatrixPrecision precision, ComputeTeam team, WeightStore store, ModelSource source)
    {
        if (precision is MatrixPrecision.Int8 or MatrixPrecision.Int8OnePass)
        {
            var split = new MultiScaleKernels(passes: precision == MatrixPrecision.Int8 ? 2 : 1);
            store.Keep(split);
            return new MatrixPlacement(null, split, team, source.IsFileMapping);
        }

        if (precision == MatrixPrecision.Fast && PackedKernels.TryCreate(null, out PackedKernels? kernels, out _))
        {
            store.Keep(kernels);
            return new MatrixPlacement(kernels, null, team, source.IsFileMapping);
        }

        return new MatrixPlacement(null, null, team, mapped: false);
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
        WeightMatrix? packed = null;
        if (!exact && columns > 0)
        {
            packed = rounded is not null && PackedKernels.Supports(format) ? rounded.Pack(format, rows, columns, data, bytes, team)
                : split is not null && MultiScaleKernels.Supports(format) ? split.Pack(format, rows, columns, data, bytes, team)
                : null;
        }

        if (packed is null)
        {
            return WeightMatrix.Create(format, rows, columns, data, bytes);
        }

        if (mapped)
        {
            PackedMemory.ReleaseFilePages(data, bytes);
        }

        return packed;
    }
}
