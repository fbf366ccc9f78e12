using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tests.Matrices;
using Antiphon.Kernels.Tuning;

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

    public static TheoryData<TensorFormat> Formats
    {
        get
        {
            TheoryData<TensorFormat> data = [];
            foreach (CodeLayout layout in CodeLayout.Layouts)
            {
                data.Add(layout.Format);
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

    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Every_number_of_tokens_and_panel_gives_the_defined_bits(KernelTier tier, TensorFormat format)
    {
        Random random = new((int)format);
        int columns = Math.Max(64, format.BlockElements());
        using ComputeTeam alone = new(1);
        using ComputeTeam two = new(2);
        foreach (int passes in new[] { 2, 1 })
        {
            using MultiScaleKernels kernels = Require(tier, passes);
            foreach (int rows in new[] { 35, 16 * 4, 16 * 5, 16 * 7, 16 * 37 })
            {
                byte[] bytes = RandomWeights.Create(format, rows, columns, random);
                using Activations x = new();
                using Activations part = new();
                RandomWeights.Fill(x, 70, columns, random);
                fixed (byte* data = bytes)
                {
                    WeightMatrix matrix = kernels.Pack(format, rows, columns, data, bytes.Length, two);
                    float[] expected = Define(format, bytes, rows, x, passes);
                    for (int count = 1; count <= 70; count += rows > 35 ? 23 : 1)
                    {
                        Copy(x, part, 0, count, out _);
                        AssertSame(expected.AsSpan(0, count * rows), Multiply(matrix, part, rows, count % 3 == 0 ? two : alone));
                    }

                    // A slice begins and ends inside strips, and inside groups of them.
                    Copy(x, part, 0, 53, out _);
                    float[] slice = Multiply(matrix.Slice(5, rows - 11), part, rows, two);
                    for (int i = 0; i < 53; i++)
                    {
                        AssertSame(expected.AsSpan((i * rows) + 5, rows - 11), slice.AsSpan(i * (rows - 11), rows - 11));
                    }
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Pairs_that_are_added_by_one_instruction_give_the_defined_bits(TensorFormat format)
    {
        Assert.SkipUnless(CpuFeatures.Current.HasAvxVnni || CpuFeatures.Current.HasAvx512Vnni, "this processor does not have the instruction");
        using MultiScaleKernels kernels = new(KernelTier.Avx2) { FusesPairs = true };
        AssertDefined(kernels, format, Enumerable.Range(1, 70));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Codes_taken_apart_without_matrices_of_bits_give_the_defined_bits(TensorFormat format)
    {
        Require(KernelTier.Avx512, 2).Dispose();
        using MultiScaleKernels kernels = new(KernelTier.Avx512) { UsesBitMatrices = false };
        AssertDefined(kernels, format, [1, 8, 13, 16]);
    }

    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Tuning_tries_every_plan_and_changes_no_bit(KernelTier tier, TensorFormat format)
    {
        Random random = new((int)format);
        int columns = Math.Max(64, format.BlockElements());
        const int Rows = 16 * 41;
        Require(tier, 2).Dispose();
        using ComputeTeam two = new(2);
        KernelTuning tuning = new(null, tier, two.Size);
        using MultiScaleKernels kernels = new(tier, 2, tuning);
        byte[] bytes = RandomWeights.Create(format, Rows, columns, random);
        using Activations x = new();
        using Activations part = new();
        RandomWeights.Fill(x, 60, columns, random);
        fixed (byte* data = bytes)
        {
            WeightMatrix matrix = kernels.Pack(format, Rows, columns, data, bytes.Length, two);
            float[] expected = Define(format, bytes, Rows, x, 2);
            foreach (int count in new[] { 1, 2, 4, 5, 7, 13, 30, 60 })
            {
                Copy(x, part, 0, count, out _);
                int calls = 0;
                do
                {
                    AssertSame(expected.AsSpan(0, count * Rows), Multiply(matrix, part, Rows, two));
                    Assert.True(++calls <= 10 * (TuningUnit.Rounds + 1), "the choice is never made");
                }
                while (!tuning.Settled);

                AssertSame(expected.AsSpan(0, count * Rows), Multiply(matrix, part, Rows, two));
            }
        }

        Assert.Equal(Enumerable.Range(0, ProductPlan.Classes).Count(index => ProductPlan.For(kernels, CodeLayout.Find(format)!, index).Length > 1), tuning.Operations.Count(o => o.Choice is not null));
    }

    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Slices_and_rows_are_those_of_the_whole(KernelTier tier, TensorFormat format)
    {
        using MultiScaleKernels kernels = Require(tier);
        Random random = new((int)format);
        int columns = format.BlockElements() * 2;
        const int Rows = 70;
        byte[] bytes = RandomWeights.Create(format, Rows, columns, random);
        using ComputeTeam team = StaleTeam.Of(2);
        using Activations x = new();
        foreach (int count in new[] { 1, 5, 20 })
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
                        Assert.Equal(Decode(format, bytes, columns, first + row), values);
                    }
                }

                Assert.Throws<ArgumentOutOfRangeException>(() => matrix.Slice(1, 70));
                Assert.Throws<ArgumentOutOfRangeException>(() => matrix.Slice(-1, 1));
            }
        }
    }

    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void The_largest_codes_and_integers_overflow_nowhere(KernelTier tier, TensorFormat format)
    {
        using MultiScaleKernels kernels = Require(tier);
        using ComputeTeam team = StaleTeam.Of(1);
        CodeLayout layout = CodeLayout.Find(format)!;
        int columns = 2 * format.BlockElements();
        byte[] bytes = RandomWeights.Create(format, CodeLayout.StripRows, columns, new Random(5));
        using NativeBuffer<byte> strip = new(layout.StripBytes(columns));
        foreach (byte fill in (byte[])[0x00, 0x7F, 0x80, 0xFF])
        {
            fixed (byte* data = bytes)
            {
                CodePacker.Pack(layout, CodeLayout.StripRows, columns, data, strip.Pointer, team);
            }

            // Codes, and what multiplies the numbers of super-blocks.
            Span<byte> codes = new(strip.Pointer + layout.CodesAt(columns), CodeLayout.Steps(columns) * layout.TileBytes);
            codes.Fill(fill);
            if (layout.IsWords)
            {
                System.Runtime.InteropServices.MemoryMarshal.Cast<byte, short>(codes).Fill((short)Math.Clamp((int)(sbyte)fill * 128, -WordPackerTests.Largest, WordPackerTests.Largest));
            }

            for (int super = 0; super < CodeLayout.Steps(columns) / CodeLayout.SuperTiles && layout.HeaderBytes > 0; super++)
            {
                int multipliers = 64 * layout.SubScaleVectors;
                new Span<byte>(strip.Pointer + ((super + 1) * layout.HeaderBytes) - multipliers, multipliers).Fill(fill);
            }

            CodeMatrix matrix = new(kernels, layout, CodeLayout.StripRows, columns, new PackedStrips(strip.Pointer, strip), 0);
            foreach (int count in new[] { 1, 3, 7, 60 })
            {
                using Activations x = new();
                x.Reset(count, columns);
                for (int i = 0; i < count; i++)
                {
                    // All alike, or of the sign that makes most of half of the columns.
                    for (int column = 0; column < columns; column++)
                    {
                        x.Row(i)[column] = (i % 3) switch { 0 => 1, 1 => -1, _ => column % 2 == 0 ? 1 : -1 };
                    }
                }

                float[] expected = new float[count * CodeLayout.StripRows];
                short[] integers = new short[columns];
                for (int i = 0; i < count; i++)
                {
                    RowScale scale = SplitArithmetic.Split(new ReadOnlySpan<float>(x.Row(i), columns), 2, integers);
                    for (int row = 0; row < CodeLayout.StripRows; row++)
                    {
                        expected[(i * CodeLayout.StripRows) + row] = SplitArithmetic.Dot(layout, strip.Pointer, columns, row, integers, scale);
                    }
                }

                AssertSame(expected, Multiply(matrix, x, CodeLayout.StripRows, team));
            }
        }
    }

    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Nothing_is_read_past_the_packed_weights(KernelTier tier, TensorFormat format)
    {
        using MultiScaleKernels kernels = Require(tier);
        Random random = new(7);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        CodeLayout layout = CodeLayout.Find(format)!;
        int columns = format.BlockElements();
        foreach (int rows in new[] { 1, 16, 33 })
        {
            byte[] bytes = RandomWeights.Create(format, rows, columns, random);
            using GuardedMemory memory = new((rows + 15) / 16 * layout.StripBytes(columns));
            fixed (byte* data = bytes)
            {
                CodePacker.Pack(layout, rows, columns, data, memory.Pointer, team);
            }

            CodeMatrix matrix = new(kernels, layout, rows, columns, new PackedStrips(memory.Pointer, memory), 0);
            foreach (int count in new[] { 1, 12, 20, 50 })
            {
                RandomWeights.Fill(x, count, columns, random);
                AssertSame(Define(format, bytes, rows, x, 2), Multiply(matrix, x, rows, team));
            }
        }
    }

    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Nothing_is_read_past_the_file(KernelTier tier, TensorFormat format)
    {
        using MultiScaleKernels kernels = Require(tier);
        using ComputeTeam team = StaleTeam.Of(1);
        int columns = 2 * format.BlockElements();
        byte[] bytes = RandomWeights.Create(format, 17, columns, new Random(3));
        using GuardedMemory memory = new(bytes.Length);
        bytes.CopyTo(new Span<byte>(memory.Pointer, bytes.Length));
        WeightMatrix matrix = kernels.Pack(format, 17, columns, memory.Pointer, bytes.Length, team);
        float[] values = new float[columns];
        matrix.DecodeRow(16, values);
        Assert.Equal(Decode(format, bytes, columns, 16), values);
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void Rows_of_any_size_and_worth_are_as_defined_and_do_not_touch_each_other(KernelTier tier)
    {
        using MultiScaleKernels kernels = Require(tier);
        Random random = new(11);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        const int Columns = 256;
        const int Rows = 20;
        foreach (TensorFormat format in new[] { TensorFormat.Q8_0, TensorFormat.Q4_1, TensorFormat.Q6_K, TensorFormat.Q4_K })
        {
            byte[] bytes = RandomWeights.Create(format, Rows, Columns, random);
            fixed (byte* data = bytes)
            {
                WeightMatrix matrix = kernels.Pack(format, Rows, Columns, data, bytes.Length, team);
                foreach (int count in new[] { 8, 16, 60 })
                {
                    RandomWeights.Fill(x, count, Columns, random);
                    Scale(0, 0);
                    Scale(1, 1e-38f);
                    Scale(2, 1e-44f);
                    Scale(3, 3e38f);
                    Scale(4, 1e-25f);
                    x.Row(5)[77] = float.NaN;
                    x.Row(6)[255] = float.NegativeInfinity;
                    new Span<float>(x.Row(7), Columns).Clear();
                    x.Row(7)[31] = -1.5f;
                    float[] result = Multiply(matrix, x, Rows, team);
                    AssertSame(Define(format, bytes, Rows, x, 2), result);
                    Assert.All(result.AsSpan(0, Rows).ToArray(), value => Assert.Equal(0, value));
                    Assert.All(result.AsSpan(5 * Rows, 2 * Rows).ToArray(), value => Assert.True(float.IsNaN(value)));
                }
            }
        }

        void Scale(int row, float factor)
        {
            for (int c = 0; c < Columns; c++)
            {
                x.Row(row)[c] *= factor;
            }
        }
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void Products_made_together_are_those_made_alone(KernelTier tier)
    {
        using MultiScaleKernels kernels = Require(tier);
        using ComputeTeam team = StaleTeam.Of(2);
        using Activations x = new();
        Random random = new(9);
        (TensorFormat Format, int Rows)[] shapes = [(TensorFormat.Q8_0, 70), (TensorFormat.Q4_K, 33), (TensorFormat.Q6_K, 0), (TensorFormat.Q2_K, 16), (TensorFormat.BF16, 40), (TensorFormat.Q4_0, 2000), (TensorFormat.F32, 5)];
        List<byte[]> sources = [];
        List<WeightMatrix> matrices = [];
        foreach ((TensorFormat format, int rows) in shapes)
        {
            // Pinned, since the last one is not packed.
            byte[] bytes = GC.AllocateUninitializedArray<byte>((int)(rows * format.ByteCount(256)), pinned: true);
            RandomWeights.Create(format, rows, 256, random).CopyTo(bytes, 0);
            sources.Add(bytes);
            byte* data = (byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref System.Runtime.InteropServices.MemoryMarshal.GetArrayDataReference(bytes));
            matrices.Add(MultiScaleKernels.Supports(format) ? kernels.Pack(format, rows, 256, data, bytes.Length, team) : WeightMatrix.Create(format, rows, 256, data, bytes.Length));
        }

        foreach (int tokens in new[] { 0, 1, 7, 20 })
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

    [Fact]
    public void One_input_serves_kernels_of_different_kinds()
    {
        using MultiScaleKernels best = Require(CpuFeatures.Current.BestTier);
        using MultiScaleKernels portable = Require(KernelTier.Portable);
        using MultiScaleKernels onePass = Require(CpuFeatures.Current.BestTier, 1);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        byte[] bytes = RandomWeights.Create(TensorFormat.Q8_0, 16, 64, new Random(1));
        RandomWeights.Fill(x, 3, 64, new Random(2));
        fixed (byte* data = bytes)
        {
            foreach (MultiScaleKernels kernels in new[] { best, portable, onePass, best })
            {
                WeightMatrix matrix = kernels.Pack(TensorFormat.Q8_0, 16, 64, data, bytes.Length, team);
                AssertSame(Define(TensorFormat.Q8_0, bytes, 16, x, kernels.Passes), Multiply(matrix, x, 16, team));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void A_wrong_input_is_refused(KernelTier tier)
    {
        using MultiScaleKernels kernels = Require(tier);
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
            Assert.Throws<NotSupportedException>(() => kernels.Pack(TensorFormat.F32, 4, 4, start, bytes.Length, team));
            x.Reset(0, 32);
            matrix.Multiply(x, null, 4, team);
            kernels.Pack(TensorFormat.Q8_0, 0, 32, start, bytes.Length, team).Multiply(x, null, 4, team);
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => new MultiScaleKernels(tier, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => new MultiScaleKernels(tier, 3));
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void A_repeated_product_allocates_nothing(KernelTier tier)
    {
        using MultiScaleKernels kernels = Require(tier);
        using ComputeTeam team = StaleTeam.Of(2);
        using Activations x = new();
        byte[] bytes = RandomWeights.Create(TensorFormat.Q4_0, 64, 256, new Random(4));
        using NativeBuffer<float> y = new(64 * 60);
        fixed (byte* data = bytes)
        {
            WeightMatrix matrix = kernels.Pack(TensorFormat.Q4_0, 64, 256, data, bytes.Length, team);
            long before = 0;
            for (int i = 0; i < 200; i++)
            {
                if (i == 100)
                {
                    before = GC.GetAllocatedBytesForCurrentThread();
                }

                RandomWeights.Fill(x, (i % 4) switch { 0 => 1, 1 => 12, 2 => 40, _ => 60 }, 256, Random.Shared);
                matrix.Multiply(x, y.Pointer, 64, team);
            }

            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
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

    /// <summary>A row's weights as integers have them: those of the file but for what becomes words.</summary>
    private static float[] Decode(TensorFormat format, byte[] bytes, int columns, int row)
    {
        float[] values = RandomWeights.Decode(format, bytes, columns, row);
        return CodeLayout.Find(format)!.IsWords ? WordPackerTests.Rounded(values) : values;
    }

    /// <summary>The result as the portable definitions have it, from a layout packed by a team of one.</summary>
    private static float[] Define(TensorFormat format, byte[] bytes, int rows, Activations x, int passes)
    {
        CodeLayout layout = CodeLayout.Find(format)!;
        using ComputeTeam team = StaleTeam.Of(1);
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

    /// <summary>Holds the products of some numbers of tokens against the definition.</summary>
    private static void AssertDefined(MultiScaleKernels kernels, TensorFormat format, IEnumerable<int> counts)
    {
        const int Rows = 37;
        Random random = new((int)format);
        int columns = 2 * Math.Max(64, format.BlockElements());
        byte[] bytes = RandomWeights.Create(format, Rows, columns, random);
        using ComputeTeam team = StaleTeam.Of(1);
        using Activations x = new();
        using Activations part = new();
        RandomWeights.Fill(x, counts.Max(), columns, random);
        fixed (byte* data = bytes)
        {
            WeightMatrix matrix = kernels.Pack(format, Rows, columns, data, bytes.Length, team);
            float[] expected = Define(format, bytes, Rows, x, 2);
            foreach (int count in counts)
            {
                Copy(x, part, 0, count, out _);
                AssertSame(expected.AsSpan(0, count * Rows), Multiply(matrix, part, Rows, team));
            }
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
