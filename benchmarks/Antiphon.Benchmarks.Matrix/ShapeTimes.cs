using System.Diagnostics;
using System.Globalization;
using Antiphon.Kernels;
using Antiphon.Kernels.Packed;

namespace Antiphon.Benchmarks.Matrix;

/// <summary>One shape at a time, as a prompt multiplies it: the product and the packing of its input apart, each as a share of the peak.</summary>
internal static unsafe class ShapeTimes
{
    /// <summary>The matrices of a layer: Qwen3-0.6B, then Llama-3.2-1B.</summary>
    private static readonly (int Rows, int Columns)[] Layers =
        [(1024, 1024), (2048, 1024), (3072, 1024), (1024, 2048), (1024, 3072), (512, 2048), (2048, 2048), (8192, 2048), (2048, 8192)];

    // Weights of other layers drive a layer's out of the second-level cache.
    private const long WeightBytes = 32L << 20;

    public static int Print(string[] arguments)
    {
        int threads = int.Parse(arguments[0], CultureInfo.InvariantCulture);
        int tokens = int.Parse(arguments[1], CultureInfo.InvariantCulture);
        int rounds = int.Parse(arguments[2], CultureInfo.InvariantCulture);
        string[] formats = [.. arguments[3..].TakeWhile(name => !name.Contains('x', StringComparison.Ordinal))];
        (int Rows, int Columns)[] shapes = [.. arguments[(3 + formats.Length)..].Select(Shape)];
        using ComputeTeam team = new(threads);
        if (!PackedKernels.TryCreate(null, out PackedKernels? kernels, out string? reason))
        {
            Console.WriteLine(reason);
            return 1;
        }

        using PeakProbe probe = new();
        Console.WriteLine($"{CpuFeatures.Current.Name}, {threads} threads, {kernels.Tier}, {tokens} tokens, medians of {rounds} rounds");
        foreach (string format in formats)
        {
            Console.WriteLine($"{format}:  rows x columns     product    input    together");
            foreach ((int rows, int columns) in shapes.Length > 0 ? shapes : Layers)
            {
                Print(kernels, Enum.Parse<TensorFormat>(format), rows, columns, tokens, rounds, team, probe);
            }
        }

        return 0;
    }

    private static void Print(PackedKernels kernels, TensorFormat format, int rows, int columns, int tokens, int rounds, ComputeTeam team, PeakProbe probe)
    {
        using NativeBuffer<byte> source = QwenShapes.Random(format, rows, columns);
        WeightMatrix[] matrices = [.. Enumerable.Range(0, (int)(1 + (WeightBytes / source.Length))).Select(_ => kernels.Pack(format, rows, columns, source.Pointer, source.Length, team))];
        using Activations x = new();
        x.Reset(tokens, columns);
        for (int i = 0; i < tokens; i++)
        {
            for (int c = 0; c < columns; c++)
            {
                x.Row(i)[c] = (((i * 31) + (c * 17)) % 256 / 128f) - 1;
            }
        }

        using NativeBuffer<float> y = new((long)rows * tokens, hugePages: true);
        List<double> products = [];
        List<double> inputs = [];
        List<double> peaks = [];
        double operations = 2.0 * rows * columns * tokens;
        WeightMatrix small = matrices[0].Slice(0, 1);
        for (int round = -1; round < rounds; round++)
        {
            foreach (WeightMatrix matrix in matrices)
            {
                // At once before each product: the machine's own speed changes from one second to the next.
                double peak = kernels.Tier == KernelTier.Amx ? probe.MeasureTilesBFloat16(team) : probe.MeasureDotBFloat16(team);
                x.Reset(tokens, columns);
                long start = Stopwatch.GetTimestamp();
                small.Multiply(x, y.Pointer, rows, team);
                long middle = Stopwatch.GetTimestamp();
                matrix.Multiply(x, y.Pointer, rows, team);
                long end = Stopwatch.GetTimestamp();
                small.Multiply(x, y.Pointer, rows, team);
                long again = Stopwatch.GetTimestamp();
                if (round >= 0)
                {
                    // A product with one row packs the input the first time only.
                    products.Add(Stopwatch.GetElapsedTime(middle, end).TotalSeconds);
                    inputs.Add((Stopwatch.GetElapsedTime(start, middle) - Stopwatch.GetElapsedTime(end, again)).TotalSeconds);
                    peaks.Add(peak);
                }
            }
        }

        List<double> shares = [.. products.Select((seconds, i) => operations / seconds / peaks[i])];
        List<double> together = [.. products.Select((seconds, i) => operations / (seconds + inputs[i]) / peaks[i])];
        Console.WriteLine(
            $"  {rows,7} x {columns,-7}  {Median(products) * 1e6,7:F0} us = {Median(shares),4:P0} (fastest {products.Min() * 1e6:F0} us)  {Median(inputs) * 1e6,5:F0} us   "
            + $"{Median(together),4:P0} of {Median(peaks) / 1e12:F2} (highest {peaks.Max() / 1e12:F2}: fastest is {operations / products.Min() / peaks.Max():P0} of it)");
    }

    private static (int Rows, int Columns) Shape(string text)
    {
        string[] parts = text.Split('x');
        return (int.Parse(parts[0], CultureInfo.InvariantCulture), int.Parse(parts[1], CultureInfo.InvariantCulture));
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);
}
