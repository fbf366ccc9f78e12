using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.Tests.Matrices;

public sealed unsafe class ActivationsTests
{
    private const int Columns = 96;
    private const int MatrixRows = 40;

    private readonly byte[] weights = new byte[MatrixRows * Columns / 32 * 34];

    public ActivationsTests()
    {
        Random random = new(5);
        for (int i = 0; i < weights.Length; i++)
        {
            // Scales between 1/4 and 1/2.
            weights[i] = i % 34 == 1 ? (byte)0x35 : (byte)random.Next(256);
        }
    }

    [Theory]
    [InlineData(KernelTier.Portable)]
    [InlineData(KernelTier.Avx2)]
    [InlineData(KernelTier.Avx512)]
    [InlineData(KernelTier.Amx)]
    public void Rows_written_for_a_matrix_of_integers_give_the_same_products(KernelTier tier)
    {
        Assert.SkipUnless(CpuFeatures.Current.Tiers.Contains(tier), $"this machine does not run {tier}");
        using ComputeTeam team = StaleTeam.Of(2);
        using MultiScaleKernels kernels = new(tier);
        fixed (byte* data = weights)
        {
            Check(kernels.Pack(TensorFormat.Q8_0, MatrixRows, Columns, data, weights.Length, team), team);
        }
    }

    [Fact]
    public void Rows_written_for_a_packed_matrix_give_the_same_products()
    {
        using ComputeTeam team = StaleTeam.Of(2);
        Assert.SkipUnless(PackedKernels.TryCreate(null, out PackedKernels? kernels, out string? reason), reason ?? "no packed kernels");
        using (kernels)
        {
            fixed (byte* data = weights)
            {
                Check(kernels!.Pack(TensorFormat.Q8_0, MatrixRows, Columns, data, weights.Length, team), team, leastRows: kernels.Tier == KernelTier.Amx ? 64 : 1);
            }
        }
    }

    [Theory]
    [InlineData(KernelTier.Portable)]
    [InlineData(KernelTier.Avx2)]
    [InlineData(KernelTier.Avx512)]
    public void Rows_written_for_a_matrix_of_float32_products_give_the_same_products(KernelTier tier)
    {
        Assert.SkipUnless(CpuFeatures.Current.Tiers.Contains(tier), $"this machine does not run {tier}");
        using ComputeTeam team = StaleTeam.Of(2);
        byte[] numbers = [.. weights.Select((w, i) => (byte)(i % 2 == 0 ? w : 0x3C ^ (w & 0x83)))];
        fixed (byte* data = weights, number = numbers)
        {
            Check(WeightMatrix.Create(TensorFormat.Q8_0, MatrixRows, Columns, data, weights.Length, tier), team, leastRows: 3);
            Check(WeightMatrix.Create(TensorFormat.BF16, MatrixRows, Columns / 2, number, numbers.Length, tier), team, leastRows: 3);
        }
    }

    [Fact]
    public void Nothing_is_written_where_there_is_no_form()
    {
        using ComputeTeam team = StaleTeam.Of(2);
        using MultiScaleKernels kernels = new();
        using Activations x = new();
        fixed (byte* data = weights)
        {
            WeightMatrix integers = kernels.Pack(TensorFormat.Q8_0, MatrixRows, Columns, data, weights.Length, team);
            WeightMatrix exact = WeightMatrix.Create(TensorFormat.Q8_0, MatrixRows, Columns, data, weights.Length);
            RowSource source = new() { X = x };
            x.Reset(200, Columns);
            Assert.False(x.TryWrite(ref source, null, team));
            x.Reset(2, Columns);
            Assert.False(x.TryWrite(ref source, exact, team));
            x.Reset(0, Columns);
            Assert.False(x.TryWrite(ref source, integers, team));
            x.Reset(200, Columns - 32);
            Assert.False(x.TryWrite(ref source, integers, team));
        }
    }

    private static void Check(WeightMatrix matrix, ComputeTeam team, int leastRows = 1)
    {
        using Activations plain = new();
        using Activations written = new();
        foreach (int rows in new[] { 1, 2, 3, 5, 8, 13, 16, 17, 24, 40, 49, 64, 65, 130, 200 }.Where(rows => rows >= leastRows))
        {
            plain.Reset(rows, matrix.Columns);
            written.Reset(rows, matrix.Columns);
            RowSource source = new() { X = plain };
            for (int row = 0; row < rows; row++)
            {
                source.Row(row, 0);
            }

            source.X = written;
            Assert.True(written.TryWrite(ref source, matrix, team));
            Assert.Equal(Product(matrix, plain, team), Product(matrix, written, team));
        }
    }

    private static float[] Product(WeightMatrix matrix, Activations x, ComputeTeam team)
    {
        float[] y = new float[x.Rows * MatrixRows];
        fixed (float* output = y)
        {
            matrix.Multiply(x, output, MatrixRows, team);
        }

        Assert.Contains(y, value => value != 0);
        return y;
    }

    private struct RowSource : IRowWork
    {
        public Activations X;

        public readonly void Row(int row, int worker)
        {
            Random random = new(row);
            for (int i = 0; i < X.Columns; i++)
            {
                X.Row(row)[i] = (random.NextSingle() * 2) - 1;
            }
        }
    }
}
