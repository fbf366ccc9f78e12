using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Tests.Matrices;

namespace Antiphon.Kernels.Tests.MultiScale;

public sealed unsafe class WordPackerTests
{
    /// <summary>The largest word.</summary>
    public const int Largest = 2047;

    public static TheoryData<KernelTier> Tiers => CodeMatrixTests.Tiers;

    /// <summary>What words keep of a row: multiples of 2^-10 of the greatest binade of each 32 columns.</summary>
    public static float[] Rounded(float[] row)
    {
        float[] rounded = new float[row.Length];
        for (int first = 0; first < row.Length; first += 32)
        {
            Range block = first..Math.Min(first + 32, row.Length);
            double largest = row[block].Max(value => Math.Abs((double)value));
            double unit = Math.ScaleB(1, Math.Max(largest == 0 ? int.MinValue : Math.ILogB(largest) - 10, -126));
            for (int i = first; i < block.End.Value; i++)
            {
                rounded[i] = double.IsFinite(largest) ? (float)(Math.Round(row[i] / unit, MidpointRounding.ToEven) * unit) : float.NaN;
            }
        }

        return rounded;
    }

    [Theory]
    [InlineData(TensorFormat.BF16)]
    [InlineData(TensorFormat.F16)]
    public void Words_are_within_their_bound_and_those_near_the_greatest_exact(TensorFormat format)
    {
        Random random = new(3);
        for (int round = 0; round < 200; round++)
        {
            int columns = random.Next(1, 100);
            float size = MathF.ScaleB(1, format == TensorFormat.F16 ? random.Next(-12, 15) : random.Next(-100, 100));
            float[] row = [.. Enumerable.Range(0, columns).Select(_ => Nearest(format, ((random.NextSingle() * 2) - 1) * MathF.ScaleB(size, -random.Next(8))))];
            float[] words = Decode(format, row);
            Assert.Equal(Rounded(row), words);
            for (int i = 0; i < columns; i++)
            {
                float largest = row[(i / 32 * 32)..Math.Min(columns, (i / 32 * 32) + 32)].Max(MathF.Abs);
                float bound = MathF.Abs(row[i]) >= MathF.ScaleB(1, MathF.ILogB(largest) - (format == TensorFormat.F16 ? 0 : 3)) ? 0 : largest / 2048;
                Assert.InRange(MathF.Abs(words[i] - row[i]), 0, bound);
            }
        }
    }

    [Theory]
    [InlineData(float.MaxValue)]
    [InlineData(1e-30f)]
    [InlineData(1.2e-35f)]
    [InlineData(0f)]
    public void Words_of_any_size_are_as_they_should_be(float size)
    {
        float[] row = [.. Enumerable.Range(0, 64).Select(i => Nearest(TensorFormat.BF16, size / 33 * (i - 31)))];
        Assert.Equal(Rounded(row), Decode(TensorFormat.BF16, row));
    }

    /// <summary>Subnormal numbers of half precision, and its greatest.</summary>
    [Fact]
    public void Halfs_of_any_size_are_as_they_should_be()
    {
        foreach (float size in new[] { 6e-8f, 1e-6f, 6e-5f, 65504f })
        {
            float[] row = [.. Enumerable.Range(0, 64).Select(i => Nearest(TensorFormat.F16, size / 32 * (i - 32)))];
            Assert.Equal(Rounded(row), Decode(TensorFormat.F16, row));
        }
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void A_weight_that_is_no_number_makes_its_row_none(KernelTier tier)
    {
        if (tier > CpuFeatures.Current.BestTier)
        {
            Assert.Skip($"this machine has no {tier}");
        }

        const int Columns = 70;
        const int Rows = 20;
        using ComputeTeam team = StaleTeam.Of(1);
        using MultiScaleKernels kernels = new(tier);
        using Activations x = new();
        byte[] bytes = new byte[2 * Columns * Rows];
        for (int i = 0; i < Rows * Columns; i++)
        {
            Store(bytes, i, i % 7);
        }

        Store(bytes, (3 * Columns) + 40, float.NaN);
        Store(bytes, (17 * Columns) + 69, float.NegativeInfinity);
        fixed (byte* data = bytes)
        {
            WeightMatrix matrix = kernels.Pack(TensorFormat.BF16, Rows, Columns, data, bytes.Length, team);
            foreach (int tokens in new[] { 1, 9, 40 })
            {
                RandomWeights.Fill(x, tokens, Columns, new Random(tokens));
                float[] y = new float[tokens * Rows];
                fixed (float* output = y)
                {
                    matrix.Multiply(x, output, Rows, team);
                }

                Assert.All(Enumerable.Range(0, y.Length), i => Assert.Equal(i % Rows is 3 or 17, float.IsNaN(y[i])));
            }
        }
    }

    /// <summary>Against exact products: the weights' error, not that of rounded activations, which have 16 bits.</summary>
    [Fact]
    public void Products_are_far_closer_than_bfloat16_activations_would_make_them()
    {
        const int Columns = 1024;
        const int Rows = 64;
        Random random = new(8);
        using ComputeTeam team = StaleTeam.Of(1);
        using MultiScaleKernels kernels = new();
        using Activations x = new();
        float[] weights = [.. Enumerable.Range(0, Rows * Columns).Select(_ => Nearest(TensorFormat.BF16, Normal(random)))];
        byte[] bytes = new byte[2 * weights.Length];
        for (int i = 0; i < weights.Length; i++)
        {
            Store(bytes, i, weights[i]);
        }

        x.Reset(8, Columns);
        for (int i = 0; i < 8 * Columns; i++)
        {
            x.Row(i / Columns)[i % Columns] = Normal(random);
        }

        float[] y = new float[8 * Rows];
        fixed (byte* data = bytes)
        {
            fixed (float* output = y)
            {
                kernels.Pack(TensorFormat.BF16, Rows, Columns, data, bytes.Length, team).Multiply(x, output, Rows, team);
            }
        }

        double words = 0;
        double rounded = 0;
        for (int token = 0; token < 8; token++)
        {
            for (int row = 0; row < Rows; row++)
            {
                double exact = 0;
                double activations = 0;
                for (int column = 0; column < Columns; column++)
                {
                    exact += (double)weights[(row * Columns) + column] * x.Row(token)[column];
                    activations += (double)weights[(row * Columns) + column] * Nearest(TensorFormat.BF16, x.Row(token)[column]);
                }

                words += Math.Pow(y[(token * Rows) + row] - exact, 2);
                rounded += Math.Pow(activations - exact, 2);
            }
        }

        Assert.InRange(Math.Sqrt(words / rounded), 0, 0.25);
    }

    private static float[] Decode(TensorFormat format, float[] row)
    {
        byte[] bytes = new byte[2 * row.Length];
        for (int i = 0; i < row.Length; i++)
        {
            BitConverter.TryWriteBytes(bytes.AsSpan(2 * i), format == TensorFormat.F16 ? HalfConversions.F32ToF16(row[i]) : HalfConversions.F32ToBF16(row[i]));
        }

        using ComputeTeam team = StaleTeam.Of(1);
        using MultiScaleKernels kernels = new(KernelTier.Portable);
        float[] values = new float[row.Length];
        fixed (byte* data = bytes)
        {
            kernels.Pack(format, 1, row.Length, data, bytes.Length, team).DecodeRow(0, values);
        }

        return values;
    }

    private static void Store(byte[] bytes, int index, float value) => BitConverter.TryWriteBytes(bytes.AsSpan(2 * index), HalfConversions.F32ToBF16(value));

    private static float Nearest(TensorFormat format, float value) =>
        format == TensorFormat.F16 ? HalfConversions.F16ToF32(HalfConversions.F32ToF16(value)) : HalfConversions.BF16ToF32(HalfConversions.F32ToBF16(value));

    private static float Normal(Random random) => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
}
