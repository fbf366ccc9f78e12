using System.Runtime.Intrinsics;

namespace Antiphon.Kernels.Tests.Formats;

public sealed class HalfConversionsTests
{
    [Fact]
    public void Halfs_in_vectors_are_those_alone()
    {
        for (uint first = 0; first < 1 << 16; first += 8)
        {
            Vector256<float> widened = HalfConversions.F16ToF32(Vector256.Create(first, first + 1, first + 2, first + 3, first + 4, first + 5, first + 6, first + 7));
            for (int i = 0; i < 8; i++)
            {
                float expected = HalfConversions.F16ToF32((ushort)(first + i));
                Assert.True(float.IsNaN(expected) ? float.IsNaN(widened[i]) : BitConverter.SingleToInt32Bits(expected) == BitConverter.SingleToInt32Bits(widened[i]), $"{first + i}");
            }
        }
    }
}
