using System.Diagnostics;
using Antiphon.Kernels;
using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;

namespace Antiphon.Benchmarks.Matrix;

/// <summary>Each kernel alone, on one thread. Short runs and low quantiles, so that what else runs on the machine counts little.</summary>
internal static unsafe class KernelTimes
{
    private static readonly string[] Default = ["BF16", "Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q3_K", "Q2_K", "MXFP4"];

    public static int Print(string[] formats)
    {
        using ComputeTeam team = new(1);
        Console.WriteLine($"{CpuFeatures.Current.Name}, 1 thread, {CpuFeatures.DefaultTier}");
        string[] names = formats.Length > 0 ? formats : Default;
        foreach (string name in names.Where(IsSplit))
        {
            Console.WriteLine($"{name}: {Split(name[0] == 'w' ? 1 : 2, Enum.Parse<TensorFormat>(name[5..]), team)}");
        }

        if (names.All(IsSplit))
        {
            return 0;
        }

        TimeSpan processor = Environment.CpuUsage.TotalTime;
        long begin = Stopwatch.GetTimestamp();
        if (!PackedKernels.TryCreate(null, out PackedKernels? kernels, out string? reason))
        {
            Console.WriteLine(reason);
            return 1;
        }

        kernels.Prepare([TensorFormat.Q4_K, TensorFormat.Q6_K]);
        TimeSpan wall = Stopwatch.GetElapsedTime(begin);
        Console.WriteLine(
            $"all kernels of a Q4_K_M model, cold: {wall.TotalMilliseconds:F0} ms, {(Environment.CpuUsage.TotalTime - processor).TotalMilliseconds:F0} ms of processor time");
        using PeakProbe probe = new();
        using NativeBuffer<byte> buffer = new(192L << 20);
        buffer.Span(0, 192 << 20).Fill(1);
        foreach (string name in names.Where(name => !IsSplit(name)))
        {
            TensorFormat format = Enum.Parse<TensorFormat>(name);
            Console.WriteLine($"{name}: {Resident(kernels, format, team, probe)}");
            Console.WriteLine($"  {Streaming(kernels, format, team, probe, buffer)}");
        }

        return 0;
    }

    private static bool IsSplit(string name) => name.Contains(':', StringComparison.Ordinal);

    /// <summary>Weights that stay in the second-level cache: what expanding and multiplying cost by themselves.</summary>
    private static string Resident(PackedKernels kernels, TensorFormat format, ComputeTeam team, PeakProbe probe)
    {
        const int Rows = 128;
        const int Columns = 1024;
        using NativeBuffer<byte> source = QwenShapes.Random(format, Rows, Columns);
        WeightMatrix matrix = kernels.Pack(format, Rows, Columns, source.Pointer, source.Length, team);
        using NativeBuffer<float> y = new(Rows * 512);
        int[] batches = [1, 16, 32, 64, 512];
        double[] best = [.. batches.Select(_ => double.PositiveInfinity)];
        double peak = 0;
        Activations[] inputs = [.. batches.Select(_ => new Activations())];
        for (int round = 0; round < 60; round++)
        {
            for (int i = 0; i < batches.Length; i++)
            {
                inputs[i].Reset(batches[i], Columns);
                for (int repeat = 0; repeat < Math.Max(2, 300 / (batches[i] + 4)); repeat++)
                {
                    long start = Stopwatch.GetTimestamp();
                    matrix.Multiply(inputs[i], y.Pointer, Rows, team);
                    best[i] = Math.Min(best[i], Stopwatch.GetElapsedTime(start).TotalSeconds);
                }

                peak = Math.Max(peak, kernels.Tier == KernelTier.Amx ? probe.MeasureTilesBFloat16(team) : probe.MeasureDotBFloat16(team));
            }
        }

        return string.Join(", ", batches.Select((tokens, i) => tokens < 64
                ? $"{tokens}: {best[i] * 1e9 / (Rows / 16 * (Columns / 32)):F1} ns/tile ({matrix.ByteCount / best[i] / 1e9:F1} GB/s)"
                : $"{tokens}: {2.0 * Rows * Columns * tokens / best[i] / peak:P0} of {peak / 1e12:F2}"));
    }

    /// <summary>Products of split activations with weights that stay in the second-level cache, and what splitting costs.</summary>
    private static string Split(int passes, TensorFormat format, ComputeTeam team)
    {
        const int Rows = 128;
        const int Columns = 1024;
        using MultiScaleKernels kernels = new(null, passes);
        using NativeBuffer<byte> source = QwenShapes.Random(format, Rows, Columns);
        WeightMatrix matrix = kernels.Pack(format, Rows, Columns, source.Pointer, source.Length, team);
        using NativeBuffer<float> y = new(Rows * 512);
        int[] batches = [1, 2, 4, 8, 16, 32, 512];
        return string.Join(", ", batches.Select(tokens =>
        {
            using Activations x = new();
            double split = double.PositiveInfinity;
            double all = double.PositiveInfinity;
            double best = double.PositiveInfinity;
            for (int repeat = 0; repeat < Math.Max(40, 6000 / tokens); repeat++)
            {
                x.Reset(tokens, Columns);
                for (int i = 0; i < tokens; i++)
                {
                    new Span<float>(x.Row(i), Columns).Fill(i + 1);
                }

                long start = Stopwatch.GetTimestamp();
                matrix.Multiply(x, y.Pointer, Rows, team);
                all = Math.Min(all, Stopwatch.GetElapsedTime(start).TotalSeconds);
                start = Stopwatch.GetTimestamp();
                matrix.Multiply(x, y.Pointer, Rows, team);
                best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
                split = all - best;
            }

            return $"{tokens}: {best * 1e9 / (Rows / 16 * (Columns / 32)):F1} ns/tile and {split * 1e9 / (tokens * Columns):F2} ns/value";
        }));
    }

    /// <summary>Weights from memory, in turns with plain reading: 2 MiB at a time, the fastest tenth of each.</summary>
    private static string Streaming(PackedKernels kernels, TensorFormat format, ComputeTeam team, PeakProbe probe, NativeBuffer<byte> buffer)
    {
        const int Columns = 1024;
        int rows = (int)(buffer.Length / format.ByteCount(Columns)) & ~15;
        int sliceRows = (int)((2 << 20) / format.ByteCount(Columns)) & ~15;
        using NativeBuffer<byte> source = QwenShapes.Random(format, rows, Columns);
        WeightMatrix matrix = kernels.Pack(format, rows, Columns, source.Pointer, source.Length, team);
        using NativeBuffer<float> y = new(sliceRows * 16);
        List<double> reads = [];
        List<double>[] rates = [[], []];
        using Activations single = new();
        using Activations several = new();
        for (int pass = 0; pass < 8; pass++)
        {
            for (int first = 0, part = 0; first + sliceRows <= rows; first += sliceRows, part++)
            {
                if ((part + 1L) * (2 << 20) <= buffer.Length)
                {
                    reads.Add(probe.MeasureRead(team, buffer.Pointer + (part * (2L << 20)), 2 << 20));
                }

                int tokens = part % 2 == 0 ? 1 : 16;
                Activations x = tokens == 1 ? single : several;
                x.Reset(tokens, Columns);
                WeightMatrix slice = matrix.Slice(first, sliceRows);
                long start = Stopwatch.GetTimestamp();
                slice.Multiply(x, y.Pointer, sliceRows, team);
                rates[part % 2].Add(slice.ByteCount / Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
        }

        double read = Quantile(reads);
        return $"from memory: read {read / 1e9:F1} GB/s; 1 token {Quantile(rates[0]) / 1e9:F1} GB/s ({Quantile(rates[0]) / read:P0}), 16 tokens {Quantile(rates[1]) / 1e9:F1} GB/s ({Quantile(rates[1]) / read:P0})";
    }

    private static double Quantile(List<double> values) => values.Order().ElementAt(values.Count * 9 / 10);
}
