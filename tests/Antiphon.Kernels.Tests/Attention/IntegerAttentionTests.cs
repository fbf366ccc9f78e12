using System.Runtime.InteropServices;
using Antiphon.Kernels.Integers;

namespace Antiphon.Kernels.Tests.Attention;

public sealed unsafe class IntegerAttentionTests(ITestOutputHelper output)
{
    public static TheoryData<string> CaseNames => [.. Cases.Keys];

    private static readonly Dictionary<string, AttentionShape> Cases = new()
    {
        ["multi head"] = new() { QueryHeads = 3, KeyValueHeads = 3, KeySize = 32, ValueSize = 32, Scale = 0.17f },
        ["grouped"] = new() { QueryHeads = 6, KeyValueHeads = 2, KeySize = 64, ValueSize = 64, Scale = 0.125f },
        ["qwen"] = new() { QueryHeads = 4, KeyValueHeads = 2, KeySize = 128, ValueSize = 128, Scale = 0.088f },
        ["odd sizes"] = new() { QueryHeads = 4, KeyValueHeads = 1, KeySize = 21, ValueSize = 37, Scale = 0.2f },
        ["window"] = new() { QueryHeads = 2, KeyValueHeads = 2, KeySize = 16, ValueSize = 80, Scale = 0.3f, Window = 45 },
        ["wide window"] = new() { QueryHeads = 8, KeyValueHeads = 1, KeySize = 96, ValueSize = 256, Scale = 0.1f, Window = 300 },
        ["wide group"] = new() { QueryHeads = 70, KeyValueHeads = 2, KeySize = 16, ValueSize = 16, Scale = 0.25f },
        ["large"] = new() { QueryHeads = 3, KeyValueHeads = 1, KeySize = 256, ValueSize = 112, Scale = 0.06f },
        ["sharp"] = new() { QueryHeads = 2, KeyValueHeads = 1, KeySize = 64, ValueSize = 32, Scale = 4f },
    };

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void Every_output_is_what_the_definition_says_on_every_tier_and_near_the_truth(string name)
    {
        using AttentionScene scene = new(Cases[name], TensorFormat.I16, length: 700, blockSize: 16, sinks: name is "grouped" or "window", shared: false);
        foreach ((int first, int rows) in new[] { (0, 1), (0, 40), (31, 2), (63, 3), (511, 2), (520, 70), (699, 1) })
        {
            float[] outputs = scene.Run(null, 1, (first, rows));
            scene.CheckIntegers(outputs, first, rows);
            scene.CheckTruth(outputs, first, rows, tolerance: name == "sharp" ? 0.02 : 5e-4);
            foreach (KernelTier tier in CpuFeatures.Current.Tiers)
            {
                Equal(outputs, scene.Run(tier, 3, (first, rows)));
            }

            foreach (IntegerForm form in Forms())
            {
                scene.Form = form;
                Equal(outputs, scene.Run(null, 2, (first, rows)));
            }

            scene.Form = null;
        }
    }

    [Fact]
    public void Random_attention_is_what_the_definition_says_and_touches_nothing_outside()
    {
        int[] sizes = [1, 7, 16, 33, 40, 64, 80, 96, 112, 128, 256];
        int seed = int.TryParse(Environment.GetEnvironmentVariable("ANTIPHON_FUZZ_SEED"), out int given) ? given : 1;
        Random random = new(seed);
        int rounds = Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1" ? 400 : 60;
        for (int round = 0; round < rounds; round++)
        {
            int keyHeads = random.Next(1, 4);
            AttentionShape shape = new()
            {
                KeyValueHeads = keyHeads,
                QueryHeads = keyHeads * random.Next(1, 10),
                KeySize = sizes[random.Next(sizes.Length)],
                ValueSize = sizes[random.Next(sizes.Length)],
                Scale = random.NextSingle() + 0.01f,
                Window = random.Next(3) == 0 ? random.Next(1, 400) : 0,
            };
            int length = random.Next(1, 1100);
            int blockSize = random.Next(4) == 0 ? random.Next(1, 90) : 16 << random.Next(4);
            int rows = Math.Min(length, random.Next(2) == 0 ? random.Next(1, 4) : random.Next(1, 90));
            int first = random.Next(length - rows + 1);
            string what = $"seed {seed}, round {round}: {shape}, {length} rows in blocks of {blockSize}, queries {first} to {first + rows}";
            output.WriteLine(what);
            using AttentionScene scene = new(shape, TensorFormat.I16, length, blockSize, random.Next(2) == 0, false, random.NextSingle() * 3, random.Next(2) == 0);
            IntegerForm[] forms = [.. Forms()];
            scene.Form = forms.Length == 0 ? null : forms[random.Next(forms.Length)];
            if (random.Next(3) > 0)
            {
                float[] outputs = scene.Run(null, random.Next(1, 4), (first, rows));
                scene.CheckIntegers(outputs, first, rows);
                KernelTier[] tiers = [.. CpuFeatures.Current.Tiers];
                float[] others = scene.Run(tiers[random.Next(tiers.Length)], random.Next(1, 4), (first, rows));
                Assert.True(MemoryMarshal.AsBytes<float>(outputs).SequenceEqual(MemoryMarshal.AsBytes<float>(others)), what);
                continue;
            }

            (bool[] visible, int[] positions) = AttentionScene.Tree(random, first, rows);
            scene.CheckIntegers(scene.RunVisible(first, rows, visible, positions), first, rows, visible, positions);
        }
    }

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void Prompt_chunks_company_and_workers_change_nothing(string name)
    {
        using AttentionScene scene = new(Cases[name], TensorFormat.I16, length: 1300, blockSize: 32, sinks: true, shared: false);
        float[] all = scene.Run(null, 2, (1100, 200));
        Equal(all, scene.Run(null, 1, (1100, 200)));
        Equal(all, scene.Run(null, 5, (1100, 200)));
        foreach (int chunk in new[] { 1, 7, 16, 130 })
        {
            List<float> pieces = [];
            for (int done = 0; done < 200; done += chunk)
            {
                int rows = Math.Min(chunk, 200 - done);

                // The second slice is the company; only the first one's output counts.
                float[] both = scene.Run(null, 1 + (done % 3), (1100 + done, rows), (done, 3));
                pieces.AddRange(both[..(rows * scene.OutputWidth)]);
            }

            Equal(all, [.. pieces]);
        }
    }

    [Theory]
    [InlineData(1f)]
    [InlineData(4f)]
    public void Errors_are_smaller_than_those_of_a_cache_of_bfloat16(float spread)
    {
        // Numbers spread evenly, and scores with a deviation of about 0.8 and 3; the exact path over 32 bits is the truth.
        double[] errors = [.. new[] { TensorFormat.F32, TensorFormat.BF16, TensorFormat.I16 }.Select(format =>
        {
            using AttentionScene scene = new(Cases["qwen"], format, 1500, 32, sinks: false, shared: false, spread);
            using AttentionScene truth = new(Cases["qwen"], TensorFormat.F32, 1500, 32, sinks: false, shared: false, spread);
            return Math.Sqrt(scene.Run(null, 2, (1200, 300)).Zip(truth.Run(null, 2, (1200, 300)), (a, b) => ((double)a - b) * (a - b)).Average());
        })];
        output.WriteLine($"root mean square of errors, spread {spread}: {errors[1]:e2} with bfloat16, {errors[2]:e2} with integers");
        Assert.Equal(0, errors[0]);
        Assert.True(errors[2] < errors[1] / 2);
    }

    [Fact]
    public void Many_small_weights_beside_a_great_one_are_not_lost()
    {
        // The first key takes nearly all weight, but its value is near zero, as attention sinks of models do; the others share the rest.
        const int size = 64;
        const int count = 640;
        float[] query = new float[size];
        query[0] = 1;
        short[] keys = new short[count * size];
        short[] values = new short[count * size];
        float[] keyScales = new float[count];
        float[] valueScales = new float[count];
        Random random = new(1);
        double[] truth = new double[size];
        double sum = 0;
        for (int i = 0; i < count; i++)
        {
            keys[i * size] = (short)(i == 0 ? 4095 : random.Next(100));
            keyScales[i] = 10f / 4095;
            valueScales[i] = i == 0 ? 1e-5f : 1e-3f;
            double weight = Math.Exp(keys[i * size] * (double)keyScales[i]);
            sum += weight;
            for (int d = 0; d < size; d++)
            {
                values[(i * size) + d] = (short)(random.Next(1000) + 1000);
                truth[d] += weight * values[(i * size) + d] * valueScales[i];
            }
        }

        bool[] visible = new bool[count];
        Array.Fill(visible, true);
        float[] outputs = new float[size];
        IntegerArithmetic.Attend(query, keys, keyScales, values, valueScales, visible, 1, null, outputs);
        for (int d = 0; d < size; d++)
        {
            Assert.InRange(outputs[d] * sum / truth[d], 0.999, 1.001);
        }
    }

    [Fact]
    public void Rows_become_integers_the_same_way_in_lanes_and_one_by_one()
    {
        Random random = new(3);
        for (int round = 0; round < 200; round++)
        {
            float[] row = [.. Enumerable.Range(0, random.Next(1, 70)).Select(_ => (random.NextSingle() - 0.5f) * MathF.Pow(10, random.Next(-35, 30)))];
            if (round % 4 == 0)
            {
                row[random.Next(row.Length)] = (round % 3) switch { 0 => float.NaN, 1 => float.NegativeInfinity, _ => 0 };
            }

            int limit = round % 2 == 0 ? 4095 : 2047;
            short[] expected = new short[row.Length];
            short[] actual = new short[row.Length];
            float scale = IntegerArithmetic.Quantize(row, expected, limit);
            fixed (float* x = row)
            fixed (short* y = actual)
            {
                Assert.Equal(scale, VectorKernels.Default.ToIntegers(x, y, row.Length, limit));
            }

            Assert.Equal(expected, actual);
            Assert.True(float.IsFinite(scale));
            Assert.All(expected, value => Assert.InRange(value, -limit, limit));
            Assert.All(row.Zip(expected).Where(pair => float.IsFinite(pair.First)), pair => Assert.Equal(pair.First, (double)pair.Second * scale, Math.Max(1e-30, 0.5001 * scale)));
        }
    }

    [Fact]
    public void A_steady_step_allocates_nothing()
    {
        using AttentionScene scene = new(Cases["grouped"], TensorFormat.I16, length: 1100, blockSize: 16, sinks: false, shared: false);
        Assert.Equal(0, scene.AllocatedBytes((1099, 1), (3, 5)));
    }

    [Fact]
    public void What_integers_cannot_do_is_refused()
    {
        using AttentionScene capped = new(Cases["grouped"] with { SoftCap = 3 }, TensorFormat.I16, 30, 16, sinks: false, shared: false);
        Assert.Throws<ArgumentException>(() => capped.Run(null, 1, (0, 30)));
        using AttentionScene latent = new(
            new() { QueryHeads = 4, KeyValueHeads = 1, KeySize = 72, ValueSize = 64, Scale = 0.1f }, TensorFormat.I16, 30, 16, sinks: false, shared: true);
        Assert.Throws<ArgumentException>(() => latent.Run(null, 1, (0, 30)));
    }

    /// <summary>The instructions of generated code that this processor and tier have.</summary>
    private static IEnumerable<IntegerForm> Forms()
    {
        CpuFeatures cpu = CpuFeatures.Current;
        return Enum.GetValues<IntegerForm>().Where(form => form switch
        {
            IntegerForm.Avx2 => CpuFeatures.DefaultTier >= KernelTier.Avx2,
            IntegerForm.Avx2Fused => CpuFeatures.DefaultTier >= KernelTier.Avx2 && (cpu.HasAvxVnni || cpu.HasAvx512Vnni),
            _ => CpuFeatures.DefaultTier >= KernelTier.Avx512 && cpu.HasAvx512Vnni,
        });
    }

    private static void Equal(float[] expected, float[] actual) =>
        Assert.Equal(Array.ConvertAll(expected, BitConverter.SingleToInt32Bits), Array.ConvertAll(actual, BitConverter.SingleToInt32Bits));
}
