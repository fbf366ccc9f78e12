using System.Diagnostics;
using System.Globalization;
using Antiphon.Kernels;
using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;

namespace Antiphon.Benchmarks.Matrix;

/// <summary>How fast weights are packed: file bytes per second, the first time in the process and at the median of the next times.</summary>
internal static unsafe class PackTimes
{
    private const string Split = "int8:";
    private const int Columns = 2048;
    private const long Bytes = 96L << 20;

    public static int Print(string[] args)
    {
        int threads = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : 1;
        string[] names = args.Length > 1 ? args[1..] : [.. Enum.GetValues<TensorFormat>().Where(PackedKernels.Supports).Select(format => format.ToString())];
        PackedKernels? kernels = null;
        if (names.Any(name => !name.StartsWith(Split, StringComparison.Ordinal)) && !PackedKernels.TryCreate(null, out kernels, out string? reason))
        {
            Console.WriteLine(reason);
            return 1;
        }

        using MultiScaleKernels split = new();
        using ComputeTeam team = new(threads);
        Console.WriteLine($"{CpuFeatures.Current.Name}, {threads} threads");
        foreach (string name in names)
        {
            bool isSplit = name.StartsWith(Split, StringComparison.Ordinal);
            TensorFormat format = Enum.Parse<TensorFormat>(isSplit ? name[Split.Length..] : name);
            int rows = (int)(Bytes / format.ByteCount(Columns));
            using NativeBuffer<byte> source = QwenShapes.Random(format, rows, Columns);
            List<double> rates = [];
            for (int round = 0; round < 6; round++)
            {
                long start = Stopwatch.GetTimestamp();
                WeightMatrix matrix = isSplit
                    ? split.Pack(format, rows, Columns, source.Pointer, source.Length, team)
                    : kernels!.Pack(format, rows, Columns, source.Pointer, source.Length, team);
                rates.Add(source.Length / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9);
                GC.KeepAlive(matrix);
                matrix = null!;
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }

            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"{name,-12} first {rates[0]:F2} GB/s, then {rates.Skip(1).Order().ElementAt((rates.Count - 1) / 2):F2} GB/s"));
        }

        return 0;
    }
}
