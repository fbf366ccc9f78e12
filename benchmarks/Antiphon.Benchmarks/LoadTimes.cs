using System.Diagnostics;
using System.Globalization;
using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Benchmarks;

/// <summary>How long a model takes to load, several times in one process: the first time with cold code, and perhaps with memory that the system never gave to anyone.</summary>
internal static class LoadTimes
{
    public static int Print(string[] args)
    {
        int threads = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : CpuFeatures.Current.Cores;
        int rounds = args.Length > 2 ? int.Parse(args[2], CultureInfo.InvariantCulture) : 6;
        MatrixPrecision precision = args.Length > 3 ? Enum.Parse<MatrixPrecision>(args[3], ignoreCase: true) : MatrixPrecision.Fast;
        using ComputeTeam team = new(threads);
        List<double> seconds = [];
        long bytes = 0;
        for (int round = 0; round < rounds; round++)
        {
            long start = Stopwatch.GetTimestamp();
            using LoadedModel model = ModelLoader.Load(args[0], new ModelLoadOptions { Team = team, Precision = precision });
            seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            bytes = model.Source.Tensors.Sum(tensor => tensor.ByteCount);
        }

        double median = seconds.Skip(1).Order().ElementAt((rounds - 1) / 2);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{args[0]}, {precision}, {threads} threads: {string.Join(", ", seconds.Select(s => s.ToString("F3", CultureInfo.InvariantCulture)))} s; median of all but the first {median:F3} s = {bytes / median / 1e9:F2} GB/s"));
        return 0;
    }
}
