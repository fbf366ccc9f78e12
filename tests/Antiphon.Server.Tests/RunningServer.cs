using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Antiphon.Engine;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Antiphon.Server.Tests;

/// <summary>A server on a free port of this machine, with Tales.</summary>
public sealed class RunningServer : IAsyncDisposable
{
    private RunningServer(WebApplication app, Uri address)
    {
        App = app;
        Client = new HttpClient { BaseAddress = address, Timeout = TimeSpan.FromMinutes(2) };
    }

    public WebApplication App { get; }

    public HttpClient Client { get; }

    public Uri Address => Client.BaseAddress!;

    internal ModelRegistry Models => App.Services.GetRequiredService<ModelRegistry>();

    public InferenceEngine Engine => Models.Loaded()[0].Engine;

    /// <summary>What the server logged.</summary>
    public LogLines Log { get; private init; } = null!;

    public static async Task<RunningServer> StartAsync(Action<AntiphonServerOptions>? configure = null, EngineOptions? engine = null, Action<WebApplication>? map = null, bool listenOnAdminPort = true)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        var log = new LogLines();
        builder.Logging.ClearProviders();
        builder.Logging.AddProvider(log);
        builder.Logging.AddFilter("Microsoft", LogLevel.Warning);
        builder.Services.AddAntiphon(options =>
        {
            options.Models.Add(new ServedModelOptions
            {
                Id = "tales",
                Path = "(built in)",
                Aliases = ["gpt-4o-mini"],
                Loader = static (load, cancellationToken) => Tales.LoadAsync(load, null, cancellationToken),
                Load = new LanguageModelOptions { Engine = engine ?? new EngineOptions() },
            });
            configure?.Invoke(options);
        });
        int? admin = null;
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0);
            var probe = new AntiphonServerOptions();
            configure?.Invoke(probe);
            admin = probe.AdminPort;
            if (admin is int port && listenOnAdminPort)
            {
                kestrel.Listen(IPAddress.Loopback, port);
            }
        });
        WebApplication app = builder.Build();
        app.MapAntiphon();
        map?.Invoke(app);
        await app.StartAsync();
        string address = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First(a => admin is null || !a.EndsWith($":{admin}", StringComparison.Ordinal));
        var server = new RunningServer(app, new Uri(address)) { Log = log };
        for (int i = 0; (await server.Client.GetAsync("/ready")).StatusCode != HttpStatusCode.OK; i++)
        {
            Assert.True(i < 600, "the server did not become ready");
            await Task.Delay(50);
        }

        return server;
    }

    public async Task<(int Status, JsonNode? Body)> PostAsync(string path, string json, string? key = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent(json, Encoding.UTF8, "application/json") };
        if (key is not null)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        }

        using HttpResponseMessage response = await Client.SendAsync(request);
        string text = await response.Content.ReadAsStringAsync();
        return ((int)response.StatusCode, text.Length == 0 ? null : JsonNode.Parse(text));
    }

    /// <summary>Posts and expects success.</summary>
    public async Task<JsonNode> OkAsync(string path, JsonNode request)
    {
        (int status, JsonNode? body) = await PostAsync(path, request.ToJsonString());
        Assert.True(status == 200, $"{status}: {body}");
        return body!;
    }

    /// <summary>Posts with <c>stream: true</c> and returns all events; the last must be [DONE].</summary>
    public async Task<List<JsonNode>> StreamAsync(string path, JsonObject request)
    {
        request = (JsonObject)request.DeepClone();
        request["stream"] = true;
        using var message = new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent(request.ToJsonString(), Encoding.UTF8, "application/json") };
        using HttpResponseMessage response = await Client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
        List<JsonNode> events = [];
        bool done = false;
        foreach (string line in (await response.Content.ReadAsStringAsync()).Split('\n'))
        {
            if (line.StartsWith("data: ", StringComparison.Ordinal))
            {
                Assert.False(done, "an event behind [DONE]");
                if (line == "data: [DONE]")
                {
                    done = true;
                }
                else
                {
                    events.Add(JsonNode.Parse(line[6..])!);
                }
            }
            else
            {
                Assert.True(line.Length == 0 || line[0] == ':', line);
            }
        }

        Assert.True(done, "no [DONE]");
        return events;
    }

    /// <summary>Sends bytes as they are and returns all that comes back until the server closes the connection.</summary>
    public async Task<string> RawAsync(string request)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, Address.Port);
        NetworkStream stream = client.GetStream();
        var answer = new MemoryStream();
        try
        {
            await stream.WriteAsync(Encoding.Latin1.GetBytes(request));
            await stream.CopyToAsync(answer);
        }
        catch (IOException)
        {
            // Closed before all was read: what came is there.
        }

        return Encoding.UTF8.GetString(answer.ToArray());
    }

    /// <summary>Starts a streamed answer and returns once its first piece is there.</summary>
    public async Task<(HttpResponseMessage Response, StreamReader Reader)> BeginStreamAsync(string path, string json)
    {
        var message = new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent(json, Encoding.UTF8, "application/json") };
        HttpResponseMessage response = await Client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        string? line;
        while ((line = await reader.ReadLineAsync()) is not null && !line.StartsWith("data: {", StringComparison.Ordinal))
        {
        }

        Assert.NotNull(line);
        return (response, reader);
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await App.StopAsync();
        await App.DisposeAsync();
    }
}

/// <summary>Keeps what was logged last.</summary>
public sealed class LogLines : ILoggerProvider, ILogger
{
    // Long runs log a line for each request.
    private const int Kept = 4096;

    private readonly ConcurrentQueue<string> lines = new();

    public IReadOnlyList<string> Lines => [.. lines];

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        lines.Enqueue($"{logLevel}: {formatter(state, exception)} {exception?.Message}");
        while (lines.Count > Kept && lines.TryDequeue(out _))
        {
        }
    }

    public void Dispose()
    {
    }
}

/// <summary>A policy that can hold the engine up, or make it fail, once two sequences run at once.</summary>
public sealed class FaultyPolicy : ISchedulingPolicy
{
    public const string Secret = "object at 0x7fff1234";

    public string Name => "faulty";

    public bool PreemptsForAdmission => false;

    public bool Broken { get; set; }

    public ManualResetEventSlim Gate { get; } = new(true);

    public int Compare(in SchedulingEntry left, in SchedulingEntry right)
    {
        Gate.Wait();
        return Broken ? throw new InvalidOperationException(Secret) : left.Order.CompareTo(right.Order);
    }
}

/// <summary>A clock that takes its time on the engine's thread, so that answers last.</summary>
public sealed class SlowClock : TimeProvider
{
    public override long GetTimestamp()
    {
        if (Thread.CurrentThread.Name == "Antiphon engine")
        {
            Thread.Sleep(2);
        }

        return base.GetTimestamp();
    }
}

/// <summary>One server for all tests of a class.</summary>
public sealed class ServerFixture : IAsyncLifetime
{
    public RunningServer Server { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Server = await RunningServer.StartAsync();

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}
