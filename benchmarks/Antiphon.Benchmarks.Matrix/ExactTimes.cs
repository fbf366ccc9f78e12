using System.Diagnostics;
using System.Globalization;
using Antiphon.Kernels;

namespace Antiphon.Benchmarks.Matrix;

/// <summary>
/// The float32 path over weights in their file's layout: batches as shares of the peak of fused multiply-adds, and single tokens as shares of the read
/// bandwidth, each measured right beside the product.
/// </summary>
internal static unsafe class ExactTimes
{
    /// <summary>Query, key, value; output; gate, up; down of Qwen3-0.6B: each group has an input of its own.</summary>
    private static readonly (int Columns, int[] Rows)[] Groups = [(1024, [2048, 1024, 1024]), (2048, [1024]), (1024, [3072, 3072]), (3072, [1024])];

    // More than any third-level cache here: weights of single tokens come from memory.
    private const long LeastBytes = 128L << 20;

    public static int Print(string[] args)
    {
        int threads = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : CpuFeatures.Current.Cores;
        int rounds = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : 5;
        int[] batches = args.Length > 2 ? [.. args[2].Split(',').Select(batch => int.Parse(batch, CultureInfo.InvariantCulture))] : [1, 2, 4, 8, 16, 32, 512];
        string[] formats = args.Length > 3 ? args[3..] : ["BF16", "F16", "F32", "Q8_0", "Q4_0", "Q4_K", "Q6_K"];
        using ComputeTeam team = new(threads);
        using NativeBuffer<byte> buffer = new(LeastBytes);
        buffer.Span(0, (int)LeastBytes).Fill(1);
        Console.WriteLine($"{CpuFeatures.Current.Name}, {threads} threads, {CpuFeatures.DefaultTier}, medians of {rounds} rounds");
        foreach (string format in formats)
        {
            Console.WriteLine($"{format}: {Print(Enum.Parse<TensorFormat>(format), batches, rounds, team, buffer)}");
        }

        return 0;
    }

    private static string Print(TensorFormat format, int[] batches, int rounds, ComputeTeam team, NativeBuffer<byte> buffer)
    {
        using Layers model = new(format, batches.Max());
        double[,][] seconds = new double[2, batches.Length][];
        double[] peaks = new double[rounds];
        double[] reads = new double[rounds];
        for (int b = 0; b < batches.Length; b++)
        {
            (seconds[0, b], seconds[1, b]) = (new double[rounds], new double[rounds]);
        }

        for (int round = -1; round < rounds; round++)
        {
            for (int b = 0; b < batches.Length; b++)
            {
                // A prompt needs no more than one layer to take its time.
                int layers = batches[b] > 64 ? 1 : model.Count;
                double read = BandwidthProbe.MeasureRead(team, buffer, passes: 1);
                Times times = model.Multiply(batches[b], layers, team);
                read = (read + BandwidthProbe.MeasureRead(team, buffer, passes: 1)) / 2;
                if (round >= 0)
                {
                    peaks[round] = times.Peak;
                    reads[round] = read;
                    seconds[0, b][round] = times.Share;
                    seconds[1, b][round] = model.Bytes * layers / times.Seconds / read;
                }
            }
        }

        return $"read {Median(reads) / 1e9:F1} GB/s, FMA {Median(peaks) / 1e9:F0} G/s; " + string.Join(", ", batches.Select((tokens, b) =>
            tokens > 64 ? $"{tokens}: {Median(seconds[0, b]):P0} of FMA" : $"{tokens}: {Median(seconds[1, b]):P0} read {Median(seconds[0, b]):P0} FMA"));
    }

    private static double Median(double[] values) => values.Order().ElementAt(values.Length / 2);

    /// <summary>How long products took, and the share of the peak that they reached.</summary>
    private readonly record struct Times(double Seconds, double Share, double Peak);

    private sealed class Layers : IDisposable
    {
        private readonly List<WeightMatrix[][]> layers = [];
        private readonly List<NativeBuffer<byte>> memory = [];
        private readonly Activations[] inputs = [.. Groups.Select(_ => new Activations())];
        private readonly NativeBuffer<float> output;

        public Layers(TensorFormat format, int tokens)
        {
            output = new NativeBuffer<float>((long)tokens * Groups.Max(group => group.Rows.Sum()), hugePages: true);
            do
            {
                layers.Add([.. Groups.Select(group => group.Rows.Select(rows => Create(format, rows, group.Columns)).ToArray())]);
            }
            while (Bytes * Count < LeastBytes);
        }

        public int Count => layers.Count;

        public long Bytes => layers[0].Sum(group => group.Sum(matrix => matrix.ByteCount));

        public Times Multiply(int tokens, int count, ComputeTeam team)
        {
            for (int i = 0; i < Groups.Length; i++)
            {
                Fill(inputs[i], tokens, Groups[i].Columns);
            }

            // The peak changes from one moment to the next: it is measured before and after each group of a prompt, and around a pass of a few tokens.
            double all = 0;
            double ideal = 0;
            double done = 0;
            double peak = 0;
            foreach (WeightMatrix[][] groups in layers[..count])
            {
                for (int i = 0; i < groups.Length; i++)
                {
                    // As a model does: a new input for every group.
                    inputs[i].Reset(tokens, Groups[i].Columns);
                    MatrixOutput[] products = new MatrixOutput[groups[i].Length];
                    float* y = output.Pointer;
                    for (int m = 0; m < products.Length; m++)
                    {
                        products[m] = new MatrixOutput(groups[i][m], y, groups[i][m].Rows);
                        y += (long)tokens * groups[i][m].Rows;
                    }

                    if (tokens > 64 || all == 0)
                    {
                        peak = BandwidthProbe.MeasurePeak(team, passes: 1);
                    }

                    long start = Stopwatch.GetTimestamp();
                    WeightMatrix.MultiplyAll(products, inputs[i], team);
                    all += Stopwatch.GetElapsedTime(start).TotalSeconds;
                    done += 2.0 * tokens * Groups[i].Columns * Groups[i].Rows.Sum();
                    if (tokens > 64)
                    {
                        peak = (peak + BandwidthProbe.MeasurePeak(team, passes: 1)) / 2;
                        ideal += done / peak;
                        done = 0;
                    }
                }
            }

            if (tokens <= 64)
            {
                peak = (peak + BandwidthProbe.MeasurePeak(team, passes: 1)) / 2;
                ideal = done / peak;
            }

            return new Times(all, ideal / all, peak);
        }

        public void Dispose()
        {
            output.Dispose();
            memory.ForEach(buffer => buffer.Dispose());
            foreach (Activations x in inputs)
            {
                x.Dispose();
            }
        }

        private WeightMatrix Create(TensorFormat format, int rows, int columns)
        {
            NativeBuffer<byte> weights = QwenShapes.Random(format, rows, columns);
            memory.Add(weights);
            return WeightMatrix.Create(format, rows, columns, weights.Pointer, weights.Length);
        }

        private static void Fill(Activations x, int tokens, int columns)
        {
            x.Reset(tokens, columns);
            for (int i = 0; i < tokens; i++)
            {
                for (int c = 0; c < columns; c++)
                {
                    x.Row(i)[c] = (((i * 31) + (c * 17)) % 256 / 128f) - 1;
                }
            }
        }
    }
}
