using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Tests.Matrices;

namespace Antiphon.Kernels.Tests.MultiScale;

public sealed unsafe class CodeMatrixTests
{
    public static TheoryData<KernelTier, TensorFormat> TiersAndFormats
    {
        get
        {
            TheoryData<KernelTier, TensorFormat> data = [];
            foreach (KernelTier tier in Enum.GetValues<KernelTier>())
            {
                foreach (CodeLayout layout in CodeLayout.Layouts)
                {
                    data.Add(tier, layout.Format);
                }
            }

            return data;
        }
    }

    public static TheoryData<KernelTier> Tiers => [.. Enum.GetValues<KernelTier>()];

    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Every_batch_team_and_tier_gives_the_defined_bits(KernelTier tier, TensorFormat format)
    {
        Random random = new((int)format + (100 * (int)tier));
        int block = format.BlockElements();
        using ComputeTeam alone = new(1);
        using ComputeTeam three = new(3);
        foreach (int passes in new[] { 2, 1 })
        {
            using MultiScaleKernels kernels = Require(tier, passes);
            foreach (int columns in new[] { block, 3 * block, 512 + block })
            {
                foreach (int rows in new[] { 1, 16, random.Next(17, 150) })
                {
                    byte[] bytes = RandomWeights.Create(format, rows, columns, random);
                    using Activations x = new();
                    using Activations part = new();
                    RandomWeights.Fill(x, 37, columns, random);
                    fixed (byte* data = bytes)
                    {
                        WeightMatrix matrix = kernels.Pack(format, rows, columns, data, bytes.Length, three);
                        float[] expected = Define(format, bytes, rows, x, passes);
                        foreach (int count in new[] { 1, 2, random.Next(3, 15), 15, 16, 17, random.Next(18, 37), 37 })
                        {
                            Copy(x, part, random.Next(0, x.Rows - count + 1), count, out int first);
                            AssertSame(expected.AsSpan(first * rows, count * rows), Multiply(matrix, part, rows + random.Next(3), count % 2 == 0 ? alone : three));
                        }
                    }
                }
            }
        }
    }

    private static MultiScaleKernels Require(KernelTier tier, int passes = 2)
    {
        if (tier > CpuFeatures.Current.BestTier)
        {
            Assert.Skip($"this machine has no {tier}");
        }

        return new MultiScaleKernels(tier, passes);
    }

    /// <summary>The result as the portable definitions have it, from a layout packed by a team of one.</summary>
    private static float[] Define(TensorFormat format, byte[] bytes, int rows, Activations x, int passes)
    {
        CodeLayout layout = CodeLayout.Find(format)!;
        using ComputeTeam team = new(1);
        using NativeBuffer<byte> strips = new((rows + 15) / 16 * layout.StripBytes(x.Columns));
        fixed (byte* data = bytes)
        {
            CodePacker.Pack(layout, rows, x.Columns, data, strips.Pointer, team);
        }

        float[] result = new float[x.Rows * rows];
        short[] integers = new short[x.Columns];
        for (int i = 0; i < x.Rows; i++)
        {
            RowScale scale = SplitArithmetic.Split(new ReadOnlySpan<float>(x.Row(i), x.Columns), passes, integers);
            for (int row = 0; row < rows; row++)
            {
                result[(i * rows) + row] = SplitArithmetic.Dot(layout, strips.Pointer + (row / 16 * layout.StripBytes(x.Columns)), x.Columns, row % 16, integers, scale);
            }
        }

        return result;
    }

    private static void Copy(Activations from, Activations to, int start, int count, out int first)
    {
        first = start;
        to.Reset(count, from.Columns);
        for (int i = 0; i < count; i++)
        {
            new Span<float>(from.Row(start + i), from.Columns).CopyTo(new Span<float>(to.Row(i), from.Columns));
        }
    }

    /// <summary>Multiplies into rows that are further apart than they need be, and checks that nothing is written between them.</summary>
    private static float[] Multiply(WeightMatrix matrix, Activations x, int stride, ComputeTeam team)
    {
        const float Untouched = 12345;
        using NativeBuffer<float> y = new(((long)x.Rows * stride) + 16);
        y.Span(0, (int)y.Length).Fill(Untouched);
        matrix.Multiply(x, y.Pointer, stride, team);
        float[] result = new float[x.Rows * matrix.Rows];
        for (int i = 0; i < x.Rows; i++)
        {
            y.Span((long)i * stride, matrix.Rows).CopyTo(result.AsSpan(i * matrix.Rows));
            y.Span((long)i * stride, matrix.Rows).Fill(Untouched);
        }

        Assert.True(y.Span(0, (int)y.Length).IndexOfAnyExcept(Untouched) < 0, "written beside the output");
        return result;
    }

    private static void AssertSame(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            bool same = BitConverter.SingleToInt32Bits(expected[i]) == BitConverter.SingleToInt32Bits(actual[i]) || (float.IsNaN(expected[i]) && float.IsNaN(actual[i]));
            Assert.True(same, $"output {i} of {expected.Length}: expected {expected[i]:R}, got {actual[i]:R}");
        }
    }
}
