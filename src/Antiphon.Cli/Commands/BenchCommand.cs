using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Antiphon.Kernels;
using Antiphon.Kernels.Tuning;
using Antiphon.Models;
using Spectre.Console;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon bench</c>: how fast a model runs here, and how near that is to what the machine can do.</summary>
internal static class BenchCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        Argument<string[]> words = Checked.Positionals("MODEL", "A .gguf file or a model folder (default: Tales)", 0, 1);
        Option<int[]> lengths = Checked.List("--lengths", "Prompt lengths in tokens", 1, [128, 512]);
        Option<int[]> depths = Checked.List("--context-depths", "Contexts in tokens that decode steps stand behind", 0, [0]);
        Option<int[]> batches = Checked.List("--batch", "Numbers of sequences that decode together", 1, [1, 4]);
        Option<int[]> threads = Checked.List("--threads", "Numbers of compute threads, one after the other (default: one for each processor)", 1, [Environment.ProcessorCount]);
        Option<int?> steps = Checked.Whole("--decode", "Decode steps to time, of which the median counts (default 32)", 1, 100_000);
        Option<int?> repeats = Checked.Whole("--repeat", "How often each test runs, all tests in turn; medians are shown (default 3)", 1, 1000);
        var json = new Option<bool>("--json") { Description = "The results as JSON, with every run" };
        var compare = new Option<string?>("--compare") { Description = "Earlier results (--json) to compare with", HelpName = "FILE" };
        var command = new TaughtCommand(
            "bench",
            "Times prompts and decode steps, and says for each figure its share of what this machine can do at best, measured in the same run: reading the weights and the cache, or multiplying.",
            "antiphon bench model.gguf",
            "antiphon bench model.gguf --lengths 512 --batch 1,2,4,8,16 --threads 1,2 --json > before.json",
            "antiphon bench model.gguf --compare before.json",
            "antiphon bench model.gguf --lengths 512,8192 --context-depths 0,8192 --batch 1",
            "antiphon bench serve model.gguf --concurrency 16") { words, lengths, depths, batches, threads, steps, repeats, json, compare, BenchServeCommand.Create(session) };
        var precision = new PrecisionOption(command);
        var kvFormat = new KvFormatOption(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string? path = parsed.GetValue(words) is [string given] ? given : null;
            BenchReport? before = parsed.GetValue(compare) is { } file ? BenchReport.Read(TextFiles.Read(file), file) : null;
            var plan = new Plan(
                [.. parsed.GetValue(lengths)!.Distinct()], [.. parsed.GetValue(depths)!.Distinct()], [.. parsed.GetValue(batches)!.Distinct()],
                parsed.GetValue(steps) ?? 32, parsed.GetValue(repeats) ?? 3, precision.Read(parsed), kvFormat.Read(parsed));
            List<BenchLimits> limits = [];
            List<BenchRow> rows = [];
            long weightBytes = 0;
            foreach (int count in parsed.GetValue(threads)!.Distinct())
            {
                using var team = new ComputeTeam(count);
                long start = Stopwatch.GetTimestamp();
                var tuning = new KernelTuning(TuningFile.Path, CpuFeatures.DefaultTier, count);
                using LoadedModel model = await session.LoadForMeasuringAsync(
                    path, new ModelLoadOptions { Team = team, Precision = plan.Precision, KvFormat = plan.KvFormat, Tuning = tuning }, cancellationToken).ConfigureAwait(false);
                double loadSeconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
                plan.Check(model.Backend);
                var work = new ModelWork(model);
                weightBytes = work.WeightBytes;
                await session.Terminal.WithProgressAsync(
                    $"Measuring {count} {(count == 1 ? "thread" : "threads")}",
                    progress => Task.Run(() => Measure(model.Backend, work, team, plan, loadSeconds, limits, rows, progress, cancellationToken), cancellationToken)).ConfigureAwait(false);
            }

            var report = new BenchReport(
                Session.Name(path), CpuFeatures.Current.Name, CpuFeatures.DefaultTier.ToString().ToLowerInvariant(), plan.Name,
                weightBytes, plan.Steps, plan.Repeats, limits, rows);
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

    /// <summary>Runs all tests in turn, as often as asked, each round with the limits measured before it.</summary>
    private static int Measure(
        IBackend backend, ModelWork work, ComputeTeam team, Plan plan, double loadSeconds, List<BenchLimits> allLimits, List<BenchRow> allRows,
        IProgress<(double Share, string Note)> progress, CancellationToken cancellationToken)
    {
        progress.Report((0, "warming up"));
        using var machine = new MachineLimits(team, plan.Precision);
        using var test = new SpeedTest(backend, plan.Lengths.Max(), plan.Depths, plan.Batches.Max(), plan.Steps);
        Test[] tests =
        [
            .. plan.Lengths.Select(length => new Test(false, length, 1, work.PrefillBytes, work.PrefillOperations(length))),
            .. from depth in plan.Depths
               from batch in plan.Batches
               let context = depth + (plan.Steps / 2) + 2
               select new Test(true, depth, batch, work.DecodeBytes(context, batch), work.DecodeOperations(context, batch)),
        ];

        // What is made at first use is made here: generated code, contexts, the memory of the largest step.
        test.Prefill(Math.Min(512, plan.Lengths.Max()), cancellationToken);
        foreach (Test decode in tests.Where(t => t.IsDecode))
        {
            progress.Report((0, decode.Tokens > 0 ? $"computing contexts of {decode.Tokens} tokens" : "warming up"));
            test.Decode(decode.Tokens, decode.Batch, cancellationToken);
        }

        var reads = new double[plan.Repeats];
        var multiplies = new double[plan.Repeats];
        var seconds = new double[tests.Length][];
        for (int round = 0; round < plan.Repeats; round++)
        {
            reads[round] = machine.Read();
            multiplies[round] = machine.Multiply();
            for (int i = 0; i < tests.Length; i++)
            {
                (bool isDecode, int tokens, int batch, _, _) = tests[i];
                double share = ((round * tests.Length) + i) / (double)(plan.Repeats * tests.Length);
                progress.Report((share, isDecode ? $"{batch} behind {tokens} tokens" : $"prompt of {tokens} tokens"));
                (seconds[i] ??= new double[plan.Repeats])[round] = isDecode ? test.Decode(tokens, batch, cancellationToken) : test.Prefill(tokens, cancellationToken);
            }
        }

        double read = SpeedTest.Median(reads);
        double multiply = SpeedTest.Median(multiplies);
        allLimits.Add(new BenchLimits(team.Size, read, machine.MultiplyUnit, multiply, loadSeconds));
        for (int i = 0; i < tests.Length; i++)
        {
            Test of = tests[i];
            bool reading = of.Bytes / read > of.Operations / multiply;
            double median = SpeedTest.Median(seconds[i]);
            allRows.Add(new BenchRow
            {
                Threads = team.Size,
                IsDecode = of.IsDecode,
                Tokens = of.Tokens,
                Batch = of.Batch,
                TokensPerSecond = (of.IsDecode ? of.Batch : of.Tokens) / median,
                Seconds = median,
                Runs = seconds[i],
                Bytes = of.Bytes,
                Operations = of.Operations,
                Limit = reading ? "read" : machine.MultiplyUnit,
                LimitShare = SpeedTest.Median(seconds[i].Select((taken, round) => (reading ? of.Bytes / reads[round] : of.Operations / multiplies[round]) / taken)),
            });
        }

        return tests.Length;
    }

    private static void Show(Terminal terminal, BenchReport report, BenchReport? before)
    {
        CultureInfo culture = CultureInfo.InvariantCulture;
        terminal.Out.WriteLine($"{report.Model}, {Sizes.Bytes(report.WeightBytes)} of weights; {report.Processor}, {report.Tier}, {report.Precision}");
        foreach (BenchLimits limit in report.Limits)
        {
            terminal.Out.WriteLine(string.Create(
                culture,
                $"{limit.Threads} {(limit.Threads == 1 ? "thread" : "threads")}: reads {limit.ReadBytesPerSecond / 1e9:0.0} GB/s, {limit.MultiplyUnit} {limit.OperationsPerSecond / 1e12:0.000} Top/s; loaded in {limit.LoadSeconds:0.00} s"));
        }

        Table table = Tables.Create(terminal, ("threads", true), ("test", false), ("tokens", true), ("batch", true), ("tok/s", true), ("ms", true), ("of limit", true), ("limit", false));
        if (before is not null)
        {
            table.AddColumn(new TableColumn("tok/s then").RightAligned());
        }

        foreach (BenchRow row in report.Rows)
        {
            List<string> cells =
            [
                row.Threads.ToString(culture), row.IsDecode ? "decode" : "prefill", row.Tokens.ToString(culture), row.Batch.ToString(culture), row.TokensPerSecond.ToString("N1", culture),
                (row.Seconds * 1e3).ToString("N2", culture), row.LimitShare.ToString("0.0 %", culture), row.Limit,
            ];
            if (before is not null)
            {
                cells.Add(Change(row.TokensPerSecond, before.Rows.FirstOrDefault(row.Matches)?.TokensPerSecond));
            }

            table.AddPlain([.. cells]);
        }

        terminal.Results.Write(table);
        terminal.Out.WriteLine($"Medians of {report.Repeats} rounds over all tests, the limits measured in each. Decode: one step of {report.DecodeSteps}, behind a context of that many tokens.");
        if (before is not null && (before.Processor != report.Processor || before.Model != report.Model || before.Precision != report.Precision))
        {
            terminal.Error.WriteLine($"antiphon bench: the earlier results are of {before.Model} ({before.Precision}) on {before.Processor}; the comparison is not of like with like");
        }
    }

    private static string Change(double now, double? then) => then is > 0
        ? string.Create(CultureInfo.InvariantCulture, $"{then:N1} ({(now / then.Value) - 1:+0.0 %;-0.0 %})")
        : "-";

    private sealed record Test(bool IsDecode, int Tokens, int Batch, double Bytes, double Operations);

    private sealed record Plan(int[] Lengths, int[] Depths, int[] Batches, int Steps, int Repeats, MatrixPrecision Precision, KvFormat KvFormat)
    {
        /// <summary>Precision and, where it was chosen, the cache's format.</summary>
        public string Name => $"{Precision}{(KvFormat == KvFormat.Auto ? "" : $", {KvFormat} cache")}".ToLowerInvariant();

        /// <summary>Refuses what the model's context or the memory do not hold.</summary>
        public void Check(IBackend backend)
        {
            if (Math.Max(Lengths.Max(), Depths.Max() + (long)Steps + 1) > backend.ContextLength)
            {
                throw new CommandException(
                    $"the model's context is {backend.ContextLength} tokens; use smaller --lengths, --context-depths or --decode", ExitCode.Usage);
            }

            long bytes = SpeedTest.CacheBlocks(Lengths.Max(), Depths, Batches.Max(), Steps) * SpeedTest.TokensOfBlock * backend.CacheBytesPerToken;
            GCMemoryInfo memory = GC.GetGCMemoryInfo();
            long free = memory.TotalAvailableMemoryBytes - memory.MemoryLoadBytes;
            if (bytes > free)
            {
                throw new CommandException(
                    $"the contexts of these tests need {Sizes.Bytes(bytes)}, about {Sizes.Bytes(free)} are free; use smaller --context-depths or --batch", ExitCode.Usage);
            }
        }
    }
}
