using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime;
using System.Runtime.InteropServices;
using Antiphon.Kernels;
using Antiphon.Kernels.Jit;
using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;
using Spectre.Console;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon doctor</c>: what this machine offers, and what Antiphon makes of it.</summary>
internal static class DoctorCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        var quick = new Option<bool>("--quick") { Description = "Leave the measurements out" };
        var command = new TaughtCommand(
            "doctor",
            "Shows what this machine offers, which kernels are used, and what could be better.",
            "antiphon doctor",
            "ANTIPHON_ISA=avx2 antiphon doctor --quick") { quick };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            CpuFeatures cpu = CpuFeatures.Current;
            KernelTier tier = Tier();
            int[] allowed = ThreadPlacement.AllowedProcessors();
            int threads = Environment.ProcessorCount;
            List<(string What, double Rate, string Unit)> peaks = [];
            if (!parsed.GetValue(quick))
            {
                peaks = await session.Terminal.WithProgressAsync(
                    "Measuring what the machine can do at best", _ => Task.Run(() => Peaks(threads), cancellationToken)).ConfigureAwait(false);
            }

            GCMemoryInfo memory = GC.GetGCMemoryInfo();
            long free = Math.Max(0, memory.TotalAvailableMemoryBytes - memory.MemoryLoadBytes);
            string? hugePages = HugePages();
            (IReadOnlyList<GeneratedKernel> kernels, string generation) = Generated();
            Table table = Tables.Create(session.Terminal, ("what", false), ("value", false));
            table.AddPlain("processor", cpu.Name);
            table.AddPlain("features", Features(cpu));
            table.AddPlain("caches", $"L1 {Sizes.Bytes(cpu.Level1Bytes)}, L2 {Sizes.Bytes(cpu.Level2Bytes)}, L3 {Sizes.Bytes(cpu.Level3Bytes)}");
            table.AddPlain("kernels", $"{tier.ToString().ToLowerInvariant()} (this machine runs {string.Join(", ", cpu.Tiers).ToLowerInvariant()})");
            table.AddPlain("generated code", generation);
            table.AddPlain("compute threads", $"{threads}, on processors {(allowed.Length == 0 ? "unknown" : Ranges(allowed))}");
            table.AddPlain("memory nodes", MemoryNodes.Used.Length switch
            {
                0 => "unknown",
                1 => "1",
                int nodes => $"{nodes} ({Ranges([.. MemoryNodes.Used])}): packed weights and caches are spread over them",
            });
            table.AddPlain("memory", $"{Sizes.Bytes(memory.TotalAvailableMemoryBytes)} for this process, about {Sizes.Bytes(free)} free");
            if (hugePages is not null)
            {
                table.AddPlain("huge pages", hugePages);
            }

            foreach ((string what, double rate, string unit) in peaks)
            {
                table.AddPlain(what, string.Create(CultureInfo.InvariantCulture, $"{rate:0.0##} {unit} with {threads} threads"));
            }

            table.AddPlain("system", $"{RuntimeInformation.OSDescription}, .NET {Environment.Version}, {RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}");
            session.Terminal.Results.Write(table);
            if (kernels.Count > 0)
            {
                ShowKernels(session.Terminal, kernels);
            }

            double bandwidth = peaks.Count > 0 ? peaks[0].Rate : 0;
            foreach (string hint in Hints(cpu, tier, allowed, free, bandwidth, hugePages))
            {
                session.Terminal.Out.WriteLine($"hint: {hint}");
            }

            return ExitCode.Success;
        });
        return command;
    }

    // What most models' heads have; attention has kernels for each size.
    private const int UsualHead = 128;

    /// <summary>What the memory and the units that multiply can do at best; the memory first.</summary>
    private static List<(string What, double Rate, string Unit)> Peaks(int threads)
    {
        using var team = new ComputeTeam(threads);
        List<(string, double, string)> peaks = [("read bandwidth", BandwidthProbe.MeasureRead(team) / 1e9, "GB/s")];
        Add("float32 FMA", BandwidthProbe.MeasurePeak(team));
        try
        {
            using var probe = new PeakProbe();
            Add("AVX-512 bf16", Best(probe.MeasureDotBFloat16));
            Add("AMX bf16", Best(probe.MeasureTilesBFloat16));
            Add("AMX int8", Best(probe.MeasureTilesInt8));
        }
        catch (CodeGenerationException)
        {
            // The row on generated code says why.
        }

        return peaks;

        double Best(Func<ComputeTeam, double> measure) => Enumerable.Range(0, 5).Max(_ => measure(team));
        void Add(string unit, double rate)
        {
            if (rate > 0)
            {
                peaks.Add((unit, rate / 1e12, "Top/s"));
            }
        }
    }

    /// <summary>The kernels for every format, generated now, and a line on how that went.</summary>
    private static (IReadOnlyList<GeneratedKernel> Kernels, string Line) Generated()
    {
        TensorFormat[] formats = Enum.GetValues<TensorFormat>();
        long start = Stopwatch.GetTimestamp();
        using var integers = new MultiScaleKernels();
        integers.Prepare(formats);
        List<GeneratedKernel> list = [.. integers.Generated, .. WeightMatrix.Generated()];
        using var attention = new PagedAttention(null, fast: true);
        list.AddRange(attention.Generated(new AttentionShape { QueryHeads = 1, KeyValueHeads = 1, KeySize = UsualHead, ValueSize = UsualHead, Scale = 1 }));
        string rest = "";
        if (PackedKernels.TryCreate(null, out PackedKernels? kernels, out string? reason))
        {
            using (kernels)
            {
                kernels.Prepare(formats);
                list.InsertRange(0, kernels.Generated);
            }
        }
        else if (list.Count == 0)
        {
            return ([], $"none: {integers.Reason ?? reason}");
        }
        else
        {
            rest = $"; none for bfloat16: {reason}";
        }

        return (list, string.Create(
            CultureInfo.InvariantCulture,
            $"executable memory is granted; {list.Count} kernels for all formats and heads of {UsualHead}, {Sizes.Bytes(list.Sum(k => (long)k.CodeBytes))} of code, in {Stopwatch.GetElapsedTime(start).TotalMilliseconds:0} ms{rest}"));
    }

    private static void ShowKernels(Terminal terminal, IReadOnlyList<GeneratedKernel> kernels)
    {
        terminal.Out.WriteLine();
        Table table = Tables.Create(terminal, ("operation", false), ("shapes", false), ("instructions", false), ("formats", false), ("code", true));
        foreach (IGrouping<(string, string, KernelTier), GeneratedKernel> group in kernels.GroupBy(k => (k.Operation, k.Shape, k.Tier)))
        {
            string formats = string.Join(' ', group.Select(k => k.Format?.ToString() ?? "any"));
            table.AddPlain(group.Key.Item1, group.Key.Item2, group.Key.Item3.ToString().ToLowerInvariant(), formats, Sizes.Bytes(group.Sum(k => (long)k.CodeBytes)));
        }

        terminal.Results.Write(table);
    }

    /// <summary>Linux's setting for huge pages, or null.</summary>
    private static string? HugePages()
    {
        const string Setting = "/sys/kernel/mm/transparent_hugepage/enabled";
        try
        {
            string text = File.Exists(Setting) ? File.ReadAllText(Setting) : "";
            int open = text.IndexOf('[', StringComparison.Ordinal);
            int close = text.IndexOf(']', StringComparison.Ordinal);
            return open < 0 || close < open ? null : text[(open + 1)..close];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static KernelTier Tier()
    {
        try
        {
            return CpuFeatures.DefaultTier;
        }
        catch (ArgumentException e)
        {
            throw new CommandException(e.Message);
        }
    }

    private static string Features(CpuFeatures cpu)
    {
        List<string> features = [];
        void Add(bool has, string name)
        {
            if (has)
            {
                features.Add(name);
            }
        }

        Add(cpu.BestTier >= KernelTier.Avx2, "AVX2 FMA");
        Add(cpu.BestTier >= KernelTier.Avx512, "AVX-512");
        Add(cpu.HasAvxVnni, "AVX-VNNI");
        Add(cpu.HasAvx512Vnni, "AVX512-VNNI");
        Add(cpu.HasAvx512Vbmi, "AVX512-VBMI");
        Add(cpu.HasAvx512BFloat16, "AVX512-BF16");
        Add(cpu.HasAmx, "AMX");
        return features.Count == 0 ? "none that kernels use" : string.Join(", ", features);
    }

    private static IEnumerable<string> Hints(CpuFeatures cpu, KernelTier tier, int[] allowed, long free, double bandwidth, string? hugePages)
    {
        if (tier < cpu.BestTier)
        {
            yield return $"{CpuFeatures.TierVariable} holds the kernels at {tier.ToString().ToLowerInvariant()}; unset it to use {cpu.BestTier.ToString().ToLowerInvariant()}";
        }

        if (cpu.LeavesOutAvx2)
        {
            yield return "this program leaves out AVX2, which the processor has: unset DOTNET_EnableAVX2; compiled ahead of time, publish with -p:IlcInstructionSet=x86-64-v3";
        }
        else if (cpu.BestTier == KernelTier.Portable)
        {
            yield return "no AVX2 here: the portable kernels give the same results, slowly";
        }

        if (allowed.Length > Environment.ProcessorCount)
        {
            yield return $"the container's quota allows {Environment.ProcessorCount} of {allowed.Length} processors; more threads than that slow each other down";
        }

        if (free < 1L << 30)
        {
            yield return "less than 1 GiB of memory is free: choose small models or a short --context";
        }

        if (hugePages == "never")
        {
            yield return "huge pages are off, which costs a few percent: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, as root";
        }

        if (GCSettings.IsServerGC)
        {
            yield return "the server garbage collector starts threads of its own; set DOTNET_gcServer=0";
        }

        if (bandwidth is > 0 and < 5)
        {
            yield return "the memory is slow, or something else is using it: decoding cannot be faster than weights can be read";
        }
    }

    private static string Ranges(int[] numbers)
    {
        List<string> ranges = [];
        for (int i = 0; i < numbers.Length;)
        {
            int end = i;
            while (end + 1 < numbers.Length && numbers[end + 1] == numbers[end] + 1)
            {
                end++;
            }

            ranges.Add(end == i ? $"{numbers[i]}" : $"{numbers[i]}-{numbers[end]}");
            i = end + 1;
        }

        return string.Join(',', ranges);
    }
}
