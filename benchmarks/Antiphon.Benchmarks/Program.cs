using System.Diagnostics;
using System.Globalization;
using Antiphon.Kernels;

// usage: Antiphon.Benchmarks [threads] [tier]: matrix products and attention, each against the limits of the machine measured beside it.
// One thread is timed by the processor time it used, so that a busy machine does not blur the result; several by the clock.
int threads = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : CpuFeatures.Current.Cores;
KernelTier tier = args.Length > 1 ? CpuFeatures.ChooseTier(args[1], CpuFeatures.Current.BestTier) : CpuFeatures.DefaultTier;
using ComputeTeam team = new(threads);
Console.WriteLine($"{CpuFeatures.Current.Name}, {threads} threads, {tier}");

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
    private static readonly Lazy<NativeBuffer<float>> Memory = new(() => new NativeBuffer<float>(256L * ReadPass.ChunkBytes / sizeof(float)));

    public static void Decode(TensorFormat format, ComputeTeam team, KernelTier tier)
    {
        const int columns = 2048;
        long rowBytes = format.ByteCount(columns);
        int rows = (int)((128L << 20) / rowBytes);
        using NativeBuffer<byte> weights = Weights(format, rows * rowBytes);
        using Activations x = Input(1, columns);
        using NativeBuffer<float> y = new(rows);
        WeightMatrix matrix = WeightMatrix.Create(format, rows, columns, weights.Pointer, weights.Length, tier);
        double bandwidth = 0;
        double rate = 0;
        for (int round = 0; round < 3; round++)
        {
            bandwidth = Math.Max(bandwidth, Bandwidth(team));
            rate = Math.Max(rate, weights.Length / Best(team, 3, () => matrix.Multiply(x, y.Pointer, rows, team)));
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
        for (int round = 0; round < 3; round++)
        {
            peak = Math.Max(peak, Peak(team, tier));
            rate = Math.Max(rate, 2.0 * rows * columns * tokens / Best(team, 3, () => matrix.Multiply(x, y.Pointer, rows, team)));
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
        double bandwidth = Bandwidth(team);
        double peak = Peak(team, tier);
        double time = Best(team, 10, () => attention.Run(shape, keys, values, blockSize, slices, null, team));
        double operations = 4.0 * rows * (context - (rows / 2.0)) * 16 * 128;
        Console.WriteLine(
            $"attention of {rows} rows at {context}: {time * 1e3:F2} ms, {cache.Length / time / 1e9:F2} GB/s ({cache.Length / time / bandwidth:P0}), "
            + $"{operations / time / 1e9:F0} GFLOPS ({operations / time / peak:P0})");
    }

    private static double Bandwidth(ComputeTeam team)
    {
        const int chunks = 256;
        ReadPass pass = new(Memory.Value.Pointer, CpuFeatures.Current.BestTier);
        return (double)chunks * ReadPass.ChunkBytes / Best(team, 3, () => team.Run(ref pass, chunks));
    }

    private static double Peak(ComputeTeam team, KernelTier tier)
    {
        FmaPass pass = new(tier);
        int chunks = 8 * team.Size;
        return chunks * FmaPass.Operations / Best(team, 5, () => team.Run(ref pass, chunks));
    }

    private static double Best(ComputeTeam team, int count, Action action)
    {
        double best = double.PositiveInfinity;
        for (int i = 0; i < count; i++)
        {
            long start = Stopwatch.GetTimestamp();
            TimeSpan used = Environment.CpuUsage.TotalTime;
            action();
            double time = (team.Size == 1 ? Environment.CpuUsage.TotalTime - used : Stopwatch.GetElapsedTime(start)).TotalSeconds;
            best = Math.Min(best, time);
        }

        return best;
    }

    private static NativeBuffer<byte> Weights(TensorFormat format, long bytes)
    {
        NativeBuffer<byte> weights = new(bytes);
        Random random = new((int)format);
        Span<byte> pattern = new byte[(1 << 16) / format.BlockBytes() * format.BlockBytes()];
        random.NextBytes(pattern);
        // Ordinary magnitudes: subnormal products would cost many times what they cost in a model.
        for (int i = 0; i < pattern.Length; i++)
        {
            switch (format)
            {
                case TensorFormat.F32 when i % 4 == 3:
                case TensorFormat.BF16 when i % 2 == 1:
                    pattern[i] = 0x3C;
                    break;
                case TensorFormat.MXFP4 when i % 17 == 0:
                    pattern[i] = 120;
                    break;
                default:
                    pattern[i] &= (byte)(i % 2 == 1 ? 0x3B : 0xFF);
                    break;
            }
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
