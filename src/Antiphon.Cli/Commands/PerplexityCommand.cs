using System.CommandLine;
using System.Globalization;
using Antiphon.Kernels;
using Antiphon.Models;
using Antiphon.Text;
using Spectre.Console;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon perplexity</c>: how well a model predicts a text.</summary>
internal static class PerplexityCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        Argument<string[]> words = Checked.Positionals("[MODEL] FILE", "A .gguf file or a model folder (default: Tales), then a text file.", 1, 2);
        Option<int?> window = Checked.Whole("--window", "Tokens in a window (default 512, or the model's context where that is shorter)", 2, int.MaxValue);
        Option<int?> windows = Checked.Whole("--windows", "Windows from the start of the text (default: all)", 1, int.MaxValue);
        Option<int?> threads = Checked.Whole("--threads", "Compute threads (default: one for each processor)", 1, 1024);
        var json = new Option<bool>("--json") { Description = "The result as JSON" };
        var command = new TaughtCommand(
            "perplexity",
            "Measures how well a model predicts a text: windows of tokens, the second half of each predicted from all before it in the window.",
            "antiphon perplexity model.gguf wiki.test.raw",
            "antiphon perplexity model.gguf wiki.test.raw --windows 48 --json") { words, window, windows, threads, json };
        var precision = new PrecisionOption(command);
        var kvFormat = new KvFormatOption(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string[] given = parsed.GetValue(words)!;
            string text = TextFiles.Read(given[^1]);
            using var team = new ComputeTeam(parsed.GetValue(threads) ?? Environment.ProcessorCount);
            using LoadedModel model = await session.LoadForMeasuringAsync(
                given.Length == 2 ? given[0] : null, new ModelLoadOptions { Team = team, Precision = precision.Read(parsed), KvFormat = kvFormat.Read(parsed) }, cancellationToken).ConfigureAwait(false);
            Tokenizer tokenizer = ModelText.Read(model.Source).Tokenizer;
            int size = parsed.GetValue(window) ?? Math.Min(512, model.Backend.ContextLength);
            if (size > model.Backend.ContextLength)
            {
                throw new CommandException($"--window {size} is longer than the model's context of {model.Backend.ContextLength} tokens; use at most that", ExitCode.Usage);
            }

            int[] tokens = tokenizer.Encode(text, addSpecialTokens: false, parseSpecialTokens: false);
            int count = tokens.Length / size;
            if (count == 0)
            {
                throw new CommandException($"{given[^1]}: has {tokens.Length} tokens, but a window has {size}; use a longer text or a smaller --window");
            }

            count = Math.Min(count, parsed.GetValue(windows) ?? count);
            Score score = await session.Terminal.WithProgressAsync(
                "Perplexity",
                progress => Task.Run(() => Measure(model.Backend, tokens, size, count, progress, cancellationToken), cancellationToken)).ConfigureAwait(false);
            Show(session.Terminal, score, parsed.GetValue(json));
            return ExitCode.Success;
        });
        return command;
    }

    private static Score Measure(IBackend backend, int[] tokens, int size, int count, IProgress<(double Share, string Note)> progress, CancellationToken cancellationToken)
    {
        using var scorer = new WindowScorer(backend, size);
        var losses = new double[count];
        double sum = 0;
        for (int i = 0; i < count; i++)
        {
            losses[i] = scorer.Score(tokens.AsSpan(i * size, size), cancellationToken);
            sum += losses[i];
            double so = Math.Exp(sum / ((i + 1) * (double)scorer.Scored));
            progress.Report(((i + 1) / (double)count, string.Create(CultureInfo.InvariantCulture, $"{i + 1} of {count} windows, so far {so:0.000}")));
        }

        return new Score(losses, scorer.Scored, size);
    }

    private static void Show(Terminal terminal, Score score, bool json)
    {
        CultureInfo culture = CultureInfo.InvariantCulture;
        if (json)
        {
            terminal.Out.WriteLine(string.Create(
                culture,
                $$"""{"perplexity": {{score.Perplexity:R}}, "low": {{score.Low:R}}, "high": {{score.High:R}}, "windows": {{score.Losses.Length}}, "window": {{score.Window}}, "scored_tokens": {{score.Losses.Length * score.Scored}}}"""));
            return;
        }

        Table table = Tables.Create(terminal, ("perplexity", true), ("95 % interval", true), ("windows", true), ("scored tokens", true));
        string interval = score.Losses.Length > 1 ? string.Create(culture, $"{score.Low:0.000} to {score.High:0.000}") : "needs 2 windows";
        table.AddPlain(score.Perplexity.ToString("0.0000", culture), interval, $"{score.Losses.Length} of {score.Window}", (score.Losses.Length * score.Scored).ToString(culture));
        terminal.Results.Write(table);
    }

    /// <summary>The windows' negative log-likelihoods and what follows from them.</summary>
    /// <param name="Losses">Summed over the scored tokens of each window.</param>
    /// <param name="Scored">Scored tokens in a window.</param>
    /// <param name="Window">Tokens in a window.</param>
    private sealed record Score(double[] Losses, int Scored, int Window)
    {
        private double Mean => Losses.Sum() / (Losses.Length * (double)Scored);

        /// <summary>exp of the mean loss.</summary>
        public double Perplexity => Math.Exp(Mean);

        /// <summary>Lower end of the 95 % interval.</summary>
        public double Low => Math.Exp(Mean - Margin);

        /// <summary>Upper end of the 95 % interval.</summary>
        public double High => Math.Exp(Mean + Margin);

        // Tokens of one window are alike, windows less so: the spread of window means is the honest one.
        private double Margin => Losses.Length < 2
            ? 0
            : 1.96 * Math.Sqrt(Losses.Sum(l => Math.Pow((l / Scored) - Mean, 2)) / (Losses.Length - 1) / Losses.Length);
    }
}
