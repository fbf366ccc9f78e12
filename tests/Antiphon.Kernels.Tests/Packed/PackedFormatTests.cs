using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tests.Matrices;

namespace Antiphon.Kernels.Tests.Packed;

public sealed unsafe class PackedFormatTests
{
    public static TheoryData<TensorFormat> Formats => PackedTiers.Formats;

    [Theory]
    [MemberData(nameof(Formats))]
    public void Packing_keeps_every_value(TensorFormat format)
    {
        Random random = new((int)format);
        PackedFormat packed = PackedFormat.Find(format)!;
        int block = format.BlockElements();
        using ComputeTeam team = StaleTeam.Of(2);
        foreach (int columns in block == 1 ? [1, 31, 32, 33, 64, 100] : new[] { block, 2 * block, 5 * block })
        {
            foreach (int rows in new[] { 1, 15, 16, 17, 50 })
            {
                byte[] bytes = RandomWeights.Create(format, rows, columns, random);
                using GuardedMemory source = new(bytes.Length);
                bytes.CopyTo(new Span<byte>(source.Pointer, bytes.Length));
                int strips = (rows + 15) / 16;
                long stripBytes = packed.StripBytes(columns);
                using GuardedMemory memory = new(strips * stripBytes);
                TilePacker.Pack(packed, rows, columns, source.Pointer, memory.Pointer, team);
                float[] values = new float[32];
                for (int row = 0; row < rows; row++)
                {
                    float[] expected = RandomWeights.Decode(format, bytes, columns, row);
                    for (int step = 0; step < PackedFormat.Steps(columns); step++)
                    {
                        packed.Decode(memory.Pointer + (row / 16 * stripBytes), step, row % 16, values);
                        Assert.Equal(expected[(32 * step)..Math.Min(columns, 32 * (step + 1))], values[..Math.Min(32, columns - (32 * step))]);
                    }
                }
            }
        }
    }

    [Fact]
    public void Rounding_is_to_nearest_even()
    {
        Assert.Equal(0x3F80, BFloat16.Round(1));
        Assert.Equal(0x3F80, BFloat16.Round(1 + (1f / 256)));
        Assert.Equal(0x3F82, BFloat16.Round(1 + (3f / 256)));
        Assert.Equal(0x8000, BFloat16.Round(-1e-40f));
        Assert.Equal(0x7F80, BFloat16.Round(float.MaxValue));
        Assert.True(float.IsNaN(BFloat16.Value(BFloat16.Round(BitConverter.UInt32BitsToSingle(0x7F800001)))));
        Assert.Equal(0, BFloat16.Value(0x0040));
    }
}
