using System.CommandLine;
using System.Globalization;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Spectre.Console;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon bench serve</c>: how a server behaves under load.</summary>
internal static class BenchServeCommand
{
    // Every piece of every answer is kept with its time until the report is made.
    private const long MostTokens = 20_000_000;

    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        Argument<string[]> words = Checked.Positionals("MODEL", "A .gguf file or a model folder to serve inside this process (default: Tales); not with --url", 0, 1);
        var url = new Option<string?>("--url") { Description = "A running OpenAI-compatible server instead", HelpName = "URL" };
        var key = new Option<string?>("--api-key") { Description = "Its key (better: the environment variable ANTIPHON_API_KEY)", HelpName = "KEY" };
        var name = new Option<string?>("--model") { Description = "The model's name there", HelpName = "NAME" };
        var remote = new Option<bool>("--allow-remote") { Description = "Allow a --url that is not this machine: the load may disturb others" };
        var chat = new Option<bool>("--chat") { Description = "Use chat completions instead of completions" };
        Option<int?> requests = Checked.Whole("--requests", "Requests to send (default: 64)", 1, 100_000);
        Option<int?> clients = Checked.Whole("--concurrency", "Closed loop: so many clients, each waits for its answer (default: 4)", 1, 2048);
        Option<float?> rate = Checked.Number("--rate", "Open loop: requests per second, at random times (Poisson)", 0, 100_000, false);
        var trace = new Option<string?>("--trace") { Description = "Replay a trace (Azure CSV or Mooncake JSONL, .gz too)", HelpName = "FILE" };
        Option<float?> speed = Checked.Number("--speed", "How many times faster than recorded a trace is replayed (default: 1)", 0, 1e6f, false);
        Option<float?> scale = Checked.Number("--length-scale", "Factor on a trace's lengths (default: 1)", 0, 100, false);
        Option<int?> prompt = Checked.Whole("--prompt-tokens", "Tokens of each prompt (default: 128)", 1, 1 << 20);
        Option<int?> output = Checked.Whole("--output-tokens", "Tokens of each answer (default: 32)", 1, 1 << 20);
        Option<int?> shared = Checked.Whole("--shared-prefix", "Percent of each prompt that all have in common (default: 0)", 0, 100);
        Option<int?> warm = Checked.Whole("--warmup", "Requests of the same kind to send and forget first, so that a server that has just started is not measured (default: 0)", 0, 100_000);
        Option<float?> firstTarget = Checked.Number("--ttft-target", "Goodput: most milliseconds to the first token", 0, 1e9f, false);
        Option<float?> tokenTarget = Checked.Number("--itl-target", "Goodput: most milliseconds per further token, as the mean of a request", 0, 1e9f, false);
        Option<int?> limit = Checked.Whole("--max-seconds", "Ends the run; what is not complete by then counts as failed (default: 600)", 1, 86_400);
        Option<int?> seed = Checked.Whole("--seed", "Seed of texts and times (default: a new one, so that no text is in the server's cache)", 0, int.MaxValue);
        var json = new Option<string?>("--json") { Description = "Write the results as JSON (- for standard output)", HelpName = "FILE" };
        var svg = new Option<string?>("--svg") { Description = "Draw the results", HelpName = "FILE" };
        var command = new TaughtCommand(
            "serve",
            "Puts load on a server over HTTP and reports throughput and latencies. Times count from when a request was due.",
            "antiphon bench serve model.gguf --concurrency 16 --svg load.svg",
            "antiphon bench serve model.gguf --rate 2 --requests 200 --ttft-target 500 --itl-target 100",
            "antiphon bench serve --url http://127.0.0.1:8080 --trace AzureLLMInferenceTrace_conv.csv --speed 2 --json load.json")
        {
            words, url, key, name, remote, chat, requests, clients, rate, trace, speed, scale, prompt, output, shared, warm, firstTarget, tokenTarget, limit, seed, json, svg,
        };
        var load = new ModelOptions(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string? path = parsed.GetValue(words) is [string given] ? given : null;
            int modes = (parsed.GetValue(clients) is null ? 0 : 1) + (parsed.GetValue(rate) is null ? 0 : 1) + (parsed.GetValue(trace) is null ? 0 : 1);
            if (modes > 1)
            {
                throw new CommandException("--concurrency, --rate and --trace are three ways to send requests; give one of them", ExitCode.Usage);
            }

            if (path is not null && parsed.GetValue(url) is not null)
            {
                throw new CommandException($"'{path}' would be served here, but --url names a running server; give one of them (a model's name there is --model)", ExitCode.Usage);
            }

            int count = parsed.GetValue(requests) ?? 64;
            int run = parsed.GetValue(seed) ?? Random.Shared.Next();
            var size = new LoadPlan.Size(parsed.GetValue(prompt) ?? 128, parsed.GetValue(output) ?? 32, parsed.GetValue(shared) ?? 0);
            LoadPlan plan = parsed.GetValue(trace) is { } file ? TraceFile.Read(file, count, parsed.GetValue(speed) ?? 1, parsed.GetValue(scale) ?? 1)
                : parsed.GetValue(rate) is float perSecond ? LoadPlan.Poisson(count, perSecond, size, run)
                : LoadPlan.Closed(count, parsed.GetValue(clients) ?? 4, size);
            if (plan.Requests.Sum(r => (long)r.OutputTokens) > MostTokens)
            {
                throw new CommandException($"these are more than {MostTokens} tokens of answers; use fewer --requests or shorter answers", ExitCode.Usage);
            }

            Uri? address = parsed.GetValue(url) is { } text ? Address(text, parsed.GetValue(remote)) : null;
            WebApplication? own = null;
            try
            {
                if (address is null)
                {
                    LanguageModel model = await session.LoadAsync(path, load.Read(parsed), cancellationToken).ConfigureAwait(false);
                    (own, address) = await LocalServer.StartAsync(model, cancellationToken).ConfigureAwait(false);
                }

                using var client = new LoadClient(
                    address, parsed.GetValue(key) ?? Environment.GetEnvironmentVariable("ANTIPHON_API_KEY"), parsed.GetValue(name), parsed.GetValue(chat));
                (IReadOnlyList<RequestRecord> records, double seconds) = await session.Terminal.WithProgressAsync(
                    "Measuring",
                    async progress =>
                    {
                        double tokensPerWord = await LoadGenerator.TokensPerWordAsync(client, run, cancellationToken).ConfigureAwait(false);
                        TimeSpan most = TimeSpan.FromSeconds(parsed.GetValue(limit) ?? 600);
                        if (parsed.GetValue(warm) is int early and > 0)
                        {
                            LoadPlan first = LoadPlan.Closed(early, plan.Clients ?? Math.Min(early, 16), size);
                            await LoadGenerator.RunAsync(client, first, new PromptText(tokensPerWord, run ^ 1), most, progress, cancellationToken).ConfigureAwait(false);
                        }

                        return await LoadGenerator.RunAsync(client, plan, new PromptText(tokensPerWord, run), most, progress, cancellationToken).ConfigureAwait(false);
                    }).ConfigureAwait(false);
                string server = own is null ? $"{parsed.GetValue(name) ?? "the server"} at {address.GetLeftPart(UriPartial.Authority)}" : $"{Session.Name(path)}, served in this process";
                var report = new LoadReport(server, plan.Description, run, records, seconds, parsed.GetValue(firstTarget) / 1e3, parsed.GetValue(tokenTarget) / 1e3);
                Write(session.Terminal, report, parsed.GetValue(json), parsed.GetValue(svg));
                return report.Good.Count > 0
                    ? ExitCode.Success
                    : throw new CommandException($"no request was answered: {report.Errors.Select(e => e.Key).FirstOrDefault() ?? "none was due"}");
            }
            finally
            {
                if (own is not null)
                {
                    await own.StopAsync(CancellationToken.None).ConfigureAwait(false);
                    await own.DisposeAsync().ConfigureAwait(false);
                }
            }
        });
        return command;
    }

    private static Uri Address(string text, bool remote)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out Uri? address) || address.Scheme is not ("http" or "https") || address.UserInfo.Length > 0)
        {
            throw new CommandException($"--url '{text}' must be like http://127.0.0.1:8080", ExitCode.Usage);
        }

        bool here = address.IdnHost is "localhost" || (IPAddress.TryParse(address.IdnHost.Trim('[', ']'), out IPAddress? ip) && IPAddress.IsLoopback(ip));
        return here || remote ? address : throw new CommandException($"--url '{text}' is not this machine; --allow-remote puts load on it all the same", ExitCode.Usage);
    }

    private static void Write(Terminal terminal, LoadReport report, string? json, string? svg)
    {
        if (svg is not null)
        {
            TextFiles.Write(svg, LoadChart.Of(report));
        }

        if (json is not null and not "-")
        {
            TextFiles.Write(json, report.ToJson());
        }

        foreach (IGrouping<string, RequestRecord> group in report.Errors.Take(5))
        {
            terminal.Error.WriteLine($"antiphon bench serve: {group.Count()} failed: {string.Concat(group.Key.Select(c => char.IsControl(c) ? ' ' : c))}");
        }

        if (json is "-")
        {
            terminal.Out.WriteLine(report.ToJson());
            return;
        }

        CultureInfo culture = CultureInfo.InvariantCulture;
        terminal.Out.WriteLine($"{report.Server}: {report.Plan}, seed {report.Seed}");
        Table figures = Tables.Create(terminal, ("", false), ("mean", true), ("p50", true), ("p90", true), ("p99", true), ("max", true));
        foreach ((_, string title, Distribution values) in report.Distributions)
        {
            figures.AddPlain([title, .. values.Sorted.Length == 0 ? Enumerable.Repeat("-", 5) : new[] { values.Mean, values.At(0.5), values.At(0.9), values.At(0.99), values.At(1) }.Select(LoadChart.Time)]);
        }

        terminal.Results.Write(figures);
        terminal.Out.WriteLine(string.Create(
            culture,
            $"{report.Good.Count} of {report.Records.Count} requests answered in {report.Seconds:0.0} s: {report.OutputPerSecond:N1} output tokens/s, {report.PromptPerSecond:N1} prompt tokens/s ({report.CachedShare:0.0 %} cached), {report.RequestsPerSecond:0.00} requests/s"));
        if (report.FirstTarget is not null || report.TokenTarget is not null)
        {
            string aims = string.Join(" and ", new[]
            {
                report.FirstTarget is double first ? $"first token within {LoadChart.Time(first)}" : null,
                report.TokenTarget is double token ? $"{LoadChart.Time(token)} per further token" : null,
            }.OfType<string>());
            terminal.Out.WriteLine(string.Create(culture, $"Goodput: {report.OnTarget} requests ({report.Goodput:0.00}/s) had {aims}"));
        }
    }
}
