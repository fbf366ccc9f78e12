using System.Globalization;
using Antiphon.Benchmarks.Attention;
using Antiphon.Kernels;

// usage: Antiphon.Benchmarks.Attention [threads] [qwen|llama] [decode|prefill] [fast|exact] [BF16|F16|F32|I16] [rounds] [contexts]
// Attention alone, in the shapes of Qwen3-0.6B and Llama-3.2-1B. Decode goes over as many layers as do not fit the caches and is held against plain reading;
// prefill (512 rows of a prompt at a time) is held against the AMX bfloat16 peak on the fast path, the peak of float32 multiply-adds on the exact one.
// Medians, limits measured in the same rounds. ANTIPHON_ISA chooses the tier.
int threads = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : CpuFeatures.Current.Cores;
string model = args.Length > 1 ? args[1] : "qwen";
string what = args.Length > 2 ? args[2] : "";
bool fast = args.Length <= 3 || args[3] == "fast";
TensorFormat format = args.Length > 4 ? Enum.Parse<TensorFormat>(args[4]) : TensorFormat.BF16;
int rounds = args.Length > 5 ? int.Parse(args[5], CultureInfo.InvariantCulture) : 5;
AttentionShape shape = model switch
{
    "qwen" => new() { QueryHeads = 16, KeyValueHeads = 8, KeySize = 128, ValueSize = 128, Scale = 0.088388f },
    "llama" => new() { QueryHeads = 32, KeyValueHeads = 8, KeySize = 64, ValueSize = 64, Scale = 0.125f },
    _ => throw new ArgumentException($"no shape {model}: qwen or llama"),
};
using ComputeTeam team = new(threads, pin: true);
int[] contexts = args.Length > 6 ? [.. args[6].Split(',').Select(text => int.Parse(text, CultureInfo.InvariantCulture))] : [128, 512, 2048, 8192, 32768];
using Scene scene = new(shape, format, team, fast);
Console.WriteLine($"{CpuFeatures.Current.Name}, {CpuFeatures.DefaultTier}, {threads} threads, {model}, {format} cache, {(scene.IsFast ? "fast" : "exact")} path, medians of {rounds} rounds");
if (what is "" or "decode")
{
    foreach (int context in contexts)
    {
        scene.Decode(1, context, rounds);
    }

    scene.Decode(16, 2048, rounds);
}

if (what is "" or "prefill")
{
    foreach (int context in contexts.Where(context => context <= 8192))
    {
        scene.Prefill(Math.Min(512, context), context, rounds);
    }
}

