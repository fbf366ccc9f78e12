using System.CommandLine;
using System.Globalization;
using Antiphon.Kernels;
using Antiphon.Models;
using Spectre.Console;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon bench</c>: how fast a model runs here.</summary>
internal static class BenchCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        Argument<string[]> words = Checked.Positionals("MODEL", "A .gguf file or a model folder (default: Tales)", 0, 1);
        Option<int[]> lengths = Checked.List("--lengths", "Prompt lengths in tokens", 128, 512);
        Option<int[]> batches = Checked.List("--batch", "Numbers of sequences that run together", 1, 4);
        Option<int?> steps = Checked.Whole("--decode", "Decode steps to time after each prompt (default 32)", 1, 100_000);
        Option<int?> repeats = Checked.Whole("--repeat", "How often each test runs; medians are shown (default 3)", 1, 1000);
        Option<int?> threads = Checked.Whole("--threads", "Compute threads (default: one for each processor)", 1, 1024);
        var json = new Option<bool>("--json") { Description = "The results as JSON" };
        var compare = new Option<string?>("--compare") { Description = "Earlier results (--json) to compare with", HelpName = "FILE" };
        var command = new TaughtCommand(
            "bench",
            "Times prefill and decode, and says how much of this machine's read bandwidth decoding uses (the weights and the cache are read once per step).",
            "antiphon bench model.gguf",
            "antiphon bench model.gguf --lengths 128,1024 --batch 1,8 --threads 2 --json > before.json",
            "antiphon bench model.gguf --compare before.json",
            "antiphon bench serve model.gguf --concurrency 16") { words, lengths, batches, steps, repeats, threads, json, compare, BenchServeCommand.Create(session) };
        var precision = new PrecisionOption(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string? path = parsed.GetValue(words) is [string given] ? given : null;
            BenchReport? before = parsed.GetValue(compare) is { } file ? BenchReport.Read(TextFiles.Read(file), file) : null;
            int[] promptLengths = parsed.GetValue(lengths)!;
            int decodeSteps = parsed.GetValue(steps) ?? 32;
            using var team = new ComputeTeam(parsed.GetValue(threads) ?? Environment.ProcessorCount);
            using LoadedModel model = await session.LoadForMeasuringAsync(path, team, precision.Read(parsed), cancellationToken).ConfigureAwait(false);
            int longest = promptLengths.Max() + decodeSteps + 1;
            if (longest > model.Backend.ContextLength)
            {
                throw new CommandException(
                    $"{promptLengths.Max()} tokens of prompt and {decodeSteps} of decode are more than the model's context of {model.Backend.ContextLength}; use smaller --lengths or --decode", ExitCode.Usage);
            }

            BenchReport report = await session.Terminal.WithProgressAsync(
                "Measuring",
                progress => Task.Run(
                    () => Measure(model, Session.Name(path), team, promptLengths, parsed.GetValue(batches)!, decodeSteps, parsed.GetValue(repeats) ?? 3, progress, cancellationToken),
                    cancellationToken)).ConfigureAwait(false);
            if (parsed.GetValue(json))
            {
                session.Terminal.Out.WriteLine(report.ToJson());
            }
            else
            {
                Show(session.Terminal, report, before);
            }

            return ExitCode.Success;
        });
        return command;
    }

    private static BenchReport Measure(
        LoadedModel model, string name, ComputeTeam team, int[] lengths, int[] batches, int steps, int repeats, IProgress<(double Share, string Note)> progress, CancellationToken cancellationToken)
    {
        progress.Report((0, "read bandwidth"));
        double bandwidth = BandwidthProbe.MeasureRead(team);
        long weights = model.Source.Tensors.Sum(t => t.ByteCount);
        List<BenchRow> rows = [];
        int done = 0;
        foreach (int length in lengths)
        {
            foreach (int batch in batches)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var test = new SpeedTest(model.Backend, length, batch, steps);
                List<double> prefill = [];
                List<double> step = [];
                for (int i = 0; i < repeats; i++)
                {
                    progress.Report((done++ / (double)(lengths.Length * batches.Length * repeats), $"{batch} × {length} tokens"));
                    (double first, double each) = test.Run(cancellationToken);
                    prefill.Add(first);
                    step.Add(each);
                }

                double stepSeconds = SpeedTest.Median(step);
                double bytes = weights + (model.Backend.CacheBytesPerToken * (double)batch * (length + (steps / 2)));
                rows.Add(new BenchRow(length, batch, batch * length / SpeedTest.Median(prefill), batch / stepSeconds, stepSeconds * 1e3, bytes / stepSeconds / bandwidth));
            }
        }

        return new BenchReport(name, team.Size, CpuFeatures.Current.Name, CpuFeatures.DefaultTier.ToString().ToLowerInvariant(), weights, bandwidth, steps, repeats, rows);
    }

    private static void Show(Terminal terminal, BenchReport report, BenchReport? before)
    {
        CultureInfo culture = CultureInfo.InvariantCulture;
        terminal.Out.WriteLine(string.Create(
            culture, $"{report.Model}, {Sizes.Bytes(report.WeightBytes)} of weights; {report.Processor}, {report.Threads} threads, {report.Tier}; read bandwidth {report.Bandwidth / 1e9:0.0} GB/s"));
        Table table = Tables.Create(terminal, ("prompt", true), ("batch", true), ("prefill tok/s", true), ("decode tok/s", true), ("ms/step", true), ("of bandwidth", true));
        if (before is not null)
        {
            table.AddColumn(new TableColumn("prefill then").RightAligned());
            table.AddColumn(new TableColumn("decode then").RightAligned());
        }

        foreach (BenchRow row in report.Rows)
        {
            List<string> cells =
            [
                row.Length.ToString(culture), row.Batch.ToString(culture), row.Prefill.ToString("N1", culture), row.Decode.ToString("N1", culture),
                row.StepMilliseconds.ToString("0.00", culture), row.BandwidthShare.ToString("0.0 %", culture),
            ];
            if (before is not null)
            {
                BenchRow? then = before.Rows.FirstOrDefault(r => r.Length == row.Length && r.Batch == row.Batch);
                cells.Add(Change(row.Prefill, then?.Prefill));
                cells.Add(Change(row.Decode, then?.Decode));
            }

            table.AddPlain([.. cells]);
        }

        terminal.Results.Write(table);
        terminal.Out.WriteLine($"Medians of {report.Repeats} runs; decode over {report.DecodeSteps} steps behind the prompt, all sequences together.");
        if (before is not null && (before.Threads != report.Threads || before.Processor != report.Processor || before.Model != report.Model))
        {
            terminal.Error.WriteLine($"antiphon bench: the earlier results are of {before.Model} on {before.Processor} with {before.Threads} threads; the comparison is not of like with like");
        }
    }

    private static string Change(double now, double? then) => then is > 0
        ? string.Create(CultureInfo.InvariantCulture, $"{then:N1} ({(now / then.Value) - 1:+0.0 %;-0.0 %})")
        : "-";
}
