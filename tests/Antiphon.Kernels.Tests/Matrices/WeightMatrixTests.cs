using Antiphon.Kernels.Tuning;

namespace Antiphon.Kernels.Tests.Matrices;

public sealed unsafe class WeightMatrixTests
{
    public static TheoryData<TensorFormat> Formats => RandomWeights.Formats;

    [Theory]
    [MemberData(nameof(Formats))]
    public void Every_tier_batch_and_team_gives_the_defined_bits(TensorFormat format)
    {
        Random random = new((int)format);
        int block = format.BlockElements();
        int[] widths = block == 1 ? [1, 15, 16, 17, 100, 513, 1040] : [block, 2 * block, 3 * block, 1024, 1536 + block];
        using ComputeTeam alone = new(1);
        using ComputeTeam three = new(3);
        foreach (int columns in widths)
        {
            int rows = random.Next(1, 40);
            byte[] bytes = RandomWeights.Create(format, rows, columns, random);
            using Activations x = new();
            using Activations part = new();
            RandomWeights.Fill(x, 19, columns, random);
            int[] expected = Define(format, bytes, rows, x);
            fixed (byte* data = bytes)
            {
                foreach (KernelTier tier in CpuFeatures.Current.Tiers)
                {
                    WeightMatrix matrix = WeightMatrix.Create(format, rows, columns, data, bytes.Length, tier);
                    foreach (int count in new[] { 0, 1, 2, 3, 4, 5, 6, 7, 13, 19 })
                    {
                        part.Reset(count, columns);
                        for (int i = 0; i < count; i++)
                        {
                            new Span<float>(x.Row(i), columns).CopyTo(new Span<float>(part.Row(i), columns));
                        }

                        Assert.Equal(expected[..(count * rows)], Multiply(matrix, part, count % 2 == 0 ? alone : three));
                    }
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Nothing_is_read_past_the_weights(TensorFormat format)
    {
        Random random = new(5);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        foreach (int columns in format.BlockElements() == 1 ? [1, 3, 16, 17, 31, 48, 512, 513] : new[] { format.BlockElements(), 768 })
        {
            foreach (int rows in new[] { 1, 4, 7, 8 })
            {
                byte[] bytes = RandomWeights.Create(format, rows, columns, random);
                using GuardedMemory memory = new(bytes.Length);
                bytes.CopyTo(new Span<byte>(memory.Pointer, bytes.Length));
                foreach (KernelTier tier in CpuFeatures.Current.Tiers)
                {
                    WeightMatrix matrix = WeightMatrix.Create(format, rows, columns, memory.Pointer, bytes.Length, tier);
                    foreach (int count in new[] { 1, 2, 3, 9, 16, 30, 33 })
                    {
                        RandomWeights.Fill(x, count, columns, random);
                        Assert.Equal(Define(format, bytes, rows, x), Multiply(matrix, x, team));
                    }
                }
            }
        }
    }

    [Fact]
    public void Products_together_equal_products_one_by_one()
    {
        Random random = new(6);
        using ComputeTeam team = StaleTeam.Of(2);
        using Activations x = new();
        TensorFormat[] formats = [TensorFormat.Q8_0, TensorFormat.F32, TensorFormat.F16, TensorFormat.Q8_0, TensorFormat.BF16, TensorFormat.F32];
        foreach (int count in new[] { 0, 1, 5, 20 })
        {
            RandomWeights.Fill(x, count, 96, random);
            List<WeightMatrix> matrices = [];
            List<NativeBuffer<byte>> memories = [];
            foreach (TensorFormat format in formats)
            {
                int rows = random.Next(0, 500);
                byte[] bytes = RandomWeights.Create(format, rows, 96, random);
                NativeBuffer<byte> memory = new(bytes.Length);
                bytes.CopyTo(memory.Span(0, bytes.Length));
                memories.Add(memory);
                matrices.Add(WeightMatrix.Create(format, rows, 96, memory.Pointer, bytes.Length, formats.Length % 2 == 0 ? null : KernelTier.Portable));
            }

            NativeBuffer<float>[] outputs = matrices.Select(matrix => new NativeBuffer<float>((long)matrix.Rows * count)).ToArray();
            NativeBuffer<float>[] maxima = matrices.Select(matrix => new NativeBuffer<float>((long)BlockMaxima.Count(matrix.Rows) * count)).ToArray();
            MatrixOutput[] products = new MatrixOutput[matrices.Count];
            for (int i = 0; i < products.Length; i++)
            {
                products[i] = new MatrixOutput(matrices[i], outputs[i].Pointer, matrices[i].Rows) { Maxima = maxima[i].Pointer };
            }

            WeightMatrix.MultiplyAll(products, x, team);
            for (int i = 0; i < products.Length; i++)
            {
                Assert.Equal(Multiply(matrices[i], x, team), Bits(outputs[i].Span(0, matrices[i].Rows * count)));
                Assert.Equal(BlockMaximaTests.Of(outputs[i], matrices[i].Rows, count), maxima[i].Span(0, count * BlockMaxima.Count(matrices[i].Rows)).ToArray());
                outputs[i].Dispose();
                maxima[i].Dispose();
                memories[i].Dispose();
            }
        }
    }

    [Theory]
    [InlineData(TensorFormat.F32)]
    [InlineData(TensorFormat.F16)]
    [InlineData(TensorFormat.BF16)]
    [InlineData(TensorFormat.Q8_0)]
    [InlineData(TensorFormat.Q4_0)]
    [InlineData(TensorFormat.Q5_0)]
    [InlineData(TensorFormat.Q4_K)]
    [InlineData(TensorFormat.Q6_K)]
    [InlineData(TensorFormat.IQ2_XXS)]
    public void Random_shapes_and_slices_give_the_defined_bits(TensorFormat format)
    {
        Random random = new(100 + (int)format);
        int block = format.BlockElements();
        using ComputeTeam alone = new(1);
        using ComputeTeam two = new(2);
        using Activations x = new();
        for (int round = 0; round < 60; round++)
        {
            // Every number of rows and of tokens once at least, around the borders of tiles, groups, batches and panels.
            int rows = round < 17 ? round + 1 : random.Next(1, 300);
            int tokens = round < 40 ? round + 1 : random.Next(1, 100);
            int columns = block > 1 ? block * random.Next(1, 1 + (1300 / block)) : random.Next(3) switch { 0 => 16 * random.Next(1, 90), 1 => random.Next(1, 40), _ => random.Next(1, 1400) };
            byte[] bytes = RandomWeights.Create(format, rows, columns, random);
            RandomWeights.Fill(x, tokens, columns, random);
            int first = random.Next(rows);
            int some = random.Next(1, rows - first + 1);
            int[] all = Define(format, bytes, rows, x);
            int[] part = [.. Enumerable.Range(0, tokens).SelectMany(token => all[((token * rows) + first)..((token * rows) + first + some)])];
            fixed (byte* data = bytes)
            {
                foreach (KernelTier tier in CpuFeatures.Current.Tiers)
                {
                    WeightMatrix matrix = WeightMatrix.Create(format, rows, columns, data, bytes.Length, tier);
                    Assert.Equal(all, Multiply(matrix, x, round % 2 == 0 ? alone : two));
                    Assert.Equal(part, Multiply(matrix.Slice(first, some), x, alone));
                }
            }
        }
    }

    [Fact]
    public void Batches_of_bfloat16_give_the_defined_bits()
    {
        // Rows around those of a tile of three and a chunk of 48, tokens around those of groups of eight, columns around a turn of the kernel and a part of a row.
        Random random = new(12);
        using ComputeTeam two = new(2);
        using Activations x = new();
        foreach (int columns in new[] { 16, 48, 64, 1040, 2160 })
        {
            foreach (int rows in new[] { 1, 2, 3, 24, 47, 48, 49, 50, 51, 71, 500 })
            {
                byte[] bytes = RandomWeights.Create(TensorFormat.BF16, rows, columns, random);
                fixed (byte* data = bytes)
                {
                    foreach (int tokens in new[] { 12, 13, 16, 17, 19, 24, 32 })
                    {
                        RandomWeights.Fill(x, tokens, columns, random);
                        int[] expected = Define(TensorFormat.BF16, bytes, rows, x);
                        foreach (KernelTier tier in CpuFeatures.Current.Tiers)
                        {
                            WeightMatrix matrix = WeightMatrix.Create(TensorFormat.BF16, rows, columns, data, bytes.Length, tier);
                            Assert.Equal(expected, Multiply(matrix, x, two));
                            using NativeBuffer<float> output = new(rows * tokens);
                            using NativeBuffer<float> maxima = new(BlockMaxima.Count(rows) * tokens);
                            WeightMatrix.MultiplyAll([new MatrixOutput(matrix, output.Pointer, rows) { Maxima = maxima.Pointer }], x, two);
                            Assert.Equal(expected, Bits(output.Span(0, rows * tokens)));
                            Assert.Equal(BlockMaximaTests.Of(output, rows, tokens), maxima.Span(0, BlockMaxima.Count(rows) * tokens).ToArray());
                        }
                    }
                }
            }
        }
    }

    [Fact]
    public void Scales_of_every_kind_give_the_defined_bits()
    {
        // All numbers of half precision that are not infinite: ordinary ones, subnormal ones, both zeros.
        const int rows = 16;
        const int columns = 256 * 256;
        Random random = new(11);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        RandomWeights.Fill(x, 2, columns, random);
        foreach (TensorFormat format in new[] { TensorFormat.Q8_0, TensorFormat.Q4_0, TensorFormat.Q4_K, TensorFormat.Q6_K })
        {
            byte[] bytes = RandomWeights.Create(format, rows, columns, random);
            int length = format.BlockBytes();
            int at = format == TensorFormat.Q6_K ? length - 2 : 0;
            for (int block = 0; block < bytes.Length / length; block++)
            {
                int half = block * 17 % 0x7C00;
                bytes[(block * length) + at] = (byte)half;
                bytes[(block * length) + at + 1] = (byte)((half >> 8) | (block & 0x80));
            }

            int[] expected = Define(format, bytes, rows, x);
            fixed (byte* data = bytes)
            {
                foreach (KernelTier tier in CpuFeatures.Current.Tiers)
                {
                    Assert.Equal(expected, Multiply(WeightMatrix.Create(format, rows, columns, data, bytes.Length, tier), x, team));
                }
            }
        }
    }

    [Theory]
    [InlineData(TensorFormat.BF16)]
    [InlineData(TensorFormat.F32)]
    [InlineData(TensorFormat.Q8_0)]
    [InlineData(TensorFormat.Q5_K)]
    public void Tuning_tries_every_plan_and_changes_no_bit(TensorFormat format)
    {
        const int Rows = 150;
        const int Columns = 1280;
        Random random = new(10);
        byte[] bytes = RandomWeights.Create(format, Rows, Columns, random);
        using ComputeTeam team = StaleTeam.Of(2);
        using Activations x = new();
        fixed (byte* data = bytes)
        {
            foreach (KernelTier tier in CpuFeatures.Current.Tiers)
            {
                KernelTuning tuning = new(null, tier, team.Size);
                WeightMatrix matrix = WeightMatrix.Create(format, Rows, Columns, data, bytes.Length, tier, tuning);
                foreach (int count in new[] { 2, 3, 9, 14, 18, 20, 30, 33, 70 })
                {
                    RandomWeights.Fill(x, count, Columns, random);
                    int[] expected = Define(format, bytes, Rows, x);
                    int calls = 0;
                    do
                    {
                        Assert.Equal(expected, Multiply(matrix, x, team));
                        Assert.True(++calls <= 10 * (TuningUnit.Rounds + 1), "the choice is never made");
                    }
                    while (!tuning.Settled);

                    Assert.Equal(expected, Multiply(matrix, x, team));
                }

                // 18 and 20 tokens may share rows or not.
                Assert.InRange(tuning.Operations.Count, 6, 7);
                Assert.All(tuning.Operations, operation => Assert.NotNull(operation.Choice));
            }
        }
    }

    [Fact]
    public void Slices_and_rows_are_those_of_the_matrix()
    {
        Random random = new(9);
        byte[] bytes = RandomWeights.Create(TensorFormat.Q8_0, 10, 64, random);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        RandomWeights.Fill(x, 2, 64, random);
        fixed (byte* data = bytes)
        {
            WeightMatrix matrix = WeightMatrix.Create(TensorFormat.Q8_0, 10, 64, data, bytes.Length);
            WeightMatrix slice = matrix.Slice(3, 5);
            int[] all = Multiply(matrix, x, team);
            Assert.Equal([.. all[3..8], .. all[13..18]], Multiply(slice, x, team));
            float[] row = new float[64];
            slice.DecodeRow(1, row);
            Assert.Equal(RandomWeights.Decode(TensorFormat.Q8_0, bytes, 64, 4), row);
            Assert.Throws<ArgumentOutOfRangeException>(() => matrix.Slice(6, 5));
            Assert.Throws<ArgumentOutOfRangeException>(() => matrix.DecodeRow(10, row));
        }
    }

    [Fact]
    public void A_steady_product_allocates_nothing()
    {
        Random random = new(10);
        byte[] bytes = RandomWeights.Create(TensorFormat.Q8_0, 64, 256, random);
        using ComputeTeam team = StaleTeam.Of(2);
        using Activations x = new();
        float[] y = new float[64 * 20];
        fixed (byte* data = bytes)
        fixed (float* output = y)
        {
            WeightMatrix matrix = WeightMatrix.Create(TensorFormat.Q8_0, 64, 256, data, bytes.Length);
            MatrixOutput[] both = [new(matrix, output, 64), new(matrix, output, 64)];
            long before = 0;
            for (int round = 0; round < 20; round++)
            {
                for (int count = 20; count > 0; count -= 19)
                {
                    x.Reset(count, 256);
                    matrix.Multiply(x, output, 64, team);
                    WeightMatrix.MultiplyAll(both, x, team);
                }

                if (round == 9)
                {
                    before = GC.GetAllocatedBytesForCurrentThread();
                }
            }

            Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        }
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        byte[] bytes = new byte[34 * 4];
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        x.Reset(1, 64);
        fixed (byte* pinned = bytes)
        {
            byte* data = pinned;
            Assert.Throws<ArgumentException>(() => WeightMatrix.Create(TensorFormat.Q8_0, 5, 32, data, bytes.Length));
            Assert.Throws<ArgumentException>(() => WeightMatrix.Create(TensorFormat.Q8_0, 1, 33, data, bytes.Length));
            Assert.Throws<OverflowException>(() => WeightMatrix.Create(TensorFormat.F64, int.MaxValue, int.MaxValue, data, long.MaxValue));
            WeightMatrix matrix = WeightMatrix.Create(TensorFormat.Q8_0, 4, 32, data, bytes.Length);
            Assert.Throws<ArgumentException>(() => matrix.Multiply(x, null, 4, team));
        }
    }

    private static int[] Define(TensorFormat format, byte[] bytes, int rows, Activations x)
    {
        int[] result = new int[rows * x.Rows];
        for (int row = 0; row < rows; row++)
        {
            float[] weights = RandomWeights.Decode(format, bytes, x.Columns, row);
            for (int i = 0; i < x.Rows; i++)
            {
                result[(i * rows) + row] = BitConverter.SingleToInt32Bits(LaneSum.Dot(new ReadOnlySpan<float>(x.Row(i), x.Columns), weights));
            }
        }

        return result;
    }

    private static int[] Multiply(WeightMatrix matrix, Activations x, ComputeTeam team)
    {
        float[] y = new float[matrix.Rows * x.Rows];
        fixed (float* output = y)
        {
            matrix.Multiply(x, output, matrix.Rows, team);
        }

        return Bits(y);
    }

    private static int[] Bits(ReadOnlySpan<float> values)
    {
        int[] bits = new int[values.Length];
        for (int i = 0; i < bits.Length; i++)
        {
            bits[i] = BitConverter.SingleToInt32Bits(values[i]);
        }

        return bits;
    }
}
