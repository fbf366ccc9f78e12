using System.CommandLine;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using Antiphon.Server;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon serve</c>: models behind an OpenAI-compatible HTTP server.</summary>
internal static class ServeCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        Argument<string[]> paths = Checked.Positionals("[NAME=]MODEL", "Models: .gguf files or folders, each with a name for requests if wanted (default: Tales)", 0, 64);
        var host = new Option<string>("--host") { Description = "Address to listen on; * is every address", HelpName = "ADDRESS", DefaultValueFactory = _ => "127.0.0.1" };
        Option<int?> port = Checked.Whole("--port", "Port (default: 8080)", 0, 65535, "-p");
        var keys = new Option<string[]>("--api-key") { Description = "A key that requests must bring; may be given several times (better: --api-key-file)", HelpName = "KEY" };
        var keyFile = new Option<string?>("--api-key-file") { Description = "File with one key a line", HelpName = "FILE" };
        Option<int?> adminPort = Checked.Whole("--admin-port", "Port for loading and unloading models, on 127.0.0.1 only (default: off)", 1, 65535);
        var certificate = new Option<string?>("--tls-certificate") { Description = "PEM file with certificate and key: serve HTTPS", HelpName = "FILE" };
        var hosts = new Option<string[]>("--allowed-host") { Description = "Host name that requests may carry beside localhost; * is any", HelpName = "NAME" };
        var origins = new Option<string[]>("--cors-origin") { Description = "Origin that browsers may call from (default: none)", HelpName = "ORIGIN" };
        Option<int?> sequences = Checked.Whole("--max-sequences", "Most answers at once (default: 32)", 1, 4096);
        Option<int?> queue = Checked.Whole("--queue", "Most requests that may wait (default: 1024)", 0, 1 << 20);
        Option<int?> keepAlive = Checked.Whole("--keep-alive", "Seconds without a request after which a model is unloaded (default: never)", 1, int.MaxValue);
        var cacheFile = new Option<string?>("--cache-file") { Description = "File in which cached prefixes survive a restart (for one model); it holds users' texts", HelpName = "FILE" };
        var vllm = new Option<bool>("--vllm-metrics") { Description = "Write /metrics under vLLM's names, too" };
        var quiet = new Option<bool>("--quiet") { Description = "Log warnings only" };
        var command = new TaughtCommand(
            "serve",
            "Serves models over HTTP, as OpenAI's API does.",
            "antiphon serve model.gguf --port 8080",
            "antiphon serve small=a.gguf large=b.gguf --api-key-file keys.txt",
            "curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}'")
        {
            paths, host, port, keys, keyFile, adminPort, certificate, hosts, origins, sequences, queue, keepAlive, cacheFile, vllm, quiet,
        };
        var load = new ModelOptions(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.Logging.AddSimpleConsole(options => options.SingleLine = true);
            builder.Logging.SetMinimumLevel(parsed.GetValue(quiet) ? LogLevel.Warning : LogLevel.Information);
            builder.Logging.AddFilter("Microsoft", LogLevel.Warning);
            builder.Services.Configure<Microsoft.Extensions.Logging.Console.ConsoleLoggerOptions>(options => options.LogToStandardErrorThreshold = LogLevel.Trace);
            LanguageModelOptions options = load.Read(parsed);
            options = options with
            {
                Engine = options.Engine with
                {
                    MaxSequences = parsed.GetValue(sequences) ?? options.Engine.MaxSequences,
                    TokenBudget = Math.Max(options.Engine.TokenBudget, parsed.GetValue(sequences) ?? 0),
                    QueueLimit = parsed.GetValue(queue) ?? options.Engine.QueueLimit,
                },
            };
            if (parsed.GetValue(cacheFile) is not null && parsed.GetValue(paths)!.Length > 1)
            {
                throw new CommandException("--cache-file is for one model; serve the others from processes of their own, or leave it out", ExitCode.Usage);
            }

            builder.Services.AddAntiphon(server =>
            {
                foreach (ServedModelOptions model in Models(parsed.GetValue(paths)!, options, parsed.GetValue(keepAlive)))
                {
                    model.CacheFile = parsed.GetValue(cacheFile);
                    server.Models.Add(model);
                }

                Fill(server.ApiKeys, parsed.GetValue(keys));
                Fill(server.CorsOrigins, parsed.GetValue(origins));
                Fill(server.AllowedHosts, parsed.GetValue(hosts));
                server.ApiKeyFile = parsed.GetValue(keyFile);
                server.AdminPort = parsed.GetValue(adminPort);
                server.VllmMetricNames = parsed.GetValue(vllm);
            });
            Listen(builder, parsed.GetValue(host)!, parsed.GetValue(port) ?? 8080, parsed.GetValue(adminPort), parsed.GetValue(certificate));
            await using WebApplication app = builder.Build();
            try
            {
                app.MapAntiphon();
                await app.StartAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (IOException failure)
            {
                throw new CommandException($"cannot listen: {failure.Message}; choose another --port or --host");
            }
            catch (Microsoft.Extensions.Options.OptionsValidationException failure)
            {
                throw new CommandException(failure.Failures.First(), ExitCode.Usage);
            }

            ICollection<string> addresses = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses;
            session.Interrupts.DrainOnTerminate();
            await session.Terminal.Error.WriteLineAsync($"Listening on {string.Join(" and ", addresses)}; Ctrl-C stops").ConfigureAwait(false);
            await WaitAsync(app, cancellationToken).ConfigureAwait(false);
            await session.Terminal.Error.WriteLineAsync("Stopping: answers under way may finish").ConfigureAwait(false);
            await app.StopAsync(CancellationToken.None).ConfigureAwait(false);
            return ExitCode.Success;
        });
        return command;
    }

    private static IEnumerable<ServedModelOptions> Models(string[] paths, LanguageModelOptions load, int? keepAlive)
    {
        TimeSpan? keep = keepAlive is int seconds ? TimeSpan.FromSeconds(seconds) : null;
        if (paths.Length == 0)
        {
            yield return new ServedModelOptions
            {
                Id = "tales",
                Path = "(built in)",
                Load = load,
                Loader = (options, cancellationToken) => Tales.LoadAsync(options, null, cancellationToken),
                KeepAlive = keep,
            };
        }

        foreach (string path in paths)
        {
            int equals = path.IndexOf('=', StringComparison.Ordinal);
            string file = equals < 0 ? path : path[(equals + 1)..];
            if (!File.Exists(file) && !Directory.Exists(file))
            {
                throw new CommandException($"there is no file or folder '{file}'; give the path of a .gguf file or a model folder");
            }

            string name = equals < 0 ? Path.GetFileNameWithoutExtension(file.TrimEnd('/', '\\')) : path[..equals];
            yield return new ServedModelOptions { Id = name, Path = file, Load = load, KeepAlive = keep };
        }
    }

    private static void Fill(IList<string> list, string[]? values)
    {
        foreach (string value in values ?? [])
        {
            list.Add(value);
        }
    }

    private static void Listen(WebApplicationBuilder builder, string host, int port, int? adminPort, string? certificate)
    {
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            // The body limit is checked where bodies are read, which answers with an error body.
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.AddServerHeader = false;
            if (host is "*")
            {
                kestrel.ListenAnyIP(port, Configure);
            }
            else if (host is "localhost")
            {
                kestrel.ListenLocalhost(port, Configure);
            }
            else
            {
                kestrel.Listen(IPAddress.TryParse(host, out IPAddress? address) ? address : throw new CommandException($"--host '{host}' must be an IP address, localhost or *", ExitCode.Usage), port, Configure);
            }

            if (adminPort is int admin)
            {
                kestrel.Listen(IPAddress.Loopback, admin, Configure);
            }
        });

        void Configure(ListenOptions listen)
        {
            if (certificate is not null)
            {
                try
                {
                    var own = X509Certificate2.CreateFromPemFile(certificate);
                    var chain = new X509Certificate2Collection();
                    chain.ImportFromPemFile(certificate);
                    listen.UseHttps(https => (https.ServerCertificate, https.ServerCertificateChain) = (own, chain));
                }
                catch (Exception failure) when (failure is IOException or System.Security.Cryptography.CryptographicException)
                {
                    throw new CommandException($"--tls-certificate '{certificate}' cannot be used: {failure.Message}");
                }
            }
        }
    }

    private static async Task WaitAsync(WebApplication app, CancellationToken cancellationToken)
    {
        var stopped = new TaskCompletionSource();
        await using CancellationTokenRegistration byCaller = cancellationToken.Register(() => stopped.TrySetResult());
        await using CancellationTokenRegistration byHost = app.Lifetime.ApplicationStopping.Register(() => stopped.TrySetResult());
        await stopped.Task.ConfigureAwait(false);
    }
}
