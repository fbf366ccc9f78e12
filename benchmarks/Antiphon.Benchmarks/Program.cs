using System.Diagnostics;
using System.Globalization;
using Antiphon.Kernels;

// usage: Antiphon.Benchmarks [threads] [tier] — matrix products and attention, each against the limits of the machine measured just before it.
int threads = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : CpuFeatures.Current.Cores;
KernelTier tier = args.Length > 1 ? CpuFeatures.ChooseTier(args[1], CpuFeatures.Current.BestTier) : CpuFeatures.DefaultTier;
using ComputeTeam team = new(threads);
Console.WriteLine($"{CpuFeatures.Current.Name}, {threads} threads, {tier}");

// Long enough for the just-in-time compiler's second tier.
for (int i = 0; i < 30; i++)
{
    BandwidthProbe.MeasurePeak(team, tier, 1);
}

TensorFormat[] formats =
[
    TensorFormat.Q4_1, TensorFormat.Q8_0, TensorFormat.Q4_0, TensorFormat.Q4_K, TensorFormat.Q6_K, TensorFormat.MXFP4, TensorFormat.F16, TensorFormat.BF16, TensorFormat.F32,
];
foreach (TensorFormat format in formats)
{
    Measure.Decode(format, team, tier);
}

foreach (TensorFormat format in formats[..5])
{
    Measure.Prefill(format, team, tier, 512);
}

Measure.Attention(team, tier, context: 8192, rows: 1);
Measure.Attention(team, tier, context: 2048, rows: 512);

internal static unsafe class Measure
{
    public static void Decode(TensorFormat format, ComputeTeam team, KernelTier tier)
    {
        const int columns = 2048;
        long rowBytes = format.ByteCount(columns);
        int rows = (int)((256L << 20) / rowBytes);
        using NativeBuffer<byte> weights = Weights(format, rows * rowBytes);
        using Activations x = Input(1, columns);
        using NativeBuffer<float> y = new(rows);
        WeightMatrix matrix = WeightMatrix.Create(format, rows, columns, weights.Pointer, weights.Length, tier);
        double bandwidth = 0;
        double rate = 0;
        for (int round = 0; round < 5; round++)
        {
            bandwidth = Math.Max(bandwidth, BandwidthProbe.MeasureRead(team, 256L << 20, 2));
            rate = Math.Max(rate, weights.Length / Best(2, () => matrix.Multiply(x, y.Pointer, rows, team)));
        }

        Console.WriteLine($"decode  {format,-6} {rate / 1e9,7:F2} GB/s of {bandwidth / 1e9:F2} read: {rate / bandwidth:P0}");
    }

    public static void Prefill(TensorFormat format, ComputeTeam team, KernelTier tier, int tokens)
    {
        const int columns = 2048;
        const int rows = 2048;
        using NativeBuffer<byte> weights = Weights(format, rows * format.ByteCount(columns));
        using Activations x = Input(tokens, columns);
        using NativeBuffer<float> y = new((long)rows * tokens);
        WeightMatrix matrix = WeightMatrix.Create(format, rows, columns, weights.Pointer, weights.Length, tier);
        double peak = 0;
        double rate = 0;
        for (int round = 0; round < 5; round++)
        {
            peak = Math.Max(peak, BandwidthProbe.MeasurePeak(team, tier, 4));
            rate = Math.Max(rate, 2.0 * rows * columns * tokens / Best(2, () => matrix.Multiply(x, y.Pointer, rows, team)));
        }

        Console.WriteLine($"prefill {format,-6} {rate / 1e9,7:F0} GFLOPS of {peak / 1e9:F0}: {rate / peak:P0}");
    }

    public static void Attention(ComputeTeam team, KernelTier tier, int context, int rows)
    {
        AttentionShape shape = new() { QueryHeads = 16, KeyValueHeads = 8, KeySize = 128, ValueSize = 128, Scale = 0.09f };
        const int blockSize = 32;
        int blockCount = context / blockSize;
        long blockElements = 8L * blockSize * 128;
        using NativeBuffer<byte> cache = new(2 * 2 * blockCount * blockElements);
        using NativeBuffer<int> blocks = new(blockCount);
        for (int i = 0; i < blockCount; i++)
        {
            blocks.Pointer[i] = i;
        }

        using NativeBuffer<float> queries = new((long)rows * 16 * 128);
        using NativeBuffer<float> outputs = new((long)rows * 16 * 128);
        using PagedAttention attention = new(tier);
        AttentionSlice[] slices =
        [
            new()
            {
                Queries = queries.Pointer, Outputs = outputs.Pointer, QueryStride = 2048, OutputStride = 2048, Rows = rows, FirstRow = context - rows, Blocks = blocks.Pointer,
            },
        ];
        PagedRows keys = new(TensorFormat.F16, cache.Pointer, blockElements, blockSize * 128, 128);
        PagedRows values = new(TensorFormat.F16, cache.Pointer + (2 * blockCount * blockElements), blockElements, blockSize * 128, 128);
        double bandwidth = BandwidthProbe.MeasureRead(team, 256L << 20, 4);
        double peak = BandwidthProbe.MeasurePeak(team, tier, 4);
        double time = Best(20, () => attention.Run(shape, keys, values, blockSize, slices, null, team));
        double operations = 4.0 * rows * (context - (rows / 2.0)) * 16 * 128;
        Console.WriteLine(
            $"attention of {rows} rows at {context}: {time * 1e3:F2} ms, {cache.Length / time / 1e9:F2} GB/s ({cache.Length / time / bandwidth:P0}), "
            + $"{operations / time / 1e9:F0} GFLOPS ({operations / time / peak:P0})");
    }

    private static double Best(int count, Action action)
    {
        double best = double.PositiveInfinity;
        for (int i = 0; i < count; i++)
        {
            long start = Stopwatch.GetTimestamp();
            action();
            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        return best;
    }

    private static NativeBuffer<byte> Weights(TensorFormat format, long bytes)
    {
        NativeBuffer<byte> weights = new(bytes);
        Random random = new((int)format);
        Span<byte> pattern = new byte[(1 << 16) / format.BlockBytes() * format.BlockBytes()];
        random.NextBytes(pattern);
        for (int i = 1; i < pattern.Length; i += 2)
        {
            // No infinities: the upper bits of anything that may be an exponent stay clear.
            pattern[i] &= 0x3B;
        }

        for (long at = 0; at < bytes; at += pattern.Length)
        {
            Span<byte> room = weights.Span(at, (int)Math.Min(pattern.Length, bytes - at));
            pattern[..room.Length].CopyTo(room);
        }

        return weights;
    }

    private static Activations Input(int rows, int columns)
    {
        Random random = new(1);
        Activations x = new();
        x.Reset(rows, columns);
        for (int i = 0; i < rows; i++)
        {
            for (int c = 0; c < columns; c++)
            {
                x.Row(i)[c] = random.NextSingle() - 0.5f;
            }
        }

        return x;
    }
}
