using System.Globalization;
using Antiphon.Kernels;
using Antiphon.Kernels.Packed;

namespace Antiphon.Benchmarks.Matrix;

/// <summary>Batches of decode steps, and prompts, of several mixes in turns, so that all meet the same machine, beside the limits measured in the same rounds.</summary>
internal static class DecodeShares
{
    // More tokens than this are a prompt, of which only the last token goes through the head.
    private const int MaxBatch = 32;

    public static int Print(string[] args)
    {
        int threads = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : CpuFeatures.Current.Cores;
        int rounds = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : 5;
        int[] batches = args.Length > 2 ? [.. args[2].Split(',').Select(batch => int.Parse(batch, CultureInfo.InvariantCulture))] : [1];
        string[] mixes = args.Length > 3 ? args[3..] : ["Q8_0", "int8:Q8_0", "w8a8:Q8_0"];
        using ComputeTeam team = new(threads);
        PackedKernels? kernels = null;
        if (mixes.Any(mix => !mix.Contains(':', StringComparison.Ordinal)) && !PackedKernels.TryCreate(null, out kernels, out string? reason))
        {
            Console.WriteLine(reason);
            return 1;
        }

        using Limits limits = new(team);
        Console.WriteLine($"{CpuFeatures.Current.Name}, {threads} threads, {CpuFeatures.DefaultTier}, medians of {rounds} rounds");
        QwenShapes[] models = [.. mixes.Select(mix => new QwenShapes(kernels, mix, team))];
        double[,][] seconds = new double[models.Length, batches.Length][];
        double[,][] peaks = new double[models.Length, batches.Length][];
        List<double> read = [];
        for (int round = -1; round < rounds; round++)
        {
            double bandwidth = limits.Read();
            if (round >= 0)
            {
                read.Add(bandwidth);
            }

            for (int b = 0; b < batches.Length; b++)
            {
                for (int i = 0; i < models.Length; i++)
                {
                    seconds[i, b] ??= new double[rounds];
                    peaks[i, b] ??= new double[rounds];
                    int logits = batches[b] > MaxBatch ? 1 : batches[b];

                    // Before and after: the machine's own speed changes from one second to the next.
                    double peak = limits.MultiplyAdd();
                    double best = models[i].Multiply(batches[b], logits);
                    for (int repeat = 1; repeat < (batches[b] > MaxBatch ? 1 : 3); repeat++)
                    {
                        best = Math.Min(best, models[i].Multiply(batches[b], logits));
                    }

                    peak = (peak + limits.MultiplyAdd()) / 2;
                    if (round >= 0)
                    {
                        seconds[i, b][round] = best;
                        peaks[i, b][round] = peak;
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
                double operations = QwenShapes.Operations(batches[b], batches[b] > MaxBatch ? 1 : batches[b]);
                double peakShare = Median(times.Select((time, round) => operations / time / peaks[i, b][round]));
                Console.WriteLine(
                    $"  {batches[b],4} tokens: {Median(times) * 1e3,8:F2} ms = {batches[b] / Median(times),7:F1} tok/s; weights at {share,4:P0} of the read bandwidth; "
                    + $"{peakShare,4:P0} of {Median(peaks[i, b]) / 1e12:F3} Top/s FMA");
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
