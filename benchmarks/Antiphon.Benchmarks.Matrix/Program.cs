using System.Diagnostics;
using System.Globalization;
using Antiphon.Benchmarks.Matrix;
using Antiphon.Kernels;
using Antiphon.Kernels.Packed;

// usage: Antiphon.Benchmarks.Matrix kernels [format ...]: each kernel alone on one thread, shortest of many short runs, which other processes hardly disturb.
// usage: Antiphon.Benchmarks.Matrix pack [threads] [format ...]: how fast weights are packed; behind "int8:" for products of split activations.
// usage: Antiphon.Benchmarks.Matrix shapes threads tokens rounds format ... [ROWSxCOLUMNS ...]: each matrix of a layer by itself, its input's packing apart.
// usage: Antiphon.Benchmarks.Matrix decode [threads] [rounds] [batches, as 1,16,512] [mix ...]: batches and prompts of several mixes in turns, beside the read bandwidth and the FMA peak.
// usage: Antiphon.Benchmarks.Matrix exact [threads] [rounds] [batches, as 1,16,512] [format ...]: the float32 path of any tier, as shares of its peak and of the read bandwidth.
// usage: Antiphon.Benchmarks.Matrix [threads] [rounds] [format ...]
// All weight matrices of Qwen3-0.6B with random values, multiplied as a decode step, a batch of decode steps and a prompt would.
// A mix is a format or Q4_K_M; int8:Q8_0 is the path of split activations, w8a8:Q8_0 that path with one pass, exact:Q8_0 float32.
// Every figure is a median over rounds, beside the limit measured in the same rounds. ANTIPHON_ISA chooses the tier.
if (args is ["kernels", ..])
{
    return KernelTimes.Print(args[1..]);
}

if (args is ["pack", ..])
{
    return PackTimes.Print(args[1..]);
}

if (args is ["shapes", _, _, _, _, ..])
{
    return ShapeTimes.Print(args[1..]);
}

if (args is ["decode", ..])
{
    return DecodeShares.Print(args[1..]);
}

if (args is ["exact", ..])
{
    return ExactTimes.Print(args[1..]);
}

int threads = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : CpuFeatures.Current.Cores;
int rounds = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : 5;
string[] mixes = args.Length > 2 ? args[2..] : ["Q8_0", "Q4_0", "Q4_K_M", "BF16"];
using ComputeTeam team = new(threads);
if (!PackedKernels.TryCreate(null, out PackedKernels? kernels, out string? reason))
{
    Console.WriteLine(reason);
    return 1;
}

using PeakProbe probe = new();
using NativeBuffer<byte> buffer = new(1L << 30);
buffer.Span(0, 1 << 30).Fill(1);
Console.WriteLine($"{CpuFeatures.Current.Name}, {threads} threads, {kernels.Tier}, medians of {rounds} rounds");
foreach (string mix in mixes)
{
    using QwenShapes model = new(kernels, mix, team);
    int[] batches = [1, 2, 4, 8, 16, 32];
    List<double>[] decode = [.. batches.Select(_ => new List<double>())];
    List<double> share = [];
    List<double> bandwidth = [];
    List<double> prefill = [];
    List<double> prefillShare = [];
    List<double> peak = [];
    model.Multiply(1, logits: 1);
    model.Multiply(16, logits: 16);
    model.Multiply(512, logits: 1);
    for (int round = 0; round < rounds; round++)
    {
        double read = Math.Max(probe.MeasureRead(team, buffer), probe.MeasureRead(team, buffer));
        bandwidth.Add(read);
        for (int i = 0; i < batches.Length; i++)
        {
            double seconds = Math.Min(model.Multiply(batches[i], logits: batches[i]), model.Multiply(batches[i], logits: batches[i]));
            decode[i].Add(batches[i] / seconds);
            if (i == 0)
            {
                share.Add(model.Bytes / seconds / read);
            }
        }

        // Before and after: the machine's own speed changes from one second to the next.
        double top = Peak();
        double time = model.Multiply(512, logits: 1);
        top = (top + Peak()) / 2;
        peak.Add(top);
        prefill.Add(512 / time);
        prefillShare.Add(QwenShapes.Operations(512, 1) / time / top);
    }

    Console.WriteLine($"{mix}: packed {model.Bytes / 1e6:F0} MB at {model.PackRate / 1e9:F2} GB/s; code generated so far in {kernels.GenerationTime.TotalMilliseconds:F0} ms");
    Console.WriteLine($"  read {Median(bandwidth) / 1e9:F1} GB/s; decode {Median(decode[0]):F1} tok/s = {Median(share):P0} of it (best {share.Max():P0})");
    Console.WriteLine(
        "  batch " + string.Join(", ", batches.Select((batch, i) => $"{batch}: {Median(decode[i]):F0} tok/s ({Median(decode[i]) / Median(decode[0]):F1}x)")));
    Console.WriteLine(
        $"  prefill of 512: {Median(prefill):F0} tok/s = {Median(prefillShare):P0} of {Median(peak) / 1e12:F2} TFLOPS (best {prefillShare.Max():P0})");
}

Console.WriteLine(
    $"peaks: AMX bf16 {probe.MeasureTilesBFloat16(team) / 1e12:F2}, AMX int8 {probe.MeasureTilesInt8(team) / 1e12:F2}, "
    + $"bf16 dot {probe.MeasureDotBFloat16(team) / 1e12:F3}, fma {probe.MeasureMultiplyAdd(team) / 1e12:F3} T/s");
return 0;

double Peak() => kernels.Tier == KernelTier.Amx ? probe.MeasureTilesBFloat16(team) : probe.MeasureDotBFloat16(team);

static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);
