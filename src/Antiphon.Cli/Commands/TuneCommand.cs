using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Antiphon.Kernels;
using Antiphon.Kernels.Tuning;
using Antiphon.Models;
using Spectre.Console;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon tune</c>: finds the fastest kernels for a model on this machine ahead of time.</summary>
internal static class TuneCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        Argument<string[]> words = Checked.Positionals("MODEL", "A .gguf file or a model folder", 1, 1);
        Option<int[]> lengths = Checked.List("--lengths", "Prompt lengths in tokens", 1, [32, 128, 512]);
        Option<int[]> batches = Checked.List("--batch", "Numbers of sequences that decode together", 1, [1, 2, 4, 8, 16]);
        Option<int?> threads = Checked.Whole("--threads", "Compute threads (default: one for each processor this process may use)", 1, 1024);
        Option<int?> seconds = Checked.Whole("--seconds", "Most time for it (default: 60)", 1, 3600);
        var fresh = new Option<bool>("--fresh") { Description = "Measure again what was chosen before" };
        var command = new TaughtCommand(
            "tune",
            "Times the kernels that could compute a model's products on this machine, and keeps which are fastest. They agree bit for bit: no answer changes. "
            + "Without this command, models do the same while they answer. Only for --precision int8, and fast where that means the same.",
            "antiphon tune model.gguf",
            "antiphon tune model.gguf --batch 1,32 --lengths 2048 --threads 1") { words, lengths, batches, threads, seconds, fresh };
        var precision = new PrecisionOption(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string path = parsed.GetValue(words)![0];
            int[] prompts = [.. parsed.GetValue(lengths)!.Distinct()];
            int[] sequences = [.. parsed.GetValue(batches)!.Distinct()];
            using var team = new ComputeTeam(parsed.GetValue(threads) ?? Environment.ProcessorCount);
            if (parsed.GetValue(fresh))
            {
                KernelTuning.Forget(TuningFile.Path, CpuFeatures.DefaultTier, team.Size);
            }

            var tuning = new KernelTuning(TuningFile.Path, CpuFeatures.DefaultTier, team.Size);
            using LoadedModel model = await session.LoadForMeasuringAsync(path, new ModelLoadOptions { Team = team, Precision = precision.Read(parsed), Tuning = tuning }, cancellationToken).ConfigureAwait(false);
            long most = (parsed.GetValue(seconds) ?? 60) * Stopwatch.Frequency;
            await session.Terminal.WithProgressAsync(
                "Timing kernels",
                progress => Task.Run(() => Run(model.Backend, tuning, prompts, sequences, most, progress, cancellationToken), cancellationToken)).ConfigureAwait(false);
            tuning.Save();
            Show(session.Terminal, tuning);
            return ExitCode.Success;
        });
        return command;
    }

    private static int Run(
        IBackend backend, KernelTuning tuning, int[] prompts, int[] sequences, long most, IProgress<(double Share, string Note)> progress, CancellationToken cancellationToken)
    {
        using var test = new SpeedTest(backend, prompts.Max(), [0], sequences.Max(), decodeSteps: 1);
        (string Name, Action Call)[] work =
        [
            .. sequences.Select(count => ($"batch {count}", (Action)(() => test.Decode(0, count, cancellationToken)))),
            .. prompts.Select(length => ($"prompt of {length}", (Action)(() => test.Prefill(length, cancellationToken)))),
        ];
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < work.Length; i++)
        {
            // Each has its share of the time; what is not settled by then keeps its default and is measured on by the next model that answers.
            long end = start + (most * (i + 1) / work.Length);
            do
            {
                work[i].Call();
                progress.Report((i / (double)work.Length, work[i].Name));
            }
            while (!tuning.Settled && Stopwatch.GetTimestamp() < end);
        }

        return 0;
    }

    private static void Show(Terminal terminal, KernelTuning tuning)
    {
        if (tuning.Operations.Count == 0)
        {
            terminal.Out.WriteLine("This model's kernels have no choice on this machine: there was nothing to tune.");
            return;
        }

        Table table = Tables.Create(terminal, ("operation", false), ("candidates", true), ("chosen", false), ("time", true));
        foreach (TunedOperation operation in tuning.Operations.OrderBy(o => o.Key, StringComparer.Ordinal))
        {
            table.AddPlain(
                operation.Key,
                operation.Candidates.ToString(CultureInfo.InvariantCulture),
                operation.Choice is null ? $"{operation.Default} (not settled)" : operation.Choice == operation.Default ? $"{operation.Choice} (default)" : operation.Choice,
                double.IsNaN(operation.Gain) ? "known" : string.Create(CultureInfo.InvariantCulture, $"{operation.Gain:0.00} x"));
        }

        terminal.Results.Write(table);
        terminal.Out.WriteLine(tuning.Path is null ? "There is no folder to keep this in." : $"Kept in {tuning.Path}. Time: of the chosen kernel, as a share of the default's.");
    }
}
