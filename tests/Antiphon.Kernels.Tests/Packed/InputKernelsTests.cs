using Antiphon.Kernels.Jit;
using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.Tests.Packed;

public sealed unsafe class InputKernelsTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Nothing_is_read_or_written_past_the_rows(bool tiles)
    {
        using PackedKernels kernels = PackedTiers.Require(KernelTier.Avx512);
        GeneratedCode kernel = tiles ? kernels.InputTiles : kernels.InputRows;
        Random random = new(1);
        using NativeBuffer<byte> scratch = new(1024);
        foreach (int tokens in new[] { 1, 2, 7, 15, 16 })
        {
            foreach (int columns in new[] { 1, 15, 16, 17, 31, 32 })
            {
                using GuardedMemory source = new(4L * tokens * columns);
                using GuardedMemory destination = new(64L * tokens);
                float* values = (float*)source.Pointer;
                for (int i = 0; i < tokens * columns; i++)
                {
                    values[i] = (random.NextSingle() * 2) - 1;
                }

                InputArguments arguments = new()
                {
                    Source = values,
                    SourceStride = 4 * columns,
                    Tokens = tokens,
                    Steps = 1,
                    Destination = destination.Pointer,
                    DestinationStride = tiles ? 4 * tokens : 64,
                    LowMask = (1 << Math.Min(columns, 16)) - 1,
                    HighMask = (1 << Math.Max(columns - 16, 0)) - 1,
                    TokenMask = (1 << tokens) - 1,
                    Scratch = scratch.Pointer,
                };
                kernel.Run(&arguments);
                ushort* packed = (ushort*)destination.Pointer;
                for (int token = 0; token < tokens; token++)
                {
                    for (int column = 0; column < 32; column++)
                    {
                        int at = tiles ? (column / 2 * tokens * 2) + (2 * token) + (column % 2) : (32 * token) + column;
                        Assert.Equal(column < columns ? BFloat16.Round(values[(token * columns) + column]) : 0, packed[at]);
                    }
                }
            }
        }
    }
}
