using System.Globalization;
using Antiphon.Benchmarks;
using Antiphon.Kernels;
using Antiphon.Models;

// A score of the matrix kernels on what a model really asks of them: shapes captured from a run of the engine, every element checked, a kernel alone and the whole model.
// With "load" before the model: how long it takes to load. With "sample": what the ways to choose a token cost.
if (args.Length == 0 || args is ["load" or "sample"])
{
    Console.WriteLine("usage: Antiphon.Benchmarks [load | sample] MODEL [threads] [rounds] [load: fast, int8 or exact; sample: streams]   (antiphon make-model qwen3-0.6b --format Q8_0 makes one)");
    return 2;
}

if (args is ["load", ..])
{
    return LoadTimes.Print(args[1..]);
}

if (args is ["sample", ..])
{
    return await SamplingTimes.PrintAsync(args[1..]);
}

int threads = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : CpuFeatures.Current.Cores;
int rounds = args.Length > 2 ? int.Parse(args[2], CultureInfo.InvariantCulture) : 5;
Check.TestItself();
Console.WriteLine($"{CpuFeatures.Current.Name}, {CpuFeatures.DefaultTier}, {threads} threads, medians of {rounds} rounds, baseline: the float32 kernels (exact)");
using ComputeTeam team = new(threads);

Dictionary<MatrixPrecision, WholeRun> whole = [];
IReadOnlyList<CapturedShape> shapes = [];
foreach (MatrixPrecision precision in new[] { MatrixPrecision.Exact, MatrixPrecision.Fast, MatrixPrecision.Int8 })
{
    using LoadedModel model = ModelLoader.Load(args[0], new ModelLoadOptions { Team = team, Precision = precision });
    whole[precision] = await WholeRun.MeasureAsync(model, rounds);
    shapes = whole[precision].Shapes(model);
}

Console.WriteLine($"captured: {whole[MatrixPrecision.Exact].Steps.Count} kinds of steps, {shapes.Count} shapes of matrices and tokens, {shapes.Sum(s => s.Calls)} products");
Score score = Score.Measure(shapes, team, rounds);
score.Print();
Console.WriteLine();
WholeRun exact = whole[MatrixPrecision.Exact];
foreach ((MatrixPrecision precision, WholeRun run) in whole.Where(w => w.Key != MatrixPrecision.Exact))
{
    double saved = score.Seconds(MatrixPrecision.Exact) - score.Seconds(precision);
    Console.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"end to end, {precision}: {exact.Seconds / run.Seconds:0.00} x exact ({run.TokensPerSecond:0.0} tokens/s against {exact.TokensPerSecond:0.0}); the kernels alone say {exact.Seconds / Math.Max(1e-9, exact.Seconds - saved):0.00} x; "
        + $"greedy tokens equal before the first difference: {run.SharedPrefix(exact):0.0 %}"));
}

return score.AllPassed ? 0 : 1;
