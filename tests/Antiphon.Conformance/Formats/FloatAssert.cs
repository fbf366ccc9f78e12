using System.Buffers.Binary;

namespace Antiphon.Conformance;

/// <summary>Comparison of decoded values with expected ones.</summary>
internal static class FloatAssert
{
    /// <summary>Every bit equal, except the sign of a zero.</summary>
    public static void BitEqual(ReadOnlySpan<byte> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, 4 * actual.Length);
        for (int i = 0; i < actual.Length; i++)
        {
            float wanted = BinaryPrimitives.ReadSingleLittleEndian(expected[(4 * i)..]);
            bool same = BitConverter.SingleToUInt32Bits(wanted) == BitConverter.SingleToUInt32Bits(actual[i]) || (wanted == 0 && actual[i] == 0);
            if (!same)
            {
                Assert.Fail($"{what}, value {i}: expected {wanted:R}, got {actual[i]:R}");
            }
        }
    }
}
