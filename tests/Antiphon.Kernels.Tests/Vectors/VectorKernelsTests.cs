namespace Antiphon.Kernels.Tests.Vectors;

public sealed unsafe class VectorKernelsTests
{
    private static readonly int[] Lengths = [0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 100, 576, 1000];

    private delegate void Operation(VectorKernels kernels, float* x, float* y, float* z, int count);

    /// <summary>Every operation, as a change to x, given two more rows.</summary>
    private static readonly Dictionary<string, Operation> Operations = new()
    {
        ["rms"] = (k, x, y, z, n) => k.RmsNorm(x, y, x, n, 1e-6f),
        ["rms plain"] = (k, x, y, z, n) => k.RmsNorm(x, null, x, n, 1e-6f),
        ["rms 1+w"] = (k, x, y, z, n) => k.RmsNorm(x, y, x, n, 1e-6f, true),
        ["layer norm"] = (k, x, y, z, n) => k.LayerNorm(x, y, z, x, n, 1e-5f),
        ["layer norm plain"] = (k, x, y, z, n) => k.LayerNorm(x, null, null, x, n, 1e-5f),
        ["l2"] = (k, x, y, z, n) => k.NormalizeL2(x, n, 1e-12f),
        ["softmax"] = (k, x, y, z, n) => k.Softmax(x, n),
        ["softmax scaled"] = (k, x, y, z, n) => k.Softmax(x, n, 0.125f),
        ["dot"] = (k, x, y, z, n) => Put(x, n, k.Dot(x, y, n)),
        ["sum"] = (k, x, y, z, n) => Put(x, n, k.Sum(x, n)),
        ["maximum"] = (k, x, y, z, n) => Put(x, n, k.Maximum(x, n)),
        ["argmax"] = (k, x, y, z, n) => Put(x, n, k.ArgMax(x, n)),
        ["add"] = (k, x, y, z, n) => k.Add(y, x, n),
        ["axpy"] = (k, x, y, z, n) => k.AddScaled(0.3f, y, x, n),
        ["multiply"] = (k, x, y, z, n) => k.Multiply(y, x, n),
        ["scale"] = (k, x, y, z, n) => k.Scale(1.7f, x, n),
        ["exp"] = (k, x, y, z, n) => k.Exp(x, n),
        ["sigmoid"] = (k, x, y, z, n) => k.Sigmoid(x, n),
        ["softplus"] = (k, x, y, z, n) => k.Softplus(x, n),
        ["tanh"] = (k, x, y, z, n) => k.Tanh(x, n),
        ["soft cap"] = (k, x, y, z, n) => k.SoftCap(5f, x, n),
        ["silu"] = (k, x, y, z, n) => k.Activate(Activation.Silu, x, n),
        ["gelu"] = (k, x, y, z, n) => k.Activate(Activation.Gelu, x, n),
        ["gelu tanh"] = (k, x, y, z, n) => k.Activate(Activation.GeluTanh, x, n),
        ["relu"] = (k, x, y, z, n) => k.Activate(Activation.Relu, x, n),
        ["relu²"] = (k, x, y, z, n) => k.Activate(Activation.ReluSquared, x, n),
        ["silu gate"] = (k, x, y, z, n) => k.Gate(Activation.Silu, x, y, x, n),
        ["gelu gate"] = (k, x, y, z, n) => k.Gate(Activation.Gelu, x, y, x, n),
        ["gelu tanh gate"] = (k, x, y, z, n) => k.Gate(Activation.GeluTanh, x, y, x, n),
        ["relu gate"] = (k, x, y, z, n) => k.Gate(Activation.Relu, x, y, x, n),
        ["relu² gate"] = (k, x, y, z, n) => k.Gate(Activation.ReluSquared, x, y, x, n),
        ["sigmoid gate"] = (k, x, y, z, n) => k.Gate(Activation.Sigmoid, x, y, x, n),
        ["clamped swiglu"] = (k, x, y, z, n) => k.ClampedSwiglu(1.702f, 7f, x, y, x, n),
        ["rope halves"] = (k, x, y, z, n) => k.RotateHalves(x, 1, n, y, z, n & ~1),
        ["rope pairs"] = (k, x, y, z, n) => k.RotatePairs(x, 1, n, y, z, n & ~1),
        ["half"] = (k, x, y, z, n) =>
        {
            Half[] halves = new Half[n];
            fixed (Half* h = halves)
            {
                k.ToHalf(x, h, n);
                k.FromHalf(h, x, n);
            }
        },
        ["bfloat16"] = (k, x, y, z, n) =>
        {
            ushort[] bits = new ushort[n];
            fixed (ushort* b = bits)
            {
                k.ToBFloat16(x, b, n);
                k.FromBFloat16(b, x, n);
            }
        },
        ["top 5"] = (k, x, y, z, n) =>
        {
            int[] best = new int[5];
            int found = k.TopK(x, n, best);
            for (int i = 0; i < found; i++)
            {
                x[i] = best[i];
            }
        },
    };

    public static TheoryData<string> OperationNames => [.. Operations.Keys];

    [Fact]
    public void Bfloat16_is_the_nearest_even()
    {
        Random random = new(11);
        uint[] special = [0, 0x80000000, 0x00007FFF, 0x00008000, 0x00018000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001];
        foreach (int count in new[] { 1, 15, 16, 17, 200 })
        {
            float[] x = new float[count];
            ushort[] y = new ushort[count];
            for (int i = 0; i < count; i++)
            {
                x[i] = BitConverter.UInt32BitsToSingle(i % 2 == 0 ? special[random.Next(special.Length)] : (uint)random.NextInt64(1L << 32));
            }

            fixed (float* from = x)
            fixed (ushort* to = y)
            {
                VectorKernels.Default.ToBFloat16(from, to, count);
            }

            for (int i = 0; i < count; i++)
            {
                float value = x[i];
                float down = BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) & 0xFFFF0000);
                float result = BitConverter.UInt32BitsToSingle((uint)y[i] << 16);
                if (float.IsNaN(value))
                {
                    Assert.True(float.IsNaN(result));
                    continue;
                }

                // In units of the last place of the result: half of one counts for the even neighbour.
                long rest = BitConverter.SingleToUInt32Bits(value) & 0xFFFF;
                bool up = rest > 0x8000 || (rest == 0x8000 && (BitConverter.SingleToUInt32Bits(value) & 0x10000) != 0);
                Assert.Equal(up ? (BitConverter.SingleToUInt32Bits(down) >> 16) + 1 : BitConverter.SingleToUInt32Bits(down) >> 16, y[i]);
            }
        }
    }

    [Theory]
    [MemberData(nameof(OperationNames))]
    public void All_tiers_give_the_same_bits(string name)
    {
        Operation operation = Operations[name];
        Random random = new(7);
        foreach (int length in Lengths)
        {
            foreach (float magnitude in new[] { 0.01f, 1f, 30f, 200f })
            {
                float[] x = Row(random, length, magnitude);
                float[] y = Row(random, length, 1f);
                float[] z = Row(random, length, 1f);
                int[] expected = Bits(operation, KernelTier.Portable, x, y, z);
                foreach (KernelTier tier in CpuFeatures.Current.Tiers)
                {
                    Assert.Equal(expected, Bits(operation, tier, x, y, z));
                }
            }
        }
    }

    public static TheoryData<string, double> Functions => new()
    {
        { "exp", 2 }, { "sigmoid", 3 }, { "tanh", 4 }, { "silu", 4 }, { "gelu tanh", 48 }, { "gelu", 24 }, { "softplus", 1 },
    };

    [Theory]
    [MemberData(nameof(Functions))]
    public void Elementary_functions_are_accurate(string name, double ulps)
    {
        Func<double, double> truth = name switch
        {
            "exp" => Math.Exp,
            "sigmoid" => v => 1 / (1 + Math.Exp(-v)),
            "tanh" => Math.Tanh,
            "silu" => v => v / (1 + Math.Exp(-v)),
            "gelu tanh" => v => v / (1 + Math.Exp(-2 * Math.Sqrt(2 / Math.PI) * (v + (0.044715 * v * v * v)))),
            "gelu" => v => v * NormalDistribution(v),
            _ => v => v > 40 ? v : Math.Log(1 + Math.Exp(v)),
        };
        float[] x = new float[40000];
        for (int i = 0; i < x.Length; i++)
        {
            x[i] = (i - 20000) / 20000f * (name is "exp" ? 87f : name is "gelu" or "gelu tanh" ? 5f : 17f);
        }

        float[] y = (float[])x.Clone();
        fixed (float* p = y)
        {
            Operations[name](VectorKernels.For(KernelTier.Portable), p, null, null, y.Length);
        }

        double worst = 0;
        float at = 0;
        for (int i = 0; i < x.Length; i++)
        {
            double expected = truth(x[i]);
            double ulp = Math.Max(Math.Pow(2, -149), Math.Pow(2, Math.Floor(Math.Log2(Math.Abs(expected))) - 23));
            double error = expected == 0 ? 0 : Math.Abs(y[i] - expected) / ulp;
            if (error > worst)
            {
                (worst, at) = (error, x[i]);
            }
        }

        TestContext.Current.SendDiagnosticMessage($"{name}: {worst:F2} ulp at {at}");
        Assert.True(worst <= ulps, $"{worst} ulp at {at}");
    }

    [Fact]
    public void Exp_has_its_limits()
    {
        float[] x = [float.NegativeInfinity, -1000f, -103f, 0f, -0f, 88.72f, 89f, 1000f, float.PositiveInfinity, float.NaN];
        foreach (KernelTier tier in CpuFeatures.Current.Tiers)
        {
            float[] y = (float[])x.Clone();
            fixed (float* p = y)
            {
                VectorKernels.For(tier).Exp(p, y.Length);
            }

            Assert.Equal([0f, 0f], y[..2]);
            Assert.InRange(y[2], float.Epsilon, 2e-44f);
            Assert.Equal([1f, 1f], y[3..5]);
            Assert.InRange(y[5], 3.3e38f, float.MaxValue);
            Assert.Equal([float.PositiveInfinity, float.PositiveInfinity, float.PositiveInfinity], y[6..9]);
            Assert.True(float.IsNaN(y[9]));
        }
    }

    [Fact]
    public void Sums_agree_with_double_precision()
    {
        Random random = new(3);
        float[] x = Row(random, 1000, 1f);
        float[] y = Row(random, 1000, 1f);
        VectorKernels kernels = VectorKernels.Default;
        fixed (float* p = x, q = y)
        {
            Assert.Equal(x.Zip(y, (a, b) => (double)a * b).Sum(), kernels.Dot(p, q, 1000), 1e-4);
            Assert.Equal(x.Sum(a => (double)a), kernels.Sum(p, 1000), 1e-4);
            kernels.Softmax(p, 1000);
            Assert.Equal(1.0, x.Sum(a => (double)a), 1e-5);
            kernels.RmsNorm(q, null, p, 1000, 0f);
            Assert.Equal(1.0, x.Sum(a => (double)a * a) / 1000, 1e-5);
            kernels.LayerNorm(q, null, null, p, 1000, 0f);
            Assert.Equal(1.0, x.Sum(a => (double)a * a) / 1000, 1e-5);
            Assert.Equal(0.0, x.Sum(a => (double)a), 1e-3);
        }
    }

    [Fact]
    public void The_dot_product_follows_its_definition()
    {
        Random random = new(4);
        foreach (int length in Lengths)
        {
            float[] x = Row(random, length, 1f);
            float[] y = Row(random, length, 1f);
            fixed (float* p = x, q = y)
            {
                Assert.Equal(LaneSum.Dot(x, y), VectorKernels.For(KernelTier.Portable).Dot(p, q, length));
            }
        }
    }

    [Fact]
    public void Rope_turns_by_the_angle()
    {
        float[] halves = [1, 2, 3, 4, 5, 6];
        float[] pairs = [1, 3, 2, 4, 5, 6];
        float[] cosines = [0.6f, 0f];
        float[] sines = [0.8f, 1f];
        fixed (float* h = halves, p = pairs, c = cosines, s = sines)
        {
            VectorKernels.Default.RotateHalves(h, 1, 6, c, s, 4);
            VectorKernels.Default.RotatePairs(p, 1, 6, c, s, 4);
        }

        Assert.Equal([-1.8f, -4f, 2.6f, 2f, 5f, 6f], halves.Select(v => MathF.Round(v, 5)));
        Assert.Equal([halves[0], halves[2], halves[1], halves[3], 5f, 6f], pairs);
    }

    [Fact]
    public void Softmax_of_nothing_visible_is_zero()
    {
        float[] x = [float.NegativeInfinity, float.NegativeInfinity];
        fixed (float* p = x)
        {
            VectorKernels.Default.Softmax(p, 2);
        }

        Assert.Equal([0f, 0f], x);
    }

    [Fact]
    public void Argmax_and_top_k_order_equals_by_index_and_ignore_what_is_no_number()
    {
        float[] x = new float[50];
        x[3] = float.NaN;
        (x[20], x[41], x[7]) = (5f, 5f, 4f);
        int[] best = new int[4];
        foreach (KernelTier tier in CpuFeatures.Current.Tiers)
        {
            VectorKernels kernels = VectorKernels.For(tier);
            fixed (float* p = x)
            {
                Assert.Equal(20, kernels.ArgMax(p, 50));
                Assert.Equal(4, kernels.TopK(p, 50, best));
                Assert.Equal([20, 41, 7, 0], best);
                Assert.Equal(2, kernels.TopK(p, 2, best));
                Assert.Equal(0, kernels.TopK(p, 0, best));
            }
        }
    }

    [Fact]
    public void Every_half_and_bfloat16_converts_exactly()
    {
        ushort[] all = Enumerable.Range(0, 65536).Select(v => (ushort)v).ToArray();
        float[] y = new float[65536];
        foreach (KernelTier tier in CpuFeatures.Current.Tiers)
        {
            fixed (ushort* p = all)
            fixed (float* q = y)
            {
                VectorKernels.For(tier).FromHalf((Half*)p, q, y.Length);
                for (int i = 0; i < y.Length; i++)
                {
                    float expected = (float)BitConverter.UInt16BitsToHalf((ushort)i);
                    Assert.True(expected.Equals(y[i]) && float.IsNegative(expected) == float.IsNegative(y[i]), $"{i:X4}");
                }

                VectorKernels.For(tier).FromBFloat16(p, q, y.Length);
                for (int i = 0; i < y.Length; i++)
                {
                    Assert.Equal((uint)i << 16, BitConverter.SingleToUInt32Bits(y[i]));
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(OperationNames))]
    public void Nothing_is_read_or_written_past_the_end(string name)
    {
        Random random = new(8);
        foreach (int length in new[] { 1, 2, 15, 17, 33, 47 })
        {
            using GuardedMemory x = new(length * 4);
            using GuardedMemory y = new(length * 4);
            using GuardedMemory z = new(length * 4);
            foreach (GuardedMemory memory in new[] { x, y, z })
            {
                Row(random, length, 1f).CopyTo(new Span<float>(memory.Pointer, length));
            }

            foreach (KernelTier tier in CpuFeatures.Current.Tiers)
            {
                Operations[name](VectorKernels.For(tier), (float*)x.Pointer, (float*)y.Pointer, (float*)z.Pointer, length);
            }
        }
    }

    private static void Put(float* x, int count, float value)
    {
        if (count > 0)
        {
            x[0] = value;
        }
    }

    private static float[] Row(Random random, int length, float magnitude)
    {
        float[] row = new float[length];
        for (int i = 0; i < length; i++)
        {
            row[i] = ((random.NextSingle() * 2) - 1) * magnitude;
        }

        return row;
    }

    private static int[] Bits(Operation operation, KernelTier tier, float[] x, float[] y, float[] z)
    {
        float[] copy = (float[])x.Clone();
        fixed (float* p = copy, q = y, r = z)
        {
            operation(VectorKernels.For(tier), p, q, r, x.Length);
        }

        return Array.ConvertAll(copy, BitConverter.SingleToInt32Bits);
    }

    private static double NormalDistribution(double x)
    {
        // Gauss-Legendre would do as well; Simpson on the density is plenty for 24 ulp of a float.
        const int steps = 4000;
        double low = -12;
        double h = (x - low) / steps;
        double sum = Density(low) + Density(x);
        for (int i = 1; i < steps; i++)
        {
            sum += Density(low + (i * h)) * (i % 2 == 0 ? 2 : 4);
        }

        return sum * h / 3;

        static double Density(double t) => Math.Exp(-t * t / 2) / Math.Sqrt(2 * Math.PI);
    }
}
