using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Unicode;
using Antiphon.Engine;

namespace Antiphon.Server.Tests;

/// <summary>
/// Requests made from the server's own OpenAPI document, right and wrong ones: what fits the document is answered, or refused with a code that the document lists for
/// what a schema cannot say; what does not fit is refused; and nothing fails. 1,000; 5,000 with <c>ANTIPHON_LONG=1</c>; any number with
/// <c>ANTIPHON_FUZZ_REQUESTS</c>; another seed with <c>ANTIPHON_FUZZ_SEED</c>.
/// </summary>
public sealed class FuzzTests
{
    private const int Clients = 8;
    private static readonly TimeSpan Hang = TimeSpan.FromSeconds(90);

    private readonly ConcurrentBag<string> wrong = [];
    private readonly ConcurrentDictionary<(string Path, bool Fits, int Status), int> seen = new();
    private readonly ConcurrentDictionary<string, int> codes = new();
    private RunningServer server = null!;
    private int adminPort;
    private JsonElement document;
    private SchemaCheck check = null!;
    private HashSet<string> beyondSchema = [];

    [Fact]
    public async Task No_request_breaks_the_server()
    {
        int count = Number("ANTIPHON_FUZZ_REQUESTS") ?? (Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1" ? 5000 : 1000);
        int seed = Number("ANTIPHON_FUZZ_SEED") ?? 20260704;
        adminPort = FreePort();

        // A short context keeps valid requests with a huge max_tokens short.
        await using RunningServer running = await RunningServer.StartAsync(options => options.AdminPort = adminPort, new EngineOptions { ContextLength = 160, BlockCount = 512 });
        server = running;
        string text = await server.Client.GetStringAsync("/openapi.json");
        JsonNode nodes = JsonNode.Parse(text)!;
        document = JsonDocument.Parse(text).RootElement;
        check = new SchemaCheck(document);
        beyondSchema = [.. document.GetProperty("components").GetProperty("responses").GetProperty("Invalid").GetProperty("x-beyond-schema").EnumerateObject().Select(code => code.Name)];
        Operation[] operations = [.. document.GetProperty("paths").EnumerateObject().SelectMany(p => p.Value.EnumerateObject().Select(m => new Operation(p.Name, m.Name, m.Value, Schema(m.Value))))];
        Operation[] withBody = [.. operations.Where(o => o.Schema is not null)];
        Assert.True(operations.Length >= 10 && withBody.Length >= 6, "the document lists hardly any endpoint");

        int next = -1;
        await Task.WhenAll(Enumerable.Range(0, Clients).Select(_ => Task.Run(async () =>
        {
            for (int i = Interlocked.Increment(ref next); i < count && wrong.Count < 20; i = Interlocked.Increment(ref next))
            {
                // Each request has its own seed, so that one that fails can be made again alone.
                var random = new Random(seed + i);
                Operation operation = random.Next(8) == 0 ? operations[random.Next(operations.Length)] : withBody[random.Next(withBody.Length)];
                await SendAsync(operation, new SchemaFuzzer(nodes, check, random), random, $"seed {seed + i}");
            }
        })));

        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{count} requests, seed {seed}:\n{string.Join('\n', seen.OrderBy(p => p.Key).Select(p => $"{p.Key.Path} {(p.Key.Fits ? "right" : "wrong")} {p.Key.Status}: {p.Value}"))}\n"
            + $"right by the document and refused: {string.Join(", ", codes.OrderBy(p => p.Key).Select(p => $"{p.Key} {p.Value}"))}");
        Assert.True(wrong.IsEmpty, $"seed {seed}, {wrong.Count} wrong:\n{string.Join('\n', wrong.Take(10))}");
        foreach (Operation operation in withBody.Where(o => !o.Path.StartsWith("/admin", StringComparison.Ordinal)))
        {
            Assert.True(seen.ContainsKey((operation.Path, true, 200)), $"no request to {operation.Path} was answered: the fuzzer tests only refusals");
            Assert.True(seen.ContainsKey((operation.Path, false, 400)), $"no request to {operation.Path} was wrong");
        }

        (int status, _) = await server.PostAsync("/v1/completions", """{"prompt":"The fox","max_tokens":3}""");
        Assert.Equal(200, status);
        EngineStatistics statistics = server.Engine.GetStatistics();
        Assert.Equal(0, statistics.ForwardFailures);
        Assert.Equal((0, 0, 0), (statistics.Running, statistics.Waiting, statistics.CacheBlocksUsed));
    }

    private JsonElement? Schema(JsonElement operation) =>
        operation.TryGetProperty("requestBody", out JsonElement body) ? check.Resolve(body.GetProperty("content").GetProperty("application/json").GetProperty("schema").GetProperty("$ref")) : null;

    private async Task SendAsync(Operation operation, SchemaFuzzer fuzzer, Random random, string name)
    {
        string target = operation.Path.Replace("{model}", fuzzer.PathPiece());
        bool admin = operation.Path.StartsWith("/admin", StringComparison.Ordinal);
        var address = new UriBuilder(server.Address) { Port = admin ? adminPort : server.Address.Port }.Uri;
        using var request = new HttpRequestMessage(new HttpMethod(operation.Method.ToUpperInvariant()), new Uri(address, target));
        byte[] body = [];
        bool fits = true;
        string? misfit = null;
        if (operation.Schema is JsonElement schema)
        {
            JsonNode? valid = fuzzer.Valid(JsonNode.Parse(schema.GetRawText())!);
            body = random.Next(2) == 0 ? SchemaFuzzer.Bytes(valid) : fuzzer.Mutated(valid);
            misfit = Misfit(schema, body);
            request.Content = new ByteArrayContent(body);
            string type = random.Next(40) == 0 ? "text/plain" : "application/json";
            misfit = type == "text/plain" ? "no JSON" : misfit;
            fits = misfit is null;
            request.Content.Headers.TryAddWithoutValidation("Content-Type", type);
        }

        string what = $"{name} {operation.Method} {target} ({misfit ?? "fits"}) {Encoding.UTF8.GetString(body.AsSpan(0, Math.Min(body.Length, 800)))}";
        try
        {
            using var limit = new CancellationTokenSource(Hang);
            using HttpResponseMessage response = await server.Client.SendAsync(request, limit.Token);
            string text = await response.Content.ReadAsStringAsync(limit.Token);
            int status = (int)response.StatusCode;
            seen.AddOrUpdate((operation.Path, fits, status), 1, static (_, n) => n + 1);
            string? problem = Problem(operation, fits, status, response.Content.Headers.ContentType?.MediaType, text);
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

    /// <summary>Why a body does not fit the document, or null.</summary>
    private string? Misfit(JsonElement schema, byte[] body)
    {
        try
        {
            if (!Utf8.IsValid(body))
            {
                return "not UTF-8";
            }

            using JsonDocument parsed = JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = 64 });
            CheckText(parsed.RootElement);
            return check.Problem(schema, parsed.RootElement);
        }
        catch (Exception failure) when (failure is JsonException or InvalidOperationException)
        {
            return failure.Message;
        }
    }

    /// <summary>Throws where a text holds half a surrogate pair.</summary>
    private static void CheckText(JsonElement value)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.String:
                value.GetString();
                break;
            case JsonValueKind.Array:
                foreach (JsonElement entry in value.EnumerateArray())
                {
                    CheckText(entry);
                }

                break;
            case JsonValueKind.Object:
                foreach (JsonProperty property in value.EnumerateObject())
                {
                    _ = property.Name;
                    CheckText(property.Value);
                }

                break;
        }
    }

    private string? Problem(Operation operation, bool fits, int status, string? type, string text)
    {
        try
        {
            if (status >= 500 && status != 503)
            {
                return "a failure of the server";
            }

            if (status is >= 400 and not 503)
            {
                return RefusalProblem(operation, fits, status, text);
            }

            if (!fits)
            {
                return "what does not fit the document was answered";
            }

            if (status == 503)
            {
                return null;
            }

            if (type == "text/event-stream")
            {
                return StreamProblem(text);
            }

            JsonElement content = operation.Definition.GetProperty("responses").GetProperty("200").GetProperty("content");
            return content.TryGetProperty("application/json", out JsonElement described) && JsonDocument.Parse(text) is { } answer
                ? check.Problem(described.GetProperty("schema"), answer.RootElement)
                : null;
        }
        catch (Exception failure) when (failure is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return $"a body that is not as it should be ({failure.Message})";
        }
    }

    private string? RefusalProblem(Operation operation, bool fits, int status, string text)
    {
        using JsonDocument answer = JsonDocument.Parse(text);
        JsonElement error = answer.RootElement.GetProperty("error");
        string? code = error.GetProperty("code").GetString();
        if (check.Problem(document.GetProperty("components").GetProperty("schemas").GetProperty("ErrorBody"), answer.RootElement) is string problem)
        {
            return problem;
        }

        if (!operation.Definition.GetProperty("responses").TryGetProperty(status.ToString(CultureInfo.InvariantCulture), out _))
        {
            return "a status that the document does not list for this path";
        }

        if (fits && status == 400)
        {
            codes.AddOrUpdate(code ?? "null", 1, static (_, n) => n + 1);
            return code is not null && beyondSchema.Contains(code) ? null : "what fits the document was refused";
        }

        return fits || status is 400 or 404 or 413 or 415 ? null : "what does not fit the document was refused otherwise than with 400";
    }

    private static string? StreamProblem(string text)
    {
        if (!text.EndsWith("data: [DONE]\n\n", StringComparison.Ordinal))
        {
            return "a stream without end";
        }

        foreach (string line in text.Split('\n').Where(line => line.StartsWith("data: {", StringComparison.Ordinal)))
        {
            using JsonDocument chunk = JsonDocument.Parse(line[6..]);
            if (chunk.RootElement.TryGetProperty("error", out _))
            {
                return "a stream with an error";
            }
        }

        return null;
    }

    private static int? Number(string variable) => int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out int given) ? given : null;

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    private sealed record Operation(string Path, string Method, JsonElement Definition, JsonElement? Schema);
}
