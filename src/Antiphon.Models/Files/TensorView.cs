using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>A tensor inside a mapped file. Its bytes were checked to lie within the file.</summary>
/// <param name="Name">Its name in the file.</param>
/// <param name="Format">What its bits mean.</param>
/// <param name="Shape">Dimensions, outermost first: a matrix is [output features, input features] whatever the file format's own order.</param>
/// <param name="Data">Address of the first byte; valid while the source is open.</param>
/// <param name="ByteCount">Number of bytes.</param>
public readonly record struct TensorView(string Name, TensorFormat Format, IReadOnlyList<long> Shape, nint Data, long ByteCount)
{
    /// <summary>Number of elements.</summary>
    public long ElementCount
    {
        get
        {
            long count = 1;
            foreach (long dimension in Shape)
            {
                count = checked(count * dimension);
            }

            return count;
        }
    }

    /// <summary>The bytes; only for tensors of less than 2 GiB.</summary>
    public unsafe ReadOnlySpan<byte> Bytes => new((byte*)Data, checked((int)ByteCount));
}
