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
        using Scene scene = new(Cases[name], TensorFormat.F16, length: 600, blockSize: 16, sinks: name is "grouped", shared: name is "latent");
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
        using Scene scene = new(Cases["grouped"], format, 70, blockSize, sinks: false, shared: false);
        scene.CheckTruth(scene.Run(KernelTier.Portable, 2, (0, 70)), 0, 70);
    }

    [Theory]
    [MemberData(nameof(CaseNames))]
    public void Prompt_chunks_and_company_change_nothing(string name)
    {
        using Scene scene = new(Cases[name], TensorFormat.BF16, length: 1100, blockSize: 32, sinks: true, shared: false);
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

    [Fact]
    public void An_explicit_causal_rule_equals_the_implicit_one_and_a_branch_sees_its_own_path()
    {
        foreach (string name in new[] { "grouped", "window" })
        {
            using Scene scene = new(Cases[name], TensorFormat.F32, length: 560, blockSize: 16, sinks: false, shared: false);
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
        using Scene scene = new(Cases["grouped"], TensorFormat.F16, length: 1100, blockSize: 16, sinks: false, shared: false);
        Assert.Equal(0, scene.AllocatedBytes((1099, 1), (3, 5)));
    }

    [Fact]
    public void A_shape_that_contradicts_itself_is_refused()
    {
        using PagedAttention attention = new();
        using ComputeTeam team = new(1);
        AttentionShape shape = new() { QueryHeads = 3, KeyValueHeads = 2, KeySize = 16, ValueSize = 16, Scale = 1 };
        Assert.Throws<ArgumentException>(() => attention.Run(shape, default, default, 16, [], null, team));
        Assert.Throws<ArgumentException>(() => attention.Run(
            shape with { QueryHeads = 2 }, new PagedRows(TensorFormat.Q8_0, null, 0, 0, 0), default, 16, [], null, team));
    }

    private static void Equal(float[] expected, float[] actual) =>
        Assert.Equal(Array.ConvertAll(expected, BitConverter.SingleToInt32Bits), Array.ConvertAll(actual, BitConverter.SingleToInt32Bits));

    /// <summary>One sequence's cache in shuffled blocks, with queries for every row.</summary>
    private sealed class Scene : IDisposable
    {
        private readonly AttentionShape shape;
        private readonly int length;
        private readonly int blockSize;
        private readonly NativeBuffer<byte> keys;
        private readonly NativeBuffer<byte> values;
        private readonly NativeBuffer<float> queries;
        private readonly NativeBuffer<int> blocks;
        private readonly PagedRows keyRows;
        private readonly PagedRows valueRows;
        private readonly float[]? sinks;

        public Scene(AttentionShape shape, TensorFormat format, int length, int blockSize, bool sinks, bool shared)
        {
            this.shape = shape;
            this.length = length;
            this.blockSize = blockSize;
            Random random = new(length);
            int blockCount = (length + blockSize - 1) / blockSize;
            int[] order = Enumerable.Range(0, blockCount).ToArray();
            random.Shuffle(order);
            blocks = new NativeBuffer<int>(blockCount);
            order.CopyTo(blocks.Span(0, blockCount));

            // Keys: [block][head][row][size]; values: [block][row][head][size].
            int elementBytes = format.BlockBytes();
            long keyBlock = (long)shape.KeyValueHeads * blockSize * shape.KeySize;
            long valueBlock = (long)shape.KeyValueHeads * blockSize * shape.ValueSize;
            keys = Fill(format, blockCount * keyBlock, random);
            values = Fill(format, blockCount * valueBlock, random);
            keyRows = new PagedRows(format, keys.Pointer, keyBlock, (long)blockSize * shape.KeySize, shape.KeySize);
            valueRows = shared ? keyRows : new PagedRows(format, values.Pointer, valueBlock, shape.ValueSize, (long)shape.KeyValueHeads * shape.ValueSize);
            int width = shape.QueryHeads * shape.KeySize;
            queries = new NativeBuffer<float>((long)length * width);
            for (int i = 0; i < length * width; i++)
            {
                queries.Pointer[i] = (random.NextSingle() * 4) - 2;
            }

            this.sinks = sinks ? Enumerable.Range(0, shape.QueryHeads).Select(_ => random.NextSingle() * 3).ToArray() : null;
        }

        public int OutputWidth => shape.QueryHeads * shape.ValueSize;

        public float[] Run(KernelTier? tier, int workers, params (int First, int Rows)[] parts)
        {
            using ComputeTeam team = new(workers);
            using PagedAttention attention = new(tier);
            float[] outputs = new float[parts.Sum(part => part.Rows) * OutputWidth];
            Run(attention, team, outputs, parts, null, null);
            return outputs;
        }

        public float[] RunVisible(int first, int rows, bool[] visible, int[] positions)
        {
            using ComputeTeam team = new(2);
            using PagedAttention attention = new();
            float[] outputs = new float[rows * OutputWidth];
            Run(attention, team, outputs, [(first, rows)], visible, positions);
            return outputs;
        }

        public long AllocatedBytes(params (int First, int Rows)[] parts)
        {
            using ComputeTeam team = new(2);
            using PagedAttention attention = new();
            float[] outputs = new float[parts.Sum(part => part.Rows) * OutputWidth];
            AttentionSlice[] slices = new AttentionSlice[parts.Length];
            long before = 0;
            for (int round = 0; round < 20; round++)
            {
                if (round == 10)
                {
                    before = GC.GetAllocatedBytesForCurrentThread();
                }

                Run(attention, team, outputs, parts, null, null, slices);
            }

            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        public void CheckTruth(float[] outputs, int first, int rows, bool[]? visible = null, int[]? positions = null)
        {
            int group = shape.QueryHeads / shape.KeyValueHeads;
            float[] key = new float[shape.KeySize];
            float[] value = new float[shape.ValueSize];
            double[] scores = new double[length];
            for (int i = 0; i < rows; i += Math.Max(1, rows / 5))
            {
                int position = positions?[i] ?? first + i;
                for (int head = 0; head < shape.QueryHeads; head += Math.Max(1, shape.QueryHeads / 3))
                {
                    float* query = queries.Pointer + (((long)(first + i) * shape.QueryHeads) + head) * shape.KeySize;
                    double greatest = sinks is null ? double.NegativeInfinity : sinks[head];
                    int end = Math.Min(length, first + rows);
                    for (int j = 0; j < end; j++)
                    {
                        int own = j - first;
                        int keyPosition = own >= 0 && positions is not null ? positions[own] : j;
                        bool seen = (own < 0 || (visible is null ? own <= i : visible[(i * rows) + own]))
                            && (shape.Window == 0 || position - keyPosition < shape.Window);
                        scores[j] = double.NegativeInfinity;
                        if (seen)
                        {
                            Read(keyRows, head / group, j, key);
                            double dot = 0;
                            for (int d = 0; d < key.Length; d++)
                            {
                                dot += (double)query[d] * key[d];
                            }

                            dot *= shape.Scale;
                            scores[j] = shape.SoftCap > 0 ? shape.SoftCap * Math.Tanh(dot / shape.SoftCap) : dot;
                            greatest = Math.Max(greatest, scores[j]);
                        }
                    }

                    double sum = sinks is null ? 0 : Math.Exp(sinks[head] - greatest);
                    double[] expected = new double[shape.ValueSize];
                    for (int j = 0; j < end; j++)
                    {
                        double weight = Math.Exp(scores[j] - greatest);
                        sum += weight;
                        Read(valueRows, head / group, j, value);
                        for (int d = 0; d < value.Length; d++)
                        {
                            expected[d] += weight * value[d];
                        }
                    }

                    for (int d = 0; d < expected.Length; d++)
                    {
                        Assert.Equal(expected[d] / sum, outputs[(((long)i * shape.QueryHeads) + head) * shape.ValueSize + d], 2e-5);
                    }
                }
            }
        }

        public void Dispose()
        {
            keys.Dispose();
            values.Dispose();
            queries.Dispose();
            blocks.Dispose();
        }

        private void Run(
            PagedAttention attention, ComputeTeam team, float[] outputs, (int First, int Rows)[] parts, bool[]? visible, int[]? positions, AttentionSlice[]? room = null)
        {
            AttentionSlice[] slices = room ?? new AttentionSlice[parts.Length];
            fixed (float* output = outputs, sink = sinks)
            fixed (bool* see = visible)
            fixed (int* place = positions)
            {
                float* next = output;
                for (int i = 0; i < parts.Length; i++)
                {
                    slices[i] = new AttentionSlice
                    {
                        Queries = queries.Pointer + ((long)parts[i].First * shape.QueryHeads * shape.KeySize),
                        QueryStride = shape.QueryHeads * shape.KeySize,
                        Outputs = next,
                        OutputStride = OutputWidth,
                        Rows = parts[i].Rows,
                        FirstRow = parts[i].First,
                        Blocks = blocks.Pointer,
                        Visible = see,
                        Positions = place,
                    };
                    next += parts[i].Rows * OutputWidth;
                }

                attention.Run(shape, keyRows, valueRows, blockSize, slices, sink, team);
            }
        }

        private void Read(in PagedRows pool, int head, int position, float[] destination) => BlockDecoder.Decode(
            pool.Format,
            new ReadOnlySpan<byte>(pool.Row(blocks.Pointer[position / blockSize], head, position % blockSize), destination.Length * pool.Format.BlockBytes()),
            destination);

        private static NativeBuffer<byte> Fill(TensorFormat format, long elements, Random random)
        {
            int size = format.BlockBytes();
            NativeBuffer<byte> memory = new(elements * size);
            for (long i = 0; i < elements; i++)
            {
                float value = (random.NextSingle() * 2) - 1;
                switch (format)
                {
                    case TensorFormat.F32:
                        ((float*)memory.Pointer)[i] = value;
                        break;
                    case TensorFormat.F16:
                        ((Half*)memory.Pointer)[i] = (Half)value;
                        break;
                    default:
                        ((ushort*)memory.Pointer)[i] = (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);
                        break;
                }
            }

            return memory;
        }
    }
}
