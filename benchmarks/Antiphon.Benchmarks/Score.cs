using System.Diagnostics;
using System.Globalization;
using Antiphon.Kernels;
using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;
using Antiphon.Models;

namespace Antiphon.Benchmarks;

/// <summary>The kernels of each precision on captured shapes.</summary>
internal sealed class Score
{
    private const int MostTokenCounts = 5;
    private const int FlushChunks = 64;

    private readonly List<(CapturedShape Shape, Dictionary<MatrixPrecision, double> Seconds, string? Fault)> cases = [];
    private readonly List<double> itself = [];

    /// <summary>Whether every element of every product was right.</summary>
    public bool AllPassed => cases.All(c => c.Fault is null);

    /// <summary>Time of all captured products; a product that was not measured takes the time per token of the nearest one that was.</summary>
    public double Seconds(MatrixPrecision precision) => cases.Sum(c => (c.Seconds.TryGetValue(precision, out double s) ? s : c.Seconds[MatrixPrecision.Exact]) * c.Shape.Calls);

    /// <summary>Measures the shapes: of each matrix at most five numbers of tokens: the least, the greatest, the middle, and the most frequent.</summary>
    public static Score Measure(IReadOnlyList<CapturedShape> shapes, ComputeTeam team, int rounds)
    {
        Score score = new();
        PackedKernels.TryCreate(null, out PackedKernels? rounded, out _);
        using MultiScaleKernels split = new();
        foreach (var matrix in shapes.GroupBy(s => (s.Format, s.Rows, s.Columns)))
        {
            List<CapturedShape> byTokens = [.. matrix.OrderBy(s => s.Tokens)];
            CapturedShape[] chosen =
            [
                .. new[] { byTokens[0], byTokens[^1], byTokens[byTokens.Count / 2] }.Concat(byTokens.OrderByDescending(s => s.Calls)).Distinct().Take(MostTokenCounts).OrderBy(s => s.Tokens),
            ];

            // Calls of the others count for the next larger one that is measured, by their tokens.
            CapturedShape[] weighed =
            [
                .. chosen.Select((shape, i) => shape with
                {
                    Calls = Math.Max(1, (long)byTokens.Where(s => s.Tokens <= shape.Tokens && (i == 0 || s.Tokens > chosen[i - 1].Tokens)).Sum(s => s.Calls * (double)s.Tokens / shape.Tokens)),
                }),
            ];
            score.Add(matrix.Key.Format, matrix.Key.Rows, matrix.Key.Columns, weighed, rounded, split, team, rounds);
        }

        rounded?.Dispose();
        return score;
    }

    /// <summary>Prints a table and the score.</summary>
    public void Print()
    {
        CultureInfo culture = CultureInfo.InvariantCulture;
        foreach ((CapturedShape shape, Dictionary<MatrixPrecision, double> seconds, string? fault) in cases)
        {
            Console.WriteLine(string.Create(
                culture,
                $"{shape.Format,-6} {shape.Rows,6} x {shape.Columns,-5} {shape.Tokens,4} tokens {shape.Calls,6} calls  ")
                + string.Join("  ", seconds.Select(s => string.Create(culture, $"{s.Key} {s.Value * 1e3,8:0.000} ms {seconds[MatrixPrecision.Exact] / s.Value,5:0.00} x")))
                + (fault is null ? "  all elements right" : $"  WRONG: {fault}"));
        }

        Console.WriteLine(string.Create(culture, $"the baseline against itself: {Statistics.GeometricMean(itself):0.000} x"));
        foreach (MatrixPrecision precision in cases.SelectMany(c => c.Seconds.Keys).Distinct().Where(p => p != MatrixPrecision.Exact))
        {
            double mean = Statistics.GeometricMean(cases.Where(c => c.Seconds.ContainsKey(precision)).Select(c => c.Seconds[MatrixPrecision.Exact] / c.Seconds[precision]));
            Console.WriteLine(string.Create(
                culture,
                $"kernels alone, {precision}: {mean:0.00} x as a geometric mean of shapes, {Seconds(MatrixPrecision.Exact) / Seconds(precision):0.00} x by the time of all calls"));
        }
    }

    private unsafe void Add(
        TensorFormat format, int rows, int columns, CapturedShape[] shapes, PackedKernels? rounded, MultiScaleKernels split, ComputeTeam team, int rounds)
    {
        byte[] weights = RandomWeights.Of(format, rows, columns);
        using NativeBuffer<byte> data = new(weights.Length);
        weights.CopyTo(data.Span(0, weights.Length));
        Dictionary<MatrixPrecision, WeightMatrix> matrices = new() { [MatrixPrecision.Exact] = WeightMatrix.Create(format, rows, columns, data.Pointer, data.Length) };
        if (rounded is not null && PackedKernels.Supports(format))
        {
            matrices[MatrixPrecision.Fast] = rounded.Pack(format, rows, columns, data.Pointer, data.Length, team);
        }

        if (MultiScaleKernels.Supports(format))
        {
            matrices[MatrixPrecision.Int8] = split.Pack(format, rows, columns, data.Pointer, data.Length, team);
        }

        int most = shapes.Max(s => s.Tokens);
        var random = new Random(200);
        float[][] inputs = [.. Enumerable.Range(0, 8).Select(_ => Enumerable.Range(0, columns).Select(_ => (float)((random.NextDouble() * 2) - 1)).ToArray())];
        (double[] truth, Func<MatrixPrecision, double[]> bounds) = Check.Truth(format, weights, rows, columns, inputs);
        using NativeBuffer<float> output = new((long)most * rows);
        using NativeBuffer<byte> flush = new(2L * Math.Max(1 << 20, CpuFeatures.Current.Level3Bytes));
        foreach (CapturedShape shape in shapes)
        {
            using Activations x = new();
            Dictionary<MatrixPrecision, List<double>> times = matrices.ToDictionary(m => m.Key, _ => new List<double>());
            List<double> again = [];
            string? fault = null;
            for (int round = -1; round < rounds; round++)
            {
                // The baseline twice, and another one first in each round.
                (MatrixPrecision Precision, WeightMatrix Matrix)[] turns = [.. matrices.Append(matrices.First()).Select(m => (m.Key, m.Value))];
                for (int turn = 0; turn < turns.Length; turn++)
                {
                    (MatrixPrecision precision, WeightMatrix matrix) = turns[(turn + round + 1) % turns.Length];
                    // New activations for each call, as a layer has them; weights from memory.
                    x.Reset(shape.Tokens, columns);
                    for (int token = 0; token < shape.Tokens; token++)
                    {
                        inputs[Check.Input(token)].CopyTo(new Span<float>(x.Row(token), columns));
                    }

                    Flush work = new(flush.Pointer, flush.Length / FlushChunks);
                    team.Run(ref work, FlushChunks);
                    long start = Stopwatch.GetTimestamp();
                    matrix.Multiply(x, output.Pointer, rows, team);
                    double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
                    if (round < 0)
                    {
                        fault ??= Check.Find(output.Span(0, shape.Tokens * rows), rows, truth, bounds(precision)) is { } found ? $"{precision}: {found}" : null;
                    }
                    else if ((turn + round + 1) % turns.Length == turns.Length - 1)
                    {
                        again.Add(seconds);
                    }
                    else
                    {
                        times[precision].Add(seconds);
                    }
                }
            }

            Dictionary<MatrixPrecision, double> medians = times.ToDictionary(t => t.Key, t => Statistics.Median(t.Value));
            itself.Add(medians[MatrixPrecision.Exact] / Statistics.Median(again));
            cases.Add((shape, medians, fault));
        }
    }

    /// <summary>Pushes weights out of the caches. The team does it, so that it is awake for what is timed next, as it is in a step.</summary>
    private readonly unsafe struct Flush(byte* memory, long bytes) : IParallelWork
    {
        public void Execute(int chunk, int worker) => new Span<byte>(memory + (chunk * bytes), (int)bytes).Fill((byte)worker);
    }
}
