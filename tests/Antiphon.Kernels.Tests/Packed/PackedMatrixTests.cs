using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tests.Matrices;
using Antiphon.Kernels.Tuning;

namespace Antiphon.Kernels.Tests.Packed;

public sealed unsafe class PackedMatrixTests
{
    public static TheoryData<KernelTier, TensorFormat> TiersAndFormats => PackedTiers.TiersAndFormats;

    public static TheoryData<KernelTier> Tiers => PackedTiers.All;

    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Every_batch_and_team_gives_the_defined_bits(KernelTier tier, TensorFormat format)
    {
        using PackedKernels kernels = PackedTiers.Require(tier);
        Random random = new((int)format + (100 * (int)tier));
        int block = format.BlockElements();
        using ComputeTeam alone = new(1);
        using ComputeTeam three = new(3);
        foreach (int columns in block == 1 ? [1, 17, 32, 47, 300, 544] : new[] { block, 3 * block, 512 + block })
        {
            foreach (int rows in new[] { 1, 16, random.Next(17, 150) })
            {
                byte[] bytes = RandomWeights.Create(format, rows, columns, random);
                using Activations x = new();
                using Activations part = new();
                RandomWeights.Fill(x, 133, columns, random);
                float[] expected = Define(tier, format, bytes, rows, x);
                fixed (byte* data = bytes)
                {
                    WeightMatrix matrix = kernels.Pack(format, rows, columns, data, bytes.Length, three);
                    foreach (int count in new[] { 1, 2, 15, 16, 17, random.Next(3, 40), 40, 64, 65, random.Next(66, 130), 133 })
                    {
                        Copy(x, part, random.Next(0, x.Rows - count + 1), count, out int first);
                        AssertSame(expected.AsSpan(first * rows, count * rows), Multiply(matrix, part, rows + random.Next(3), count % 2 == 0 ? alone : three));
                    }
                }
            }
        }
    }

    /// <summary>Rows of more columns than a panel takes whole: chains are cut, at one or two places, with and without a rest.</summary>
    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Long_rows_give_the_defined_bits(KernelTier tier, TensorFormat format)
    {
        using PackedKernels kernels = PackedTiers.Require(tier);
        Random random = new((int)format + (100 * (int)tier));
        using ComputeTeam alone = new(1);
        using ComputeTeam two = new(2);
        using Activations x = new();
        int block = format.BlockElements();
        foreach (int least in new[] { 4096, 4097, 6400, 8192 })
        {
            int columns = (least + block - 1) / block * block;
            int rows = random.Next(17, 60);
            byte[] bytes = RandomWeights.Create(format, rows, columns, random);
            RandomWeights.Fill(x, random.Next(65, 100), columns, random);
            fixed (byte* data = bytes)
            {
                WeightMatrix matrix = kernels.Pack(format, rows, columns, data, bytes.Length, two);
                float[] expected = Define(tier, format, bytes, rows, x);
                AssertSame(expected, Multiply(matrix, x, rows, alone));
                AssertSame(expected, Multiply(matrix, x, rows + 5, two));
            }
        }
    }

    [Theory]
    [InlineData(TensorFormat.BF16)]
    [InlineData(TensorFormat.Q4_K)]
    public void Tuning_tries_every_plan_and_changes_no_bit(TensorFormat format)
    {
        const int Rows = 16 * 23;
        const int Columns = 768;
        PackedTiers.Require(KernelTier.Amx).Dispose();
        Random random = new(3);
        using ComputeTeam team = StaleTeam.Of(2);
        KernelTuning tuning = new(null, KernelTier.Amx, team.Size);
        Assert.True(PackedKernels.TryCreate(KernelTier.Amx, out PackedKernels? kernels, out string? reason, tuning), reason);
        using (kernels)
        {
            byte[] bytes = RandomWeights.Create(format, Rows, Columns, random);
            using Activations x = new();
            fixed (byte* data = bytes)
            {
                WeightMatrix matrix = kernels.Pack(format, Rows, Columns, data, bytes.Length, team);
                foreach (int count in new[] { 1, 20, 40, 64, 70, 130 })
                {
                    RandomWeights.Fill(x, count, Columns, random);
                    float[] expected = Define(KernelTier.Amx, format, bytes, Rows, x);
                    int calls = 0;
                    do
                    {
                        AssertSame(expected, Multiply(matrix, x, Rows, team));
                        Assert.True(++calls <= 10 * (TuningUnit.Rounds + 1), "the choice is never made");
                    }
                    while (!tuning.Settled);

                    AssertSame(expected, Multiply(matrix, x, Rows, team));
                }
            }
        }

        Assert.Equal(4, tuning.Operations.Count(operation => operation.Choice is not null));
    }

    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Slices_and_rows_are_those_of_the_whole(KernelTier tier, TensorFormat format)
    {
        using PackedKernels kernels = PackedTiers.Require(tier);
        Random random = new((int)format);
        int columns = format.BlockElements() * 2;
        const int Rows = 70;
        byte[] bytes = RandomWeights.Create(format, Rows, columns, random);
        using ComputeTeam team = StaleTeam.Of(2);
        using Activations x = new();
        foreach (int count in new[] { 1, 5, 70 })
        {
            RandomWeights.Fill(x, count, columns, random);
            fixed (byte* data = bytes)
            {
                WeightMatrix matrix = kernels.Pack(format, Rows, columns, data, bytes.Length, team);
                float[] whole = Multiply(matrix, x, Rows, team);
                foreach ((int first, int rows) in new[] { (0, 70), (16, 32), (3, 1), (3, 13), (3, 14), (15, 2), (1, 69), (69, 1), (40, 0), (17, 30) })
                {
                    WeightMatrix slice = matrix.Slice(first, rows);
                    float[] part = Multiply(slice, x, rows, team);
                    for (int i = 0; i < count; i++)
                    {
                        AssertSame(whole.AsSpan((i * Rows) + first, rows), part.AsSpan(i * rows, rows));
                    }

                    for (int row = 0; row < rows; row++)
                    {
                        float[] values = new float[columns];
                        slice.DecodeRow(row, values);
                        Assert.Equal(RandomWeights.Decode(format, bytes, columns, first + row), values);
                    }
                }

                Assert.Throws<ArgumentOutOfRangeException>(() => matrix.Slice(1, 70));
                Assert.Throws<ArgumentOutOfRangeException>(() => matrix.Slice(-1, 1));
            }
        }
    }

    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Nothing_is_read_past_the_packed_weights(KernelTier tier, TensorFormat format)
    {
        using PackedKernels kernels = PackedTiers.Require(tier);
        Random random = new(7);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        PackedFormat packed = PackedFormat.Find(format)!;
        int columns = format.BlockElements() == 1 ? 70 : format.BlockElements();
        foreach (int rows in new[] { 1, 16, 33 })
        {
            byte[] bytes = RandomWeights.Create(format, rows, columns, random);
            using GuardedMemory memory = new((rows + 15) / 16 * packed.StripBytes(columns));
            fixed (byte* data = bytes)
            {
                TilePacker.Pack(packed, rows, columns, data, memory.Pointer, team);
            }

            PackedMatrix matrix = new(kernels, packed, rows, columns, new PackedStrips(memory.Pointer, memory), 0);
            foreach (int count in new[] { 1, 20, 80 })
            {
                RandomWeights.Fill(x, count, columns, random);
                AssertSame(Define(tier, format, bytes, rows, x), Multiply(matrix, x, rows, team));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void Numbers_of_every_size_round_as_defined(KernelTier tier)
    {
        using PackedKernels kernels = PackedTiers.Require(tier);
        Random random = new(11);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        const int Columns = 96;
        const int Rows = 64;
        for (int round = 0; round < 40; round++)
        {
            // Exponents from anywhere, from near the bottom, or from near one; infinities and NaN in one round of four.
            byte[] bytes = new byte[Rows * Columns * 2];
            x.Reset(30, Columns);
            for (int i = 0; i < bytes.Length / 2; i++)
            {
                BitConverter.TryWriteBytes(bytes.AsSpan(2 * i), (ushort)(Bits(round) >> 16));
            }

            for (int i = 0; i < x.Rows * Columns; i++)
            {
                x.Row(i / Columns)[i % Columns] = BitConverter.UInt32BitsToSingle(Bits(round));
            }

            fixed (byte* data = bytes)
            {
                WeightMatrix matrix = kernels.Pack(TensorFormat.BF16, Rows, Columns, data, bytes.Length, team);
                AssertSame(Define(tier, TensorFormat.BF16, bytes, Rows, x), Multiply(matrix, x, Rows, team));
            }
        }

        uint Bits(int round)
        {
            uint bits = (uint)random.NextInt64(1L << 32);
            uint exponent = (round % 4) switch { 0 => (uint)random.Next(0, 255), 1 => (uint)random.Next(50, 80), 2 => (uint)random.Next(118, 130), _ => (uint)random.Next(0, 256) };
            return (bits & 0x807FFFFF) | (exponent << 23);
        }
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void Products_made_together_are_those_made_alone(KernelTier tier)
    {
        using PackedKernels kernels = PackedTiers.Require(tier);
        using ComputeTeam team = StaleTeam.Of(2);
        using Activations x = new();
        Random random = new(9);
        (TensorFormat Format, int Rows)[] shapes = [(TensorFormat.Q8_0, 70), (TensorFormat.Q4_K, 33), (TensorFormat.Q6_K, 0), (TensorFormat.BF16, 16), (TensorFormat.Q4_0, 1500), (TensorFormat.F32, 5)];
        List<byte[]> sources = [];
        List<WeightMatrix> matrices = [];
        foreach ((TensorFormat format, int rows) in shapes)
        {
            // Pinned, since the last one is not packed.
            byte[] bytes = GC.AllocateUninitializedArray<byte>((int)(rows * format.ByteCount(256)), pinned: true);
            RandomWeights.Create(format, rows, 256, random).CopyTo(bytes, 0);
            sources.Add(bytes);
            byte* data = (byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref System.Runtime.InteropServices.MemoryMarshal.GetArrayDataReference(bytes));
            matrices.Add(PackedKernels.Supports(format) ? kernels.Pack(format, rows, 256, data, bytes.Length, team) : WeightMatrix.Create(format, rows, 256, data, bytes.Length));
        }

        foreach (int tokens in new[] { 0, 1, 20, 90 })
        {
            RandomWeights.Fill(x, tokens, 256, random);
            NativeBuffer<float>[] outputs = [.. matrices.Select(matrix => new NativeBuffer<float>((tokens * matrix.Rows) + 1))];
            NativeBuffer<float>[] maxima = [.. matrices.Select(matrix => new NativeBuffer<float>((tokens * BlockMaxima.Count(matrix.Rows)) + 1))];
            WeightMatrix.MultiplyAll([.. matrices.Select((matrix, i) => new MatrixOutput(matrix, outputs[i].Pointer, matrix.Rows) { Maxima = maxima[i].Pointer })], x, team);
            for (int i = 0; i < matrices.Count; i++)
            {
                AssertSame(Multiply(matrices[i], x, matrices[i].Rows, team), outputs[i].Span(0, tokens * matrices[i].Rows));
                Assert.Equal(BlockMaximaTests.Of(outputs[i], matrices[i].Rows, tokens), maxima[i].Span(0, tokens * BlockMaxima.Count(matrices[i].Rows)).ToArray());
                outputs[i].Dispose();
                maxima[i].Dispose();
            }
        }

        GC.KeepAlive(sources);
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void A_view_from_within_a_strip_leaves_no_maxima(KernelTier tier)
    {
        using PackedKernels kernels = PackedTiers.Require(tier);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        RandomWeights.Fill(x, 1, 32, new Random(1));
        byte[] bytes = RandomWeights.Create(TensorFormat.Q8_0, 40, 32, new Random(2));
        float[] output = new float[40];
        float[] maxima = new float[3];
        fixed (byte* data = bytes)
        fixed (float* y = output, m = maxima)
        {
            WeightMatrix matrix = kernels.Pack(TensorFormat.Q8_0, 40, 32, data, bytes.Length, team);
            MatrixOutput[] products = [new MatrixOutput(matrix.Slice(3, 20), y, 20) { Maxima = m }];
            Assert.Throws<ArgumentException>(() => WeightMatrix.MultiplyAll(products, x, team));
            WeightMatrix.MultiplyAll([new MatrixOutput(matrix.Slice(16, 20), y, 20) { Maxima = m }], x, team);
            Assert.Equal([output[..16].Max(), output[16..20].Max(), 0], maxima);
        }
    }

    [Fact]
    public void One_input_serves_the_kernels_of_two_tiers()
    {
        using PackedKernels tiles = PackedTiers.Require(KernelTier.Amx);
        using PackedKernels vectors = PackedTiers.Require(KernelTier.Avx512);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        byte[] bytes = RandomWeights.Create(TensorFormat.Q8_0, 16, 64, new Random(1));
        RandomWeights.Fill(x, 3, 64, new Random(2));
        fixed (byte* data = bytes)
        {
            WeightMatrix first = tiles.Pack(TensorFormat.Q8_0, 16, 64, data, bytes.Length, team);
            WeightMatrix second = vectors.Pack(TensorFormat.Q8_0, 16, 64, data, bytes.Length, team);
            AssertSame(Define(KernelTier.Amx, TensorFormat.Q8_0, bytes, 16, x), Multiply(first, x, 16, team));
            AssertSame(Define(KernelTier.Avx512, TensorFormat.Q8_0, bytes, 16, x), Multiply(second, x, 16, team));
        }
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void Disposed_kernels_refuse_to_run(KernelTier tier)
    {
        PackedKernels kernels = PackedTiers.Require(tier);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        byte[] bytes = new byte[34];
        fixed (byte* data = bytes)
        {
            WeightMatrix matrix = kernels.Pack(TensorFormat.Q8_0, 1, 32, data, bytes.Length, team);
            RandomWeights.Fill(x, 1, 32, new Random(1));
            Multiply(matrix, x, 1, team);
            kernels.Dispose();
            Assert.Throws<ObjectDisposedException>(() => Multiply(matrix, x, 1, team));
        }
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void What_was_generated_is_listed(KernelTier tier)
    {
        using PackedKernels kernels = PackedTiers.Require(tier);
        int before = kernels.Generated.Count;
        kernels.Prepare([TensorFormat.Q8_0, TensorFormat.F64]);
        Assert.Contains(kernels.Generated, kernel => kernel is { Operation: "multiply", Format: TensorFormat.Q8_0, CodeBytes: > 100 } && kernel.Tier == tier);
        Assert.True(kernels.Generated.Count > before);
        Assert.True(kernels.GenerationTime > TimeSpan.Zero);
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void A_wrong_input_is_refused(KernelTier tier)
    {
        using PackedKernels kernels = PackedTiers.Require(tier);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        byte[] bytes = new byte[34 * 4];
        fixed (byte* data = bytes)
        {
            byte* start = data;
            WeightMatrix matrix = kernels.Pack(TensorFormat.Q8_0, 4, 32, start, bytes.Length, team);
            x.Reset(1, 64);
            Assert.Throws<ArgumentException>(() => matrix.Multiply(x, null, 4, team));
            Assert.Throws<ArgumentException>(() => kernels.Pack(TensorFormat.Q8_0, 5, 32, start, bytes.Length, team));
            Assert.Throws<ArgumentException>(() => kernels.Pack(TensorFormat.Q8_0, 4, 33, start, bytes.Length, team));
            Assert.Throws<ArgumentOutOfRangeException>(() => kernels.Pack(TensorFormat.Q8_0, 4, 0, start, bytes.Length, team));
            Assert.Throws<NotSupportedException>(() => kernels.Pack(TensorFormat.F64, 4, 4, start, bytes.Length, team));
            x.Reset(0, 32);
            matrix.Multiply(x, null, 4, team);
            kernels.Pack(TensorFormat.Q8_0, 0, 32, start, bytes.Length, team).Multiply(x, null, 4, team);
        }
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void Collections_do_not_disturb_a_product(KernelTier tier)
    {
        using PackedKernels kernels = PackedTiers.Require(tier);
        using ComputeTeam team = StaleTeam.Of(2);
        using Activations x = new();
        Random random = new(3);
        byte[] bytes = RandomWeights.Create(TensorFormat.Q8_0, 256, 1024, random);
        RandomWeights.Fill(x, 4, 1024, random);
        fixed (byte* data = bytes)
        {
            WeightMatrix matrix = kernels.Pack(TensorFormat.Q8_0, 256, 1024, data, bytes.Length, team);
            float[] expected = Multiply(matrix, x, 256, team);
            using CancellationTokenSource end = new();
            Thread collector = new(() =>
            {
                while (!end.IsCancellationRequested)
                {
                    GC.Collect();
                }
            });
            collector.Start();
            for (int i = 0; i < 300; i++)
            {
                AssertSame(expected, Multiply(matrix, x, 256, team));
            }

            end.Cancel();
            collector.Join();
        }
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void A_repeated_product_allocates_nothing(KernelTier tier)
    {
        using PackedKernels kernels = PackedTiers.Require(tier);
        using ComputeTeam team = StaleTeam.Of(2);
        using Activations x = new();
        byte[] bytes = RandomWeights.Create(TensorFormat.Q8_0, 64, 256, new Random(4));
        using NativeBuffer<float> y = new(64 * 70);
        fixed (byte* data = bytes)
        {
            WeightMatrix matrix = kernels.Pack(TensorFormat.Q8_0, 64, 256, data, bytes.Length, team);
            long before = 0;
            for (int i = 0; i < 200; i++)
            {
                if (i == 100)
                {
                    before = GC.GetAllocatedBytesForCurrentThread();
                }

                RandomWeights.Fill(x, i % 2 == 0 ? 1 : 70, 256, Random.Shared);
                matrix.Multiply(x, y.Pointer, 64, team);
            }

            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        }
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

    /// <summary>The result as the portable definitions have it.</summary>
    private static float[] Define(KernelTier tier, TensorFormat format, byte[] bytes, int rows, Activations x)
    {
        int columns = x.Columns;
        int padded = (columns + 31) / 32 * 32;
        ushort[][] weights = new ushort[rows][];
        for (int row = 0; row < rows; row++)
        {
            weights[row] = Round(RandomWeights.Decode(format, bytes, columns, row), padded, PackedFormat.Find(format)!.Round);
        }

        float[] y = new float[x.Rows * rows];
        for (int i = 0; i < x.Rows; i++)
        {
            ushort[] input = Round(new ReadOnlySpan<float>(x.Row(i), columns), padded, BFloat16.Round);
            for (int row = 0; row < rows; row++)
            {
                y[(i * rows) + row] = tier == KernelTier.Amx ? TileArithmetic.DotAmx(weights[row], input) : TileArithmetic.DotAvx512(weights[row], input);
            }
        }

        return y;
    }

    private static ushort[] Round(ReadOnlySpan<float> values, int padded, Func<float, ushort> round)
    {
        ushort[] rounded = new ushort[padded];
        for (int i = 0; i < values.Length; i++)
        {
            rounded[i] = round(values[i]);
        }

        return rounded;
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
