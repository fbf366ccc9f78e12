using System.Runtime.InteropServices;

namespace Antiphon.Kernels.Tests.Attention;

public sealed unsafe class PagedAttentionTests
{
    public static TheoryData<string> CaseNames => [.. Cases.Keys];

    private static readonly Dictionary<string, AttentionShape> Cases = new()
    {
        ["multi head"] = new() { QueryHeads = 3, KeyValueHeads = 3, KeySize = 32, ValueSize = 32, Scale = 0.17f },
        ["grouped"] = new() { QueryHeads = 6, KeyValueHeads = 2, KeySize = 64, ValueSize = 64, Scale = 0.125f },
        ["odd sizes"] = new() { QueryHeads = 4, KeyValueHeads = 1, KeySize = 20, ValueSize = 37, Scale = 0.2f },
        ["window"] = new() { QueryHeads = 2, KeyValueHeads = 2, KeySize = 16, ValueSize = 80, Scale = 0.3f, Window = 45 },
        ["soft cap"] = new() { QueryHeads = 2, KeyValueHeads = 1, KeySize = 48, ValueSize = 48, Scale = 1f, SoftCap = 3f },
        ["latent"] = new() { QueryHeads = 36, KeyValueHeads = 1, KeySize = 72, ValueSize = 64, Scale = 0.1f },
        ["wide group"] = new() { QueryHeads = 70, KeyValueHeads = 2, KeySize = 16, ValueSize = 16, Scale = 0.25f },
    };

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void Every_tier_gives_the_same_bits_and_the_true_values(string name)
    {
        using AttentionScene scene = new(Cases[name], TensorFormat.F16, length: 600, blockSize: 16, sinks: name is "grouped", shared: name is "latent");
        foreach ((int first, int rows) in new[] { (0, 1), (0, 40), (31, 2), (511, 2), (520, 40), (599, 1) })
        {
            float[] expected = scene.Run(KernelTier.Portable, 1, (first, rows));
            scene.CheckTruth(expected, first, rows);
            foreach (KernelTier tier in CpuFeatures.Current.Tiers)
            {
                Equal(expected, scene.Run(tier, 1, (first, rows)));
                Equal(expected, scene.Run(tier, 3, (first, rows)));
            }
        }
    }

    [Theory]
    [InlineData(TensorFormat.F32, 32)]
    [InlineData(TensorFormat.BF16, 1)]
    [InlineData(TensorFormat.F16, 7)]
    [InlineData(TensorFormat.F16, 1000)]
    public void Formats_and_block_sizes_are_read_right(TensorFormat format, int blockSize)
    {
        using AttentionScene scene = new(Cases["grouped"], format, 70, blockSize, sinks: false, shared: false);
        scene.CheckTruth(scene.Run(KernelTier.Portable, 2, (0, 70)), 0, 70);
    }

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void Prompt_chunks_and_company_change_nothing(string name)
    {
        using AttentionScene scene = new(Cases[name], TensorFormat.BF16, length: 1100, blockSize: 32, sinks: true, shared: false);
        float[] all = scene.Run(null, 2, (990, 60));
        foreach (int chunk in new[] { 1, 7, 16 })
        {
            List<float> pieces = [];
            for (int done = 0; done < 60; done += chunk)
            {
                int rows = Math.Min(chunk, 60 - done);

                // The second slice is the company; only the first one's output counts.
                float[] both = scene.Run(null, 1 + (done % 3), (990 + done, rows), (done, 3));
                pieces.AddRange(both[..(rows * scene.OutputWidth)]);
            }

            Equal(all, [.. pieces]);
        }
    }

    /// <summary>The fast path, where this machine has it, is held to its definition elsewhere; here only to what it touches.</summary>
    [Fact]
    public void Random_attention_touches_nothing_outside_and_gives_the_same_bits_on_every_tier()
    {
        int[] sizes = [1, 7, 16, 33, 40, 64, 80, 96, 112, 128, 256];
        int seed = int.TryParse(Environment.GetEnvironmentVariable("ANTIPHON_FUZZ_SEED"), out int given) ? given : 1;
        Random random = new(seed);
        int rounds = Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1" ? 400 : 40;
        for (int round = 0; round < rounds; round++)
        {
            int keyHeads = random.Next(1, 4);
            bool shared = random.Next(8) == 0;
            int keySize = sizes[random.Next(sizes.Length)];
            AttentionShape shape = new()
            {
                KeyValueHeads = shared ? 1 : keyHeads,
                QueryHeads = keyHeads * random.Next(1, 7),
                KeySize = keySize,
                ValueSize = shared ? random.Next(1, keySize + 1) : sizes[random.Next(sizes.Length)],
                Scale = random.NextSingle() * 0.5f,
                Window = random.Next(3) == 0 ? random.Next(1, 300) : 0,
                SoftCap = random.Next(4) == 0 ? 5 : 0,
            };
            TensorFormat format = random.Next(3) switch { 0 => TensorFormat.F32, 1 => TensorFormat.F16, _ => TensorFormat.BF16 };
            int length = random.Next(1, 700);
            int blockSize = random.Next(4) == 0 ? random.Next(1, 70) : 16 << random.Next(3);
            int rows = Math.Min(length, random.Next(2) == 0 ? random.Next(1, 4) : random.Next(1, 90));
            int first = random.Next(length - rows + 1);
            bool sinks = random.Next(3) == 0;
            bool atStart = random.Next(2) == 0;
            string what = $"seed {seed}, round {round}: {shape}, {format}, {length} rows in blocks of {blockSize}, queries {first} to {first + rows}";
            using AttentionScene scene = new(shape, format, length, blockSize, sinks, shared, random.NextSingle() * 3, atStart);
            float[] expected = scene.Run(KernelTier.Portable, 1, (first, rows));
            Assert.All(expected, value => Assert.True(float.IsFinite(value), what));
            foreach (KernelTier tier in CpuFeatures.Current.Tiers)
            {
                float[] actual = scene.Run(tier, random.Next(1, 4), (first, rows));
                Assert.True(MemoryMarshal.AsBytes<float>(expected).SequenceEqual(MemoryMarshal.AsBytes<float>(actual)), $"{what}, {tier}");
            }

            using AttentionScene fast = new(shape, format, length, blockSize, sinks, shared, 1, atStart) { Fast = true };
            fast.Run(null, 2, (first, rows));
        }
    }

    [Fact]
    public void An_explicit_causal_rule_equals_the_implicit_one_and_a_branch_sees_its_own_path()
    {
        foreach (string name in new[] { "grouped", "window" })
        {
            using AttentionScene scene = new(Cases[name], TensorFormat.F32, length: 560, blockSize: 16, sinks: false, shared: false);
            const int first = 500;
            const int rows = 50;
            float[] expected = scene.Run(null, 2, (first, rows));
            bool[] causal = new bool[rows * rows];
            int[] positions = new int[rows];
            for (int i = 0; i < rows; i++)
            {
                positions[i] = first + i;
                Array.Fill(causal, true, i * rows, i + 1);
            }

            Equal(expected, scene.RunVisible(first, rows, causal, positions));

            // A query that sees only itself and the context: as if the rows between did not exist. Compared with the truth.
            bool[] alone = new bool[rows * rows];
            for (int i = 0; i < rows; i++)
            {
                alone[(i * rows) + i] = true;
                positions[i] = first;
            }

            scene.CheckTruth(scene.RunVisible(first, rows, alone, positions), first, rows, alone, positions);
        }
    }

    [Fact]
    public void A_steady_step_allocates_nothing()
    {
        using AttentionScene scene = new(Cases["grouped"], TensorFormat.F16, length: 1100, blockSize: 16, sinks: false, shared: false);
        Assert.Equal(0, scene.AllocatedBytes((1099, 1), (3, 5)));
    }

    [Fact]
    public void A_shape_that_contradicts_itself_is_refused()
    {
        using PagedAttention attention = new();
        using ComputeTeam team = StaleTeam.Of(1);
        AttentionShape shape = new() { QueryHeads = 3, KeyValueHeads = 2, KeySize = 16, ValueSize = 16, Scale = 1 };
        Assert.Throws<ArgumentException>(() => attention.Run(shape, default, default, 16, [], null, team));
        Assert.Throws<ArgumentException>(() => attention.Run(
            shape with { QueryHeads = 2 }, new PagedRows(TensorFormat.Q8_0, null, 0, 0, 0), default, 16, [], null, team));
    }

    private static void Equal(float[] expected, float[] actual) =>
        Assert.Equal(Array.ConvertAll(expected, BitConverter.SingleToInt32Bits), Array.ConvertAll(actual, BitConverter.SingleToInt32Bits));
}
