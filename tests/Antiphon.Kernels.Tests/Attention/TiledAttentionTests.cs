using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tiled;

namespace Antiphon.Kernels.Tests.Attention;

public sealed unsafe class TiledAttentionTests(ITestOutputHelper output)
{
    public static TheoryData<string> CaseNames => [.. Cases.Keys];

    private static readonly Dictionary<string, AttentionShape> Cases = new()
    {
        ["multi head"] = new() { QueryHeads = 3, KeyValueHeads = 3, KeySize = 32, ValueSize = 32, Scale = 0.17f },
        ["grouped"] = new() { QueryHeads = 6, KeyValueHeads = 2, KeySize = 64, ValueSize = 64, Scale = 0.125f },
        ["qwen"] = new() { QueryHeads = 4, KeyValueHeads = 2, KeySize = 128, ValueSize = 128, Scale = 0.088f },
        ["odd sizes"] = new() { QueryHeads = 4, KeyValueHeads = 1, KeySize = 20, ValueSize = 37, Scale = 0.2f },
        ["window"] = new() { QueryHeads = 2, KeyValueHeads = 2, KeySize = 16, ValueSize = 80, Scale = 0.3f, Window = 45 },
        ["wide window"] = new() { QueryHeads = 8, KeyValueHeads = 1, KeySize = 96, ValueSize = 256, Scale = 0.1f, Window = 300 },
        ["wide group"] = new() { QueryHeads = 70, KeyValueHeads = 2, KeySize = 16, ValueSize = 16, Scale = 0.25f },
        ["sharp"] = new() { QueryHeads = 2, KeyValueHeads = 1, KeySize = 64, ValueSize = 32, Scale = 4f },
    };

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void Every_output_is_what_the_definition_says_and_near_the_truth(string name)
    {
        Require();
        using AttentionScene scene = new(Cases[name], TensorFormat.BF16, length: 1300, blockSize: 16, sinks: name is "grouped" or "window", shared: false) { Fast = true };
        foreach ((int first, int rows) in new[] { (0, 1), (0, 40), (31, 2), (127, 2), (520, 70), (1020, 9), (1299, 1) })
        {
            float[] outputs = scene.Run(null, 1, (first, rows));
            scene.CheckTruth(outputs, first, rows, tolerance: name == "sharp" ? 0.3 : 0.02);
            scene.CheckDefinition(outputs, first, rows);
        }
    }

    [Fact]
    public void Random_attention_is_what_the_definition_says()
    {
        Require();
        int seed = int.TryParse(Environment.GetEnvironmentVariable("ANTIPHON_FUZZ_SEED"), out int given) ? given : 1;
        Random random = new(seed);
        int rounds = Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1" ? 400 : 40;
        for (int round = 0; round < rounds; round++)
        {
            int keyHeads = random.Next(1, 4);
            AttentionShape shape = new()
            {
                KeyValueHeads = keyHeads,
                QueryHeads = keyHeads * random.Next(1, 10),
                KeySize = random.Next(1, 5) * random.Next(1, 33),
                ValueSize = random.Next(1, 5) * random.Next(1, 33),
                Scale = random.NextSingle() + 0.01f,
                Window = random.Next(3) == 0 ? random.Next(1, 400) : 0,
            };
            TensorFormat format = random.Next(3) switch { 0 => TensorFormat.F32, 1 => TensorFormat.F16, _ => TensorFormat.BF16 };
            int length = random.Next(1, 1500);
            int blockSize = random.Next(4) == 0 ? random.Next(1, 70) : 16 << random.Next(4);
            int rows = Math.Min(length, random.Next(1, 60));
            int first = random.Next(length - rows + 1);
            output.WriteLine($"seed {seed}, round {round}: {shape}, {format}, {length} rows in blocks of {blockSize}, queries {first} to {first + rows}");
            using AttentionScene scene = new(shape, format, length, blockSize, random.Next(2) == 0, false, random.NextSingle() * 3) { Fast = true };
            if (random.Next(3) > 0)
            {
                scene.CheckDefinition(scene.Run(null, random.Next(1, 4), (first, rows)), first, rows);
                continue;
            }

            (bool[] visible, int[] positions) = AttentionScene.Tree(random, first, rows);
            scene.CheckDefinition(scene.RunVisible(first, rows, visible, positions), first, rows, visible, positions);
        }
    }

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void Prompt_chunks_company_and_workers_change_nothing(string name)
    {
        Require();
        using AttentionScene scene = new(Cases[name], TensorFormat.BF16, length: 2200, blockSize: 32, sinks: true, shared: false) { Fast = true };
        float[] all = scene.Run(null, 2, (1990, 200));
        Equal(all, scene.Run(null, 1, (1990, 200)));
        Equal(all, scene.Run(null, 5, (1990, 200)));
        foreach (int chunk in new[] { 1, 7, 16, 130 })
        {
            List<float> pieces = [];
            for (int done = 0; done < 200; done += chunk)
            {
                int rows = Math.Min(chunk, 200 - done);

                // The second slice is the company; only the first one's output counts.
                float[] both = scene.Run(null, 1 + (done % 3), (1990 + done, rows), (done, 3));
                pieces.AddRange(both[..(rows * scene.OutputWidth)]);
            }

            Equal(all, [.. pieces]);
        }
    }

    [Fact]
    public void Cached_formats_that_hold_the_same_numbers_give_the_same_bits()
    {
        Require();
        float[][] outputs = [.. new[] { TensorFormat.BF16, TensorFormat.F32 }.Select(format =>
        {
            using AttentionScene scene = new(Cases["grouped"], format, 400, 16, sinks: false, shared: false, spread: 1) { Fast = true };
            return scene.Run(null, 2, (300, 100));
        })];

        // The scene rounds its numbers to bfloat16, and so does the kernel, which takes subnormal ones for zero: near, not equal.
        Assert.All(outputs[0].Zip(outputs[1]), pair => Assert.Equal(pair.First, pair.Second, 0.03));
    }

    [Fact]
    public void Shifts_follow_rarely_and_only_where_they_must()
    {
        Require();
        foreach ((float spread, double mostShare) in new[] { (1f, 0.01), (4f, 0.35) })
        {
            // Scores with a deviation of about 1.5 and 6 (times log2 e in powers of two).
            AttentionShape shape = new() { QueryHeads = 2, KeyValueHeads = 1, KeySize = 128, ValueSize = 32, Scale = 0.2f };
            using AttentionScene scene = new(shape, TensorFormat.BF16, 4096, 32, sinks: false, shared: false, spread) { Fast = true };
            (int shifts, int rises) = scene.CheckDefinition(scene.Run(null, 2, (4056, 40)), 4056, 40);
            output.WriteLine($"spread {spread}: the greatest score rose {rises} times, the shift followed {shifts} times");
            Assert.True(rises > 30, "hardly anything to follow");
            Assert.True(shifts <= mostShare * rises, $"{shifts} of {rises}");
        }
    }

    [Fact]
    public void A_steady_step_allocates_nothing()
    {
        Require();
        using AttentionScene scene = new(Cases["grouped"], TensorFormat.F16, length: 1100, blockSize: 16, sinks: false, shared: false) { Fast = true };
        Assert.Equal(0, scene.AllocatedBytes((1099, 1), (3, 5)));
    }

    [Fact]
    public void What_the_tiles_cannot_do_takes_the_exact_path()
    {
        Require();
        AttentionShape shape = new() { QueryHeads = 2, KeyValueHeads = 1, KeySize = 48, ValueSize = 48, Scale = 1f, SoftCap = 3f };
        using AttentionScene exact = new(shape, TensorFormat.F16, 300, 16, sinks: false, shared: false);
        using AttentionScene fast = new(shape, TensorFormat.F16, 300, 16, sinks: false, shared: false) { Fast = true };
        Equal(exact.Run(null, 2, (200, 10)), fast.Run(null, 2, (200, 10)));
    }

    [Fact]
    public void The_power_of_two_is_as_near_as_stated()
    {
        double worst = 0;
        double cut = 0;
        double mean = 0;
        int count = 0;
        for (float x = -100; x <= 8; x += 0.00137f, count++)
        {
            double truth = Math.Pow(2, x);
            worst = Math.Max(worst, Math.Abs((TiledArithmetic.Factor(x) / truth) - 1));
            double weight = BFloat16.Value(TiledArithmetic.Weight(x)) / truth;
            cut = Math.Max(cut, Math.Abs(weight - 1));
            mean += weight - 1;
        }

        output.WriteLine($"degree 3: {worst:e2}; as bfloat16: {cut:e2}, on average {mean / count:e2}");
        Assert.InRange(worst, 8e-5, 9e-5);
        Assert.InRange(cut, 0.003, 0.0055);
        Assert.InRange(Math.Abs(mean / count), 0, 5e-5);
        Assert.Equal(1, TiledArithmetic.Factor(0));
        Assert.Equal(0, TiledArithmetic.Factor(-127));
        Assert.Equal(0, TiledArithmetic.Factor(-1e30f));
        Assert.Equal(0, TiledArithmetic.Weight(float.NegativeInfinity));
    }

    private static void Require()
    {
        using PagedAttention attention = new(null, true);
        Assert.SkipUnless(attention.HasFastPath, "no AMX tiles here, or no generated code");
    }

    private static void Equal(float[] expected, float[] actual) =>
        Assert.Equal(Array.ConvertAll(expected, BitConverter.SingleToInt32Bits), Array.ConvertAll(actual, BitConverter.SingleToInt32Bits));
}
