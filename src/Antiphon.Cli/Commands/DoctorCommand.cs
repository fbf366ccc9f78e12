using System.CommandLine;
using System.Globalization;
using System.Runtime;
using System.Runtime.InteropServices;
using Antiphon.Kernels;
using Spectre.Console;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon doctor</c>: what this machine offers, and what Antiphon makes of it.</summary>
internal static class DoctorCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        var quick = new Option<bool>("--quick") { Description = "Leave the measurement of the read bandwidth out" };
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
            double bandwidth = 0;
            if (!parsed.GetValue(quick))
            {
                bandwidth = await session.Terminal.WithProgressAsync(
                    "Measuring the read bandwidth",
                    _ => Task.Run(
                        () =>
                        {
                            using var team = new ComputeTeam(threads);
                            return BandwidthProbe.MeasureRead(team);
                        },
                        cancellationToken)).ConfigureAwait(false);
            }

            GCMemoryInfo memory = GC.GetGCMemoryInfo();
            long free = Math.Max(0, memory.TotalAvailableMemoryBytes - memory.MemoryLoadBytes);
            Table table = Tables.Create(session.Terminal, ("what", false), ("value", false));
            table.AddPlain("processor", cpu.Name);
            table.AddPlain("features", Features(cpu));
            table.AddPlain("caches", $"L1 {Sizes.Bytes(cpu.Level1Bytes)}, L2 {Sizes.Bytes(cpu.Level2Bytes)}, L3 {Sizes.Bytes(cpu.Level3Bytes)}");
            table.AddPlain("kernels", $"{tier.ToString().ToLowerInvariant()} (this machine runs {string.Join(", ", cpu.Tiers).ToLowerInvariant()})");
            table.AddPlain("compute threads", $"{threads}, on processors {(allowed.Length == 0 ? "unknown" : Ranges(allowed))}");
            table.AddPlain("memory", $"{Sizes.Bytes(memory.TotalAvailableMemoryBytes)} for this process, about {Sizes.Bytes(free)} free");
            if (bandwidth > 0)
            {
                table.AddPlain("read bandwidth", string.Create(CultureInfo.InvariantCulture, $"{bandwidth / 1e9:0.0} GB/s with {threads} threads"));
            }

            table.AddPlain("system", $"{RuntimeInformation.OSDescription}, .NET {Environment.Version}, {RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}");
            session.Terminal.Results.Write(table);
            foreach (string hint in Hints(cpu, tier, allowed, free, bandwidth))
            {
                session.Terminal.Out.WriteLine($"hint: {hint}");
            }

            return ExitCode.Success;
        });
        return command;
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

    private static IEnumerable<string> Hints(CpuFeatures cpu, KernelTier tier, int[] allowed, long free, double bandwidth)
    {
        if (tier < cpu.BestTier)
        {
            yield return $"{CpuFeatures.TierVariable} holds the kernels at {tier.ToString().ToLowerInvariant()}; unset it to use {cpu.BestTier.ToString().ToLowerInvariant()}";
        }

        if (cpu.BestTier == KernelTier.Portable)
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

        if (GCSettings.IsServerGC)
        {
            yield return "the server garbage collector starts threads of its own; set DOTNET_gcServer=0";
        }

        if (bandwidth is > 0 and < 5e9)
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
