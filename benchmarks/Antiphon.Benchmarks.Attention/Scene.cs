using System.Diagnostics;
using Antiphon.Kernels;

namespace Antiphon.Benchmarks.Attention;

/// <summary>A pool of cache blocks and attention over it.</summary>
internal sealed unsafe class Scene : IDisposable
{
    private const int BlockSize = 32;
    private const long PoolBytes = 1L << 30;
    private const int MostRows = 512;

    private readonly AttentionShape shape;
    private readonly TensorFormat format;
    private readonly ComputeTeam team;
    private readonly PagedAttention attention;
    private readonly PeakProbe? probe;
    private readonly NativeBuffer<byte> pool = new(PoolBytes, hugePages: true);
    private readonly NativeBuffer<float> queries;
    private readonly NativeBuffer<float> outputs;
    private readonly NativeBuffer<int> blocks;
    private readonly long rowElements;
    private readonly long blockElements;

    public Scene(AttentionShape shape, TensorFormat format, ComputeTeam team, bool fast)
    {
        this.shape = shape;
        this.format = format;
        this.team = team;
        attention = new PagedAttention(null, fast);
        probe = attention.HasFastPath ? new PeakProbe() : null;
        rowElements = (long)shape.KeyValueHeads * BlockSize * shape.KeySize;
        blockElements = rowElements + (format == TensorFormat.I16 ? 2 * shape.KeyValueHeads * BlockSize : 0);
        queries = new NativeBuffer<float>((long)MostRows * shape.QueryHeads * shape.KeySize);
        outputs = new NativeBuffer<float>((long)MostRows * shape.QueryHeads * shape.ValueSize);
        Random random = new(1);
        for (long i = 0; i < queries.Length; i++)
        {
            queries.Pointer[i] = (random.NextSingle() * 4) - 2;
        }

        // Numbers between -2 and 2 with random fractions in any of the formats (of integers: within the limits of values, with scales below).
        int elementBytes = format.BlockBytes();
        ushort[] pattern = new ushort[1 << 20];
        bool halves = format == TensorFormat.F16;
        for (int i = 0; i < pattern.Length; i++)
        {
            float value = (random.NextSingle() * 4) - 2;
            pattern[i] = format == TensorFormat.I16 ? (ushort)(short)(value * 1000) : halves ? BitConverter.HalfToUInt16Bits((Half)value) : (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);
        }

        for (long at = 0; at < PoolBytes; at += 2L * pattern.Length)
        {
            pattern.CopyTo(new Span<ushort>(pool.Pointer + at, pattern.Length));
        }

        int count = (int)(PoolBytes / 2 / (blockElements * elementBytes));
        for (long half = 0; format == TensorFormat.I16 && half < 2; half++)
        {
            for (long block = 0; block < count; block++)
            {
                byte* scales = pool.Pointer + (half * PoolBytes / 2) + (((block * blockElements) + rowElements) * elementBytes);
                new Span<float>(scales, shape.KeyValueHeads * BlockSize).Fill(1e-3f);
            }
        }

        blocks = new NativeBuffer<int>(count);
        int[] order = [.. Enumerable.Range(0, count)];
        random.Shuffle(order);
        order.CopyTo(blocks.Span(0, count));
    }

    public bool IsFast => attention.HasFastPath;

    /// <summary>One token of some sequences, over all layers that the pool holds.</summary>
    public void Decode(int batch, int context, int rounds)
    {
        int contextBlocks = (context + BlockSize - 1) / BlockSize;
        int layers = Math.Max(1, (int)(blocks.Length / ((long)contextBlocks * batch)));
        AttentionSlice[] slices = new AttentionSlice[batch];
        long bytes = 2L * layers * batch * context * shape.KeyValueHeads * shape.KeySize * format.BlockBytes();
        List<double> rates = [];
        List<double> reads = [];
        List<double> times = [];
        for (int round = 0; round <= rounds; round++)
        {
            double read = probe?.MeasureRead(team, pool) ?? BandwidthProbe.MeasureRead(team, PoolBytes / 4, passes: 2);
            long start = Stopwatch.GetTimestamp();
            for (int layer = 0; layer < layers; layer++)
            {
                Run(slices, context, 1, layer);
            }

            double time = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (round > 0)
            {
                reads.Add(read);
                rates.Add(bytes / time);
                times.Add(time / layers);
            }
        }

        Console.WriteLine(
            $"decode  {batch,3} x {context,6}: {Median(times) * 1e6,8:F1} us a layer, {Median(rates) / 1e9,6:F2} GB/s of {Median(reads) / 1e9:F2}: {Median(rates) / Median(reads):P0}");
    }

    /// <summary>The last rows of a prompt.</summary>
    public void Prefill(int rows, int context, int rounds)
    {
        AttentionSlice[] slices = new AttentionSlice[1];
        List<double> times = [];
        List<double> peaks = [];
        int repeats = Math.Max(1, 16384 / context);
        for (int round = 0; round <= rounds; round++)
        {
            double peak = probe?.MeasureTilesBFloat16(team) ?? BandwidthProbe.MeasurePeak(team);
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; i < repeats; i++)
            {
                Run(slices, context, rows, 0);
            }

            if (round > 0)
            {
                times.Add(Stopwatch.GetElapsedTime(start).TotalSeconds / repeats);
                peaks.Add(peak);
            }
        }

        double operations = 4.0 * rows * (context - ((rows - 1) / 2.0)) * shape.QueryHeads * shape.KeySize;
        double rate = operations / Median(times);
        Console.WriteLine(
            $"prefill {rows,3} of {context,6}: {Median(times) * 1e3,8:F2} ms a layer, {rate / 1e12,6:F3} TFLOPS of {Median(peaks) / 1e12:F2}: {rate / Median(peaks):P0}");
    }

    public void Dispose()
    {
        attention.Dispose();
        probe?.Dispose();
        pool.Dispose();
        queries.Dispose();
        outputs.Dispose();
        blocks.Dispose();
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);

    /// <summary>Attention of one layer. Keys lie in the first half of the pool, values in the second.</summary>
    private void Run(AttentionSlice[] slices, int context, int rows, int layer)
    {
        int contextBlocks = (context + BlockSize - 1) / BlockSize;
        for (int i = 0; i < slices.Length; i++)
        {
            slices[i] = new AttentionSlice
            {
                Queries = queries.Pointer + ((long)i * rows * shape.QueryHeads * shape.KeySize),
                Outputs = outputs.Pointer + ((long)i * rows * shape.QueryHeads * shape.ValueSize),
                QueryStride = shape.QueryHeads * shape.KeySize,
                OutputStride = shape.QueryHeads * shape.ValueSize,
                Rows = rows,
                FirstRow = context - rows,
                Blocks = blocks.Pointer + (((layer * slices.Length) + i) * contextBlocks),
            };
        }

        PagedRows keys = new(format, pool.Pointer, blockElements, (long)BlockSize * shape.KeySize, shape.KeySize, rowElements, BlockSize);
        PagedRows values = new(format, pool.Pointer + (PoolBytes / 2), blockElements, (long)BlockSize * shape.KeySize, shape.KeySize, rowElements, BlockSize);
        attention.Run(shape, keys, values, BlockSize, slices, null, team);
    }
}
