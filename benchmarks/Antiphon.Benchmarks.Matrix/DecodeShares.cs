using System.Globalization;
using Antiphon.Kernels;
using Antiphon.Kernels.Packed;

namespace Antiphon.Benchmarks.Matrix;

/// <summary>Batches of decode steps of several mixes in turns, so that all meet the same machine, beside the read bandwidth of the same rounds.</summary>
internal static class DecodeShares
{
    public static int Print(string[] args)
    {
        int threads = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : CpuFeatures.Current.Cores;
        int rounds = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : 5;
        int[] batches = args.Length > 2 ? [.. args[2].Split(',').Select(batch => int.Parse(batch, CultureInfo.InvariantCulture))] : [1];
        string[] mixes = args.Length > 3 ? args[3..] : ["Q8_0", "int8:Q8_0", "w8a8:Q8_0"];
        using ComputeTeam team = new(threads);
        if (!PackedKernels.TryCreate(null, out PackedKernels? kernels, out string? reason))
        {
            Console.WriteLine(reason);
            return 1;
        }

        using PeakProbe probe = new();
        using NativeBuffer<byte> buffer = new(1L << 29);
        buffer.Span(0, 1 << 29).Fill(1);
        Console.WriteLine($"{CpuFeatures.Current.Name}, {threads} threads, {kernels.Tier}, medians of {rounds} rounds");
        QwenShapes[] models = [.. mixes.Select(mix => new QwenShapes(kernels, mix, team))];
        double[,][] seconds = new double[models.Length, batches.Length][];
        List<double> read = [];
        for (int round = -1; round < rounds; round++)
        {
            double bandwidth = Math.Max(probe.MeasureRead(team, buffer), probe.MeasureRead(team, buffer));
            if (round >= 0)
            {
                read.Add(bandwidth);
            }

            for (int i = 0; i < models.Length; i++)
            {
                for (int b = 0; b < batches.Length; b++)
                {
                    seconds[i, b] ??= new double[rounds];
                    double best = models[i].Multiply(batches[b], logits: Math.Min(batches[b], 32));
                    for (int repeat = 1; repeat < (batches[b] > 32 ? 1 : 3); repeat++)
                    {
                        best = Math.Min(best, models[i].Multiply(batches[b], logits: Math.Min(batches[b], 32)));
                    }

                    if (round >= 0)
                    {
                        seconds[i, b][round] = best;
                    }
                }
            }
        }

        Console.WriteLine($"read {Median(read) / 1e9:F1} GB/s");
        for (int i = 0; i < models.Length; i++)
        {
            Console.WriteLine($"{mixes[i]}: {models[i].Bytes / 1e6:F0} MB, packed at {models[i].PackRate / 1e9:F2} GB/s");
            for (int b = 0; b < batches.Length; b++)
            {
                double[] times = seconds[i, b];
                double share = Median(times.Select((time, round) => models[i].Bytes / time / read[round]));
                Console.WriteLine($"  {batches[b],4} tokens: {Median(times) * 1e3,8:F2} ms = {batches[b] / Median(times),7:F1} tok/s; weights at {share:P0} of the read bandwidth");
            }
        }

        foreach (QwenShapes model in models)
        {
            model.Dispose();
        }

        return 0;
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }
}
