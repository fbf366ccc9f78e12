using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Rotary position embeddings.</summary>
internal static unsafe class Rotation
{
    /// <summary>Rotates the first values of each head.</summary>
    public static void Apply(VectorKernels kernels, RopeSpec rope, float* heads, int count, int stride, float* cosines, float* sines)
    {
        if (rope.Interleaved)
        {
            kernels.RotatePairs(heads, count, stride, cosines, sines, rope.Size);
        }
        else
        {
            kernels.RotateHalves(heads, count, stride, cosines, sines, rope.Size);
        }
    }
}
