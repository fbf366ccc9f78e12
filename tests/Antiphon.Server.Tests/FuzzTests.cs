using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Antiphon.Engine;

namespace Antiphon.Server.Tests;

/// <summary>
/// Requests made from the server's own OpenAPI document, right and wrong ones. 1,000; 5,000 with <c>ANTIPHON_LONG=1</c>; another seed with
/// <c>ANTIPHON_FUZZ_SEED</c>.
/// </summary>
public sealed class FuzzTests
{
    private const int Clients = 8;
    private static readonly TimeSpan Hang = TimeSpan.FromSeconds(90);

    [Fact]
    public async Task No_request_breaks_the_server()
    {
        int count = Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1" ? 5000 : 1000;
        int seed = int.TryParse(Environment.GetEnvironmentVariable("ANTIPHON_FUZZ_SEED"), CultureInfo.InvariantCulture, out int given) ? given : 20260704;
        int adminPort = FreePort();

        // A short context keeps valid requests with a huge max_tokens short.
        await using RunningServer server = await RunningServer.StartAsync(options => options.AdminPort = adminPort, new EngineOptions { ContextLength = 160, BlockCount = 512 });
        JsonNode document = JsonNode.Parse(await server.Client.GetStringAsync("/openapi.json"))!;
        (string Path, string Method, JsonNode Operation)[] operations =
            [.. document["paths"]!.AsObject().SelectMany(p => p.Value!.AsObject().Select(m => (p.Key, m.Key, m.Value!)))];
        Assert.True(operations.Length >= 10, "the document lists hardly any endpoint");

        ConcurrentBag<string> wrong = [];
        ConcurrentDictionary<(string Path, int Status), int> seen = new();
        ConcurrentDictionary<string, int> refused = new();
        int next = -1;
        await Task.WhenAll(Enumerable.Range(0, Clients).Select(_ => Task.Run(async () =>
        {
            for (int i = Interlocked.Increment(ref next); i < count && wrong.Count < 20; i = Interlocked.Increment(ref next))
            {
                // Each request has its own seed, so that one that fails can be made again alone.
                var random = new Random(seed + i);
                var fuzzer = new SchemaFuzzer(document, random);
                (string path, string method, JsonNode operation) = random.Next(8) == 0
                    ? operations[random.Next(operations.Length)]
                    : operations.Where(o => o.Operation["requestBody"] is not null).ElementAt(random.Next(operations.Count(o => o.Operation["requestBody"] is not null)));
                await SendAsync(server, adminPort, fuzzer, random, path, method, operation, $"seed {seed + i}", seen, refused, wrong);
            }
        })));

        TestContext.Current.TestOutputHelper?.WriteLine($"{count} requests, seed {seed}: {string.Join(", ", seen.OrderBy(p => p.Key).Select(p => $"{p.Key.Path} {p.Key.Status}: {p.Value}"))}");
        TestContext.Current.TestOutputHelper?.WriteLine($"requests that fit the document and were refused:\n{string.Join('\n', refused.OrderByDescending(p => p.Value).Take(30).Select(p => $"{p.Value} {p.Key}"))}");
        Assert.True(wrong.IsEmpty, $"seed {seed}, {wrong.Count} wrong:\n{string.Join('\n', wrong.Take(10))}");
        foreach ((string path, _, _) in operations.Where(o => o.Operation["requestBody"] is not null && !o.Path.StartsWith("/admin", StringComparison.Ordinal)))
        {
            Assert.True(seen.ContainsKey((path, 200)), $"no request to {path} was right: the fuzzer tests only the first check");
            Assert.True(seen.ContainsKey((path, 400)), $"no request to {path} was wrong");
        }

        (int status, _) = await server.PostAsync("/v1/completions", """{"prompt":"The fox","max_tokens":3}""");
        Assert.Equal(200, status);
        EngineStatistics statistics = server.Engine.GetStatistics();
        Assert.Equal(0, statistics.ForwardFailures);
    }

    private static async Task SendAsync(
        RunningServer server, int adminPort, SchemaFuzzer fuzzer, Random random, string path, string method, JsonNode operation, string name,
        ConcurrentDictionary<(string, int), int> seen, ConcurrentDictionary<string, int> refused, ConcurrentBag<string> wrong)
    {
        string target = path.Replace("{model}", fuzzer.PathPiece());
        var address = new UriBuilder(server.Address) { Port = path.StartsWith("/admin", StringComparison.Ordinal) ? adminPort : server.Address.Port }.Uri;
        using var request = new HttpRequestMessage(new HttpMethod(method.ToUpperInvariant()), new Uri(address, target));
        byte[] body = [];
        bool fits = false;
        if (operation["requestBody"]?["content"]?["application/json"]?["schema"] is JsonNode schema)
        {
            JsonNode? valid = fuzzer.Valid(schema);
            fits = random.Next(3) == 0;
            body = fits ? SchemaFuzzer.Bytes(valid) : fuzzer.Mutated(valid);
            request.Content = new ByteArrayContent(body);
            string type = random.Next(40) == 0 ? "text/plain" : "application/json";
            request.Content.Headers.TryAddWithoutValidation("Content-Type", type);
        }

        string what = $"{name} {method} {target} {Encoding.UTF8.GetString(body.AsSpan(0, Math.Min(body.Length, 600)))}";
        try
        {
            using var limit = new CancellationTokenSource(Hang);
            using HttpResponseMessage response = await server.Client.SendAsync(request, limit.Token);
            string text = await response.Content.ReadAsStringAsync(limit.Token);
            int status = (int)response.StatusCode;
            seen.AddOrUpdate((path, status), 1, static (_, n) => n + 1);
            if (fits && status == 400)
            {
                refused.AddOrUpdate(text[..Math.Min(text.Length, 200)], 1, static (_, n) => n + 1);
            }

            string? problem = Problem(status, response.Content.Headers.ContentType?.MediaType, text, path);
            if (problem is not null)
            {
                wrong.Add($"{problem}: {what}\n  -> {status} {text[..Math.Min(text.Length, 400)]}");
            }
        }
        catch (OperationCanceledException)
        {
            wrong.Add($"no answer within {Hang}: {what}");
        }
        catch (HttpRequestException failure)
        {
            wrong.Add($"the connection broke ({failure.Message}): {what}");
        }
    }

    private static string? Problem(int status, string? type, string text, string path)
    {
        if (status >= 500 && status != 503)
        {
            return "a failure of the server";
        }

        try
        {
            if (type == "text/event-stream")
            {
                return text.EndsWith("data: [DONE]\n\n", StringComparison.Ordinal) ? null : "a stream without end";
            }

            if (path == "/metrics")
            {
                return null;
            }

            using JsonDocument answer = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 256 });
            if (status >= 400 && path is not ("/health" or "/ready"))
            {
                JsonElement error = answer.RootElement.GetProperty("error");
                return error.GetProperty("message").GetString()!.Length > 0 && error.GetProperty("type").GetString()!.Length > 0
                    && error.GetProperty("param").ValueKind is JsonValueKind.String or JsonValueKind.Null && error.GetProperty("code").ValueKind is JsonValueKind.String or JsonValueKind.Null
                    ? null
                    : "an error body without its fields";
            }

            return null;
        }
        catch (Exception failure) when (failure is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return $"a body that is not as it should be ({failure.Message})";
        }
    }

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }
}
