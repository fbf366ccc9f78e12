using Antiphon.Kernels.Integers;
using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tiled;

namespace Antiphon.Kernels.Tests.Attention;

/// <summary>One sequence's cache in shuffled blocks, with queries for every row. Cache, queries, block table and outputs lie at pages that may not be touched.</summary>
internal sealed unsafe class AttentionScene : IDisposable
{
    private readonly AttentionShape shape;
    private readonly int length;
    private readonly int blockSize;
    private readonly GuardedMemory keys;
    private readonly GuardedMemory values;
    private readonly GuardedMemory queryMemory;
    private readonly GuardedMemory blockMemory;
    private readonly bool atStart;
    private readonly PagedRows keyRows;
    private readonly PagedRows valueRows;
    private readonly float[]? sinks;

    public AttentionScene(AttentionShape shape, TensorFormat format, int length, int blockSize, bool sinks, bool shared, float spread = 1, bool atStart = false)
    {
        this.shape = shape;
        this.length = length;
        this.blockSize = blockSize;
        this.atStart = atStart;
        Random random = new(length);
        int blockCount = (length + blockSize - 1) / blockSize;
        int[] order = Enumerable.Range(0, blockCount).ToArray();
        random.Shuffle(order);
        blockMemory = new GuardedMemory(blockCount * sizeof(int), atStart);
        order.CopyTo(new Span<int>(Blocks, blockCount));

        // Keys: [block][head][row][size]; values: [block][row][head][size].
        int rows = shape.KeyValueHeads * blockSize;
        int scaleElements = format == TensorFormat.I16 ? 2 * rows : 0;
        long keyBlock = ((long)rows * shape.KeySize) + scaleElements;
        long valueBlock = ((long)rows * shape.ValueSize) + scaleElements;
        keys = new GuardedMemory(blockCount * keyBlock * format.BlockBytes(), atStart);
        values = new GuardedMemory(blockCount * valueBlock * format.BlockBytes(), atStart);
        long keyScales = (long)rows * shape.KeySize;
        long valueScales = (long)rows * shape.ValueSize;
        keyRows = new PagedRows(format, keys.Pointer, keyBlock, (long)blockSize * shape.KeySize, shape.KeySize, keyScales, blockSize);
        valueRows = shared
            ? keyRows
            : new PagedRows(format, values.Pointer, valueBlock, shape.ValueSize, (long)shape.KeyValueHeads * shape.ValueSize, valueScales, blockSize);
        for (int row = 0; row < blockCount * rows; row++)
        {
            Fill(keyRows, row / rows, row % rows / blockSize, row % blockSize, random, spread, shape.KeySize, IntegerArithmetic.KeyLimit);
        }

        for (int row = 0; row < blockCount * rows; row++)
        {
            PagedRows place = shared ? new PagedRows(format, values.Pointer, valueBlock, shape.ValueSize, (long)shape.KeyValueHeads * shape.ValueSize) : valueRows;
            Fill(place, row / rows, row % shape.KeyValueHeads, row % rows / shape.KeyValueHeads, random, 1, shape.ValueSize, IntegerArithmetic.ValueLimit);
        }

        int width = shape.QueryHeads * shape.KeySize;
        queryMemory = new GuardedMemory((long)length * width * sizeof(float), atStart);
        for (int i = 0; i < length * width; i++)
        {
            Queries[i] = (random.NextSingle() * 4) - 2;
        }

        this.sinks = sinks ? Enumerable.Range(0, shape.QueryHeads).Select(_ => random.NextSingle() * 3).ToArray() : null;
    }

    /// <summary>Whether the fast path runs.</summary>
    public bool Fast { get; init; }

    /// <summary>Instructions of generated code over integers; null: the best there are.</summary>
    public IntegerForm? Form { get; set; }

    private float* Queries => (float*)queryMemory.Pointer;

    private int* Blocks => (int*)blockMemory.Pointer;

    public int OutputWidth => shape.QueryHeads * shape.ValueSize;

    public float[] Run(KernelTier? tier, int workers, params (int First, int Rows)[] parts)
    {
        using ComputeTeam team = StaleTeam.Of(workers);
        using PagedAttention attention = new(tier, Fast, Form);
        using GuardedMemory outputs = Outputs(parts.Sum(part => part.Rows));
        Run(attention, team, (float*)outputs.Pointer, parts, null, null);
        return Copy(outputs, parts.Sum(part => part.Rows));
    }

    public float[] RunVisible(int first, int rows, bool[]? visible, int[] positions)
    {
        using ComputeTeam team = StaleTeam.Of(2);
        using PagedAttention attention = new(null, Fast, Form);
        using GuardedMemory outputs = Outputs(rows);
        Run(attention, team, (float*)outputs.Pointer, [(first, rows)], visible, positions);
        return Copy(outputs, rows);
    }

    public long AllocatedBytes(params (int First, int Rows)[] parts)
    {
        using ComputeTeam team = StaleTeam.Of(2);
        using PagedAttention attention = new(null, Fast, Form);
        using GuardedMemory outputs = Outputs(parts.Sum(part => part.Rows));
        AttentionSlice[] slices = new AttentionSlice[parts.Length];
        long before = 0;
        for (int round = 0; round < 20; round++)
        {
            if (round == 10)
            {
                before = GC.GetAllocatedBytesForCurrentThread();
            }

            Run(attention, team, (float*)outputs.Pointer, parts, null, null, slices);
        }

        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    public void CheckTruth(float[] outputs, int first, int rows, bool[]? visible = null, int[]? positions = null, double tolerance = 2e-5)
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
                float* query = Queries + (((long)(first + i) * shape.QueryHeads) + head) * shape.KeySize;
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
                    Assert.Equal(expected[d] / sum, outputs[(((long)i * shape.QueryHeads) + head) * shape.ValueSize + d], tolerance);
                }
            }
        }
    }

    /// <summary>A random tree of tokens behind some rows: each sees itself, its parent, and what that sees.</summary>
    public static (bool[] Visible, int[] Positions) Tree(Random random, int first, int rows)
    {
        bool[] visible = new bool[rows * rows];
        int[] positions = new int[rows];
        for (int i = 0; i < rows; i++)
        {
            int parent = random.Next(-1, i);
            positions[i] = parent < 0 ? first : positions[parent] + 1;
            for (int j = 0; parent >= 0 && j < rows; j++)
            {
                visible[(i * rows) + j] = visible[(parent * rows) + j];
            }

            visible[(i * rows) + i] = true;
        }

        return (visible, positions);
    }

    /// <summary>Holds some outputs over a cache of integers against their definition, bit for bit.</summary>
    public void CheckIntegers(float[] outputs, int first, int rows, bool[]? visible = null, int[]? positions = null)
    {
        int end = Math.Min(length, first + rows);
        float[] expected = new float[shape.ValueSize];
        for (int i = 0; i < rows; i += Math.Max(1, (rows + 3) / 5))
        {
            bool[] seen = Seen(i, first, rows, end, visible, positions);
            for (int head = 0; head < shape.QueryHeads; head += Math.Max(1, shape.QueryHeads / 3))
            {
                int keyHead = head / (shape.QueryHeads / shape.KeyValueHeads);
                (short[] keyIntegers, float[] keyScales) = Integers(keyRows, shape.KeySize, keyHead, end);
                (short[] valueIntegers, float[] valueScales) = Integers(valueRows, shape.ValueSize, keyHead, end);
                float* query = Queries + ((((long)(first + i) * shape.QueryHeads) + head) * shape.KeySize);
                IntegerArithmetic.Attend(
                    new ReadOnlySpan<float>(query, shape.KeySize), keyIntegers, keyScales, valueIntegers, valueScales, seen, shape.Scale, sinks?[head], expected);
                for (int d = 0; d < shape.ValueSize; d++)
                {
                    float actual = outputs[((((long)i * shape.QueryHeads) + head) * shape.ValueSize) + d];
                    if (actual != expected[d])
                    {
                        Assert.Fail($"row {first + i}, head {head}, value {d}: {actual:g9}, by definition {expected[d]:g9}");
                    }
                }
            }
        }
    }

    /// <summary>Holds some outputs of the fast path against its definition, bit for bit.</summary>
    /// <returns>How often shifts followed, and how often the greatest score rose.</returns>
    public (int Shifts, int Rises) CheckDefinition(float[] outputs, int first, int rows, bool[]? visible = null, int[]? positions = null)
    {
        int group = shape.QueryHeads / shape.KeyValueHeads;
        int end = Math.Min(length, first + rows);
        (int Shifts, int Rises) counts = default;
        for (int i = 0; i < rows; i += Math.Max(1, (rows + 3) / 4))
        {
            bool[] seen = Seen(i, first, rows, end, visible, positions);
            for (int head = 0; head < shape.QueryHeads; head += Math.Max(1, shape.QueryHeads / 3))
            {
                float* query = Queries + (((long)(first + i) * shape.QueryHeads) + head) * shape.KeySize;
                ushort[] rounded = new ushort[TiledSizes.Padded(shape.KeySize)];
                Round(new ReadOnlySpan<float>(query, shape.KeySize), rounded);
                float[] expected = new float[TiledSizes.Padded(shape.ValueSize)];
                (int shifts, int rises) = TiledArithmetic.Attend(
                    rounded, Rounded(keyRows, shape.KeySize, head / group, end), Rounded(valueRows, shape.ValueSize, head / group, end), seen, shape.Scale, sinks?[head], expected);
                counts = (counts.Shifts + shifts, counts.Rises + rises);
                for (int d = 0; d < shape.ValueSize; d++)
                {
                    float actual = outputs[(((long)i * shape.QueryHeads) + head) * shape.ValueSize + d];
                    if (actual != expected[d])
                    {
                        Assert.Fail($"row {first + i}, head {head}, value {d}: {actual:g9}, by definition {expected[d]:g9}");
                    }
                }
            }
        }

        return counts;
    }

    public void Dispose()
    {
        keys.Dispose();
        values.Dispose();
        queryMemory.Dispose();
        blockMemory.Dispose();
    }

    private GuardedMemory Outputs(int rows) => new((long)rows * OutputWidth * sizeof(float), atStart);

    private float[] Copy(GuardedMemory outputs, int rows) => new ReadOnlySpan<float>(outputs.Pointer, rows * OutputWidth).ToArray();

    private void Run(
        PagedAttention attention, ComputeTeam team, float* outputs, (int First, int Rows)[] parts, bool[]? visible, int[]? positions, AttentionSlice[]? room = null)
    {
        AttentionSlice[] slices = room ?? new AttentionSlice[parts.Length];
        fixed (float* sink = sinks)
        fixed (bool* see = visible)
        fixed (int* place = positions)
        {
            float* next = outputs;
            for (int i = 0; i < parts.Length; i++)
            {
                slices[i] = new AttentionSlice
                {
                    Queries = Queries + ((long)parts[i].First * shape.QueryHeads * shape.KeySize),
                    QueryStride = shape.QueryHeads * shape.KeySize,
                    Outputs = next,
                    OutputStride = OutputWidth,
                    Rows = parts[i].Rows,
                    FirstRow = parts[i].First,
                    Blocks = Blocks,
                    Visible = see,
                    Positions = place,
                };
                next += parts[i].Rows * OutputWidth;
            }

            attention.Run(shape, keyRows, valueRows, blockSize, slices, sink, team);
        }
    }

    private bool[] Seen(int row, int first, int rows, int end, bool[]? visible, int[]? positions)
    {
        int position = positions?[row] ?? first + row;
        bool[] seen = new bool[end];
        for (int j = 0; j < end; j++)
        {
            int own = j - first;
            int keyPosition = own >= 0 && positions is not null ? positions[own] : j;
            seen[j] = (own < 0 || (visible is null ? own <= row : visible[(row * rows) + own])) && (shape.Window == 0 || position - keyPosition < shape.Window);
        }

        return seen;
    }

    private (short[] Integers, float[] Scales) Integers(in PagedRows pool, int size, int head, int count)
    {
        short[] integers = new short[count * size];
        float[] scales = new float[count];
        for (int i = 0; i < count; i++)
        {
            (int block, int row) = (Blocks[i / blockSize], i % blockSize);
            new ReadOnlySpan<short>(pool.Row(block, head, row), size).CopyTo(integers.AsSpan(i * size));
            scales[i] = *pool.Scale(block, head, row);
        }

        return (integers, scales);
    }

    private ushort[] Rounded(in PagedRows pool, int size, int head, int count)
    {
        int padded = TiledSizes.Padded(size);
        ushort[] rows = new ushort[count * padded];
        float[] row = new float[size];
        for (int i = 0; i < count; i++)
        {
            Read(pool, head, i, row);
            Round(row, rows.AsSpan(i * padded, padded));
        }

        return rows;
    }

    private static void Round(ReadOnlySpan<float> row, Span<ushort> rounded)
    {
        for (int i = 0; i < row.Length; i++)
        {
            rounded[i] = BFloat16.Round(row[i]);
        }
    }

    private void Read(in PagedRows pool, int head, int position, float[] destination)
    {
        int block = Blocks[position / blockSize];
        int row = position % blockSize;
        byte* source = pool.Row(block, head, row);
        if (pool.Format == TensorFormat.I16)
        {
            for (int d = 0; d < destination.Length; d++)
            {
                destination[d] = ((short*)source)[d] * *pool.Scale(block, head, row);
            }

            return;
        }

        BlockDecoder.Decode(pool.Format, new ReadOnlySpan<byte>(source, destination.Length * pool.Format.BlockBytes()), destination);
    }

    private static void Fill(in PagedRows pool, int block, int head, int row, Random random, float spread, int size, int limit)
    {
        float* values = stackalloc float[size];
        for (int d = 0; d < size; d++)
        {
            values[d] = ((random.NextSingle() * 2) - 1) * spread;
        }

        byte* destination = pool.Row(block, head, row);
        if (pool.Format == TensorFormat.I16)
        {
            *pool.Scale(block, head, row) = VectorKernels.Default.ToIntegers(values, (short*)destination, size, limit);
            return;
        }

        for (int d = 0; d < size; d++)
        {
            switch (pool.Format)
            {
                case TensorFormat.F32:
                    ((float*)destination)[d] = values[d];
                    break;
                case TensorFormat.F16:
                    ((Half*)destination)[d] = (Half)values[d];
                    break;
                default:
                    ((ushort*)destination)[d] = BFloat16.Round(values[d]);
                    break;
            }
        }
    }
}
