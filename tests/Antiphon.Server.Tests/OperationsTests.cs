using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Net;
using System.Reflection;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Antiphon.Engine;
using Antiphon.Testing;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;

namespace Antiphon.Server.Tests;

public sealed class OperationsTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    private RunningServer Server => fixture.Server;

    [Fact]
    public async Task The_openapi_document_describes_every_route()
    {
        JsonNode document = JsonNode.Parse(await Server.Client.GetStringAsync("/openapi.json"))!;
        foreach (RouteEndpoint route in Server.App.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>())
        {
            string path = route.RoutePattern.RawText!.Replace("{**model}", "{model}");
            string method = route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods.Single().ToLowerInvariant();
            Assert.NotNull(document["paths"]![path]?[method]);
        }
    }

    [Fact]
    public async Task Metrics_are_there_under_their_names_and_under_those_of_vllm_when_asked_for()
    {
        await Server.OkAsync("/v1/completions", new JsonObject { ["prompt"] = "The fox", ["max_tokens"] = 3 });
        string text = await Server.Client.GetStringAsync("/metrics");
        foreach (string name in (string[])["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prefix_cache_queries_total", "prefix_cache_hits_total", "prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds_bucket", "inter_token_latency_seconds_count", "e2e_request_latency_seconds_sum", "request_success_total"])
        {
            Assert.Contains("antiphon_" + name, text);
        }

        Assert.DoesNotContain("vllm:", text);
        Assert.All(text.Split('\n', StringSplitOptions.RemoveEmptyEntries), line => Assert.Matches("^(# (HELP|TYPE) [a-z0-9_:]+ .+|[a-z0-9_:]+(\\{[^}]*\\})? [0-9.eE+-]+)$", line));
        await using RunningServer other = await RunningServer.StartAsync(options =>
        {
            options.VllmMetricNames = true;
            options.PublicMetrics = true;
            options.ApiKeys.Add("key");
        });
        text = await other.Client.GetStringAsync("/metrics");
        foreach (string name in (string[])["vllm:num_requests_running{", "vllm:num_requests_waiting{", "vllm:kv_cache_usage_perc{", "vllm:prefix_cache_hits_total{", "antiphon_num_requests_running{"])
        {
            Assert.Contains(name, text);
        }
    }

    [Fact]
    public async Task Every_metric_is_explained_in_the_docs_and_every_explained_one_is_there()
    {
        string text = await Server.Client.GetStringAsync("/metrics");
        string[] served = [.. text.Split('\n').Where(line => line.StartsWith("# TYPE ", StringComparison.Ordinal)).Select(line => line.Split(' ')[2]["antiphon_".Length..]).Order()];
        Assert.Equal(served, Documented("## Metrics", 0).Select(name => name.Split('{')[0]).Order());
    }

    [Fact]
    public void Every_option_is_in_the_docs_with_its_default()
    {
        string[] documented = [.. Documented("## Options", 1).Select(name => name.Split(' ')[0])];
        var known = new List<string>();
        known.AddRange(Names(typeof(AntiphonServerOptions)).Except(["Models"]));
        known.AddRange(Names(typeof(ServedModelOptions)).Except(["Load"]).Select(name => name is "Id" or "Path" or "Aliases" or "Loader" ? "Models" : name));
        known.AddRange(Names(typeof(LanguageModelOptions)).Except(["Engine"]).Select(name => "Load." + name));
        known.AddRange(Names(typeof(EngineOptions)).Select(name => "Load.Engine." + name));
        Assert.Equal(known.Distinct().Order(StringComparer.Ordinal), documented.Distinct().Order(StringComparer.Ordinal));

        // Defaults of simple kinds are in the third column as they are in the code.
        foreach ((object defaults, string prefix) in ((object, string)[])[(new AntiphonServerOptions(), ""), (new ServedModelOptions { Id = "x", Path = "x" }, ""), (new EngineOptions(), "Load.Engine.")])
        {
            foreach (PropertyInfo property in defaults.GetType().GetProperties())
            {
                string? expected = property.GetValue(defaults) switch
                {
                    bool value => value ? "on" : "off",
                    int value => value.ToString(CultureInfo.InvariantCulture),
                    long value => $"{value >> 20} MiB",
                    double value => value.ToString(CultureInfo.InvariantCulture),
                    TimeSpan value => $"{value.TotalSeconds} s",
                    _ => null,
                };
                if (expected is not null)
                {
                    string row = Assert.Single(Rows("## Options"), row => row.Split('|')[2].Contains($"`{prefix}{property.Name}`", StringComparison.Ordinal));
                    Assert.Equal(expected, row.Split('|')[3].Trim());
                }
            }
        }

        static IEnumerable<string> Names(Type type) => type.GetProperties().Where(p => p.DeclaringType == type && p.Name != "EqualityContract").Select(p => p.Name);
    }

    [Fact]
    public async Task Requests_are_measured_and_traced_under_the_names_of_the_genai_conventions()
    {
        var measured = new ConcurrentDictionary<string, ConcurrentDictionary<string, object?>>();
        using var meters = new MeterListener();
        meters.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Name == "Antiphon.Server")
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        meters.SetMeasurementEventCallback<double>((instrument, _, tags, _) => Note(instrument, tags));
        meters.SetMeasurementEventCallback<long>((instrument, _, tags, _) => Note(instrument, tags));
        meters.Start();
        var traces = new ConcurrentQueue<Activity>();
        using var activities = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "Antiphon.Server", Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData, ActivityStopped = traces.Enqueue,
        };
        ActivitySource.AddActivityListener(activities);
        await Server.OkAsync("/v1/completions", new JsonObject { ["prompt"] = "The fox", ["max_tokens"] = 3, ["ignore_eos"] = true, ["temperature"] = 0.25 });
        Assert.Superset(
            new HashSet<string>(["gen_ai.server.request.duration", "gen_ai.server.time_to_first_token", "gen_ai.server.time_per_output_token", "gen_ai.client.token.usage"]),
            measured.Keys.ToHashSet());
        Assert.All(measured.Values, tags => Assert.Equal("tales", tags["gen_ai.request.model"]));
        Activity trace = traces.First(t => (t.GetTagItem("gen_ai.request.temperature") as float?) == 0.25f);
        Assert.Equal("text_completion tales", trace.DisplayName);
        Assert.Equal("text_completion", trace.GetTagItem("gen_ai.operation.name"));
        Assert.Equal(3, trace.GetTagItem("gen_ai.usage.output_tokens"));

        void Note(Instrument instrument, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            ConcurrentDictionary<string, object?> known = measured.GetOrAdd(instrument.Name, _ => new());
            foreach ((string name, object? value) in tags)
            {
                known[name] = value;
            }
        }
    }

    [Fact]
    public async Task The_log_names_a_request_by_the_id_that_its_answer_carried_and_holds_nothing_of_its_text()
    {
        using HttpResponseMessage response = await Server.Client.PostAsync("/v1/completions", Json("""{"prompt":"The ladybird Eleonora","max_tokens":3,"ignore_eos":true}"""));
        string id = response.Headers.GetValues("X-Request-Id").Single();
        string answer = (string)JsonNode.Parse(await response.Content.ReadAsStringAsync())!["choices"]![0]!["text"]!;
        string line = Assert.Single(Server.Log.Lines, line => line.Contains(id, StringComparison.Ordinal));
        Assert.Matches($"text_completion {Regex.Escape(id)} on tales: [0-9]+ prompt tokens \\([0-9]+ cached\\), 3 generated, length", line);
        Assert.DoesNotContain(Server.Log.Lines, logged => logged.Contains("Eleonora", StringComparison.Ordinal) || logged.Contains(answer, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_tool_of_an_unknown_type_is_left_out_with_a_warning_in_the_log()
    {
        await Server.OkAsync("/v1/chat/completions", JsonNode.Parse("""{"messages":[{"role":"user","content":"Hi"}],"max_tokens":1,"tools":[{"type":"web_search_9000","x":[]}]}""")!);
        Assert.Contains(Server.Log.Lines, line => line.StartsWith("Warning: ", StringComparison.Ordinal) && line.Contains("web_search_9000", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_dead_engine_makes_health_503_and_ends_streams_with_an_error_event_and_done()
    {
        var policy = new FaultyPolicy();
        await using RunningServer own = await RunningServer.StartAsync(engine: new EngineOptions { Policy = policy, TimeProvider = new SlowClock() });
        Assert.Equal(HttpStatusCode.OK, (await own.Client.GetAsync("/health")).StatusCode);
        HealthCheckService checks = own.App.Services.GetRequiredService<HealthCheckService>();
        Assert.Equal(["antiphon-live", "antiphon-ready"], (await checks.CheckHealthAsync()).Entries.Where(check => check.Value.Status == HealthStatus.Healthy).Select(check => check.Key).Order());
        foreach (string path in (string[])["/v1/chat/completions", "/v1/completions"])
        {
            (HttpResponseMessage response, StreamReader reader) = await own.BeginStreamAsync(
                path, """{"messages":[{"role":"user","content":"Hi"}],"prompt":"The fox","max_tokens":500,"ignore_eos":true,"stream":true}""");
            using (response)
            {
                // The chunk with the role comes before the engine has seen the request.
                while (own.Engine.GetStatistics().Running == 0)
                {
                    await Task.Delay(1);
                }

                policy.Broken = true;
                (int status, JsonNode? body) = await own.PostAsync("/v1/completions", """{"prompt":"The fox"}""");
                Assert.Equal(503, status);
                Assert.DoesNotContain(FaultyPolicy.Secret, body!.ToJsonString());
                await ModelTests.EndsWithErrorAsync(reader, "unavailable");
            }

            using HttpResponseMessage health = await own.Client.GetAsync("/health");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, health.StatusCode);
            Assert.Contains("the engine failed", await health.Content.ReadAsStringAsync());
            Assert.Equal(HttpStatusCode.ServiceUnavailable, (await own.Client.GetAsync("/ready")).StatusCode);
            Assert.All((await checks.CheckHealthAsync()).Entries.Values, check => Assert.Equal(HealthStatus.Unhealthy, check.Status));
            using HttpResponseMessage refused = await own.Client.PostAsync(path, Json("""{"messages":[{"role":"user","content":"Hi"}],"prompt":"The fox"}"""));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
            Assert.NotNull(refused.Headers.RetryAfter);

            // An operator can help without a restart: unload, and the next request loads it anew.
            policy.Broken = false;
            await own.Models.UnloadAsync("tales", forget: false);
            await own.OkAsync("/v1/completions", new JsonObject { ["prompt"] = "The fox", ["max_tokens"] = 2 });
            Assert.Equal(HttpStatusCode.OK, (await own.Client.GetAsync("/health")).StatusCode);
        }
    }

    [Fact]
    public async Task A_stuck_step_makes_health_503_and_silent_streams_get_heartbeats()
    {
        var policy = new FaultyPolicy();
        await using RunningServer own = await RunningServer.StartAsync(
            options =>
            {
                options.WatchdogTimeout = TimeSpan.FromMilliseconds(200);
                options.HeartbeatInterval = TimeSpan.FromMilliseconds(50);
            },
            new EngineOptions { Policy = policy, TimeProvider = new SlowClock() });
        (HttpResponseMessage response, StreamReader reader) = await own.BeginStreamAsync("/v1/completions", """{"prompt":"The fox","max_tokens":200,"ignore_eos":true,"stream":true}""");
        using (response)
        {
            policy.Gate.Reset();
            Task<(int Status, JsonNode? Body)> second = own.PostAsync("/v1/completions", """{"prompt":"The fox","max_tokens":2}""");
            for (int i = 0; (await own.Client.GetAsync("/health")).StatusCode != HttpStatusCode.ServiceUnavailable; i++)
            {
                Assert.True(i < 500, "nobody noticed that a step hangs");
                await Task.Delay(20);
            }

            string? line;
            while ((line = await reader.ReadLineAsync()) is not null && line != ": keep-alive")
            {
            }

            Assert.NotNull(line);
            policy.Gate.Set();
            Assert.Equal(200, (await second).Status);
            Assert.EndsWith("data: [DONE]\n\n", await reader.ReadToEndAsync());
            Assert.Equal(HttpStatusCode.OK, (await own.Client.GetAsync("/health")).StatusCode);
        }
    }

    [Fact]
    public async Task Limits_are_those_of_the_options_and_stand_in_the_openapi_document()
    {
        await using RunningServer own = await RunningServer.StartAsync(options =>
        {
            options.MaximumBodyBytes = 4096;
            options.MaximumMessages = 3;
            options.MaximumTools = 2;
            options.MaximumPrompts = 2;
        });
        const string Message = """{"role":"user","content":"Hi"}""";
        const string Tool = """{"type":"function","function":{"name":"f"}}""";
        await RefusedAsync(413, "/v1/completions", $$"""{"prompt":"{{new string('a', 5000)}}"}""", null);
        await RefusedAsync(400, "/v1/chat/completions", $$"""{"messages":[{{Message}},{{Message}},{{Message}},{{Message}}]}""", "messages");
        await RefusedAsync(400, "/v1/chat/completions", $$"""{"messages":[{{Message}}],"tools":[{{Tool}},{{Tool}},{{Tool}}]}""", "tools");
        await RefusedAsync(400, "/v1/completions", """{"prompt":["a","b","c"]}""", "prompt");
        await own.OkAsync("/v1/completions", JsonNode.Parse("""{"prompt":["a","b"],"max_tokens":1}""")!);
        JsonNode schemas = JsonNode.Parse(await own.Client.GetStringAsync("/openapi.json"))!["components"]!["schemas"]!;
        Assert.Equal(3, (int)schemas["Conversation"]!["properties"]!["messages"]!["maxItems"]!);
        Assert.Equal(2, (int)schemas["Conversation"]!["properties"]!["tools"]!["maxItems"]!);
        Assert.Equal(2, (int)schemas["CompletionRequest"]!["properties"]!["prompt"]!["anyOf"]![2]!["maxItems"]!);

        async Task RefusedAsync(int expected, string path, string json, string? parameter)
        {
            (int status, JsonNode? body) = await own.PostAsync(path, json);
            Assert.Equal(expected, status);
            Assert.Equal(parameter, (string?)body!["error"]!["param"]);
        }
    }

    [Theory]
    [InlineData("Content-Length: 20000000\r\n\r\n{", 413, true)] // said to be too large
    [InlineData("Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n", 400, true)] // torn chunks
    [InlineData("Content-Length: -1\r\n\r\n", 400, false)]
    [InlineData("Content-Length: 2\r\nBroken header\r\n\r\n{}", 400, false)]
    public async Task What_the_web_server_refuses_has_the_error_body_where_a_request_exists(string rest, int expected, bool hasBody)
    {
        string answer = await Server.RawAsync($"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n{rest}");
        Assert.StartsWith($"HTTP/1.1 {expected} ", answer);
        string body = answer[(answer.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..];
        Assert.Equal(hasBody, body.Contains("\"error\"", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_request_line_or_header_beyond_the_web_servers_limits_is_414_or_431_and_the_server_goes_on()
    {
        Assert.StartsWith("HTTP/1.1 414 ", await Server.RawAsync($"GET /{new string('a', 9000)} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        Assert.StartsWith("HTTP/1.1 431 ", await Server.RawAsync($"GET /health HTTP/1.1\r\nHost: localhost\r\nX: {new string('a', 40000)}\r\n\r\n"));
        Assert.StartsWith("HTTP/1.1 400 ", await Server.RawAsync("nonsense\r\n\r\n"));
        Assert.StartsWith("HTTP/1.1 400 ", await Server.RawAsync("GET /v1/models/%00 HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        Assert.Equal(HttpStatusCode.OK, (await Server.Client.GetAsync("/health")).StatusCode);
    }

    [Fact]
    public async Task A_body_above_the_web_servers_own_limit_is_taken_when_ours_allows_it()
    {
        // Kestrel stops at 30 million bytes unless told otherwise.
        await using RunningServer own = await RunningServer.StartAsync(options => options.MaximumBodyBytes = 64 << 20);
        (int status, JsonNode? body) = await own.PostAsync("/detokenize", $$"""{"tokens":[1],"ignored":"{{new string('a', 31_000_000)}}"}""");
        Assert.True(status == 200, $"{status} {body}");
    }

    [Theory]
    [InlineData("Models: the name \"a b\"")]
    [InlineData("Models: the name \"twice\"")]
    [InlineData("ApiKeyFile: there is no file")]
    [InlineData("MaximumBodyBytes")]
    [InlineData("AdminPort")]
    [InlineData("DrainTimeout")]
    public async Task Wrong_options_stop_the_server_at_its_start_and_are_all_named(string expected)
    {
        OptionsValidationException failure = await Assert.ThrowsAsync<OptionsValidationException>(() => RunningServer.StartAsync(options =>
        {
            options.Models.Add(new ServedModelOptions { Id = "a b", Path = "x" });
            options.Models.Add(new ServedModelOptions { Id = "twice", Path = "x", Aliases = ["twice"] });
            options.ApiKeyFile = "/no/such/file";
            options.MaximumBodyBytes = 1;
            options.AdminPort = 70000;
            options.DrainTimeout = TimeSpan.FromSeconds(-1);
        }, listenOnAdminPort: false));
        Assert.Contains(failure.Failures, message => message.StartsWith(expected, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Models_are_listed_and_found_by_name()
    {
        JsonNode list = JsonNode.Parse(await Server.Client.GetStringAsync("/v1/models"))!;
        Assert.Equal("tales", (string)list["data"]![0]!["id"]!);
        Assert.Equal("model", (string)JsonNode.Parse(await Server.Client.GetStringAsync("/v1/models/tales"))!["object"]!);
        Assert.Equal(HttpStatusCode.NotFound, (await Server.Client.GetAsync("/v1/models/none")).StatusCode);
    }

    [Fact]
    public async Task Two_hundred_clients_that_leave_do_not_keep_the_next_one_waiting()
    {
        Task[] leavers = [.. Enumerable.Range(0, 200).Select(async i =>
        {
            using var leave = new CancellationTokenSource(TimeSpan.FromMilliseconds(500));
            try
            {
                using var content = new StringContent($$"""{"prompt":"Client {{i}}: the fox","max_tokens":10000,"ignore_eos":true,"stream":{{(i % 2 == 0 ? "true" : "false")}}}""", Encoding.UTF8, "application/json");
                using HttpResponseMessage response = await Server.Client.PostAsync("/v1/completions", content, leave.Token);
                await response.Content.ReadAsStringAsync(leave.Token);
            }
            catch (OperationCanceledException)
            {
            }
        })];
        await Task.WhenAll(leavers);
        long start = Stopwatch.GetTimestamp();
        await Server.OkAsync("/v1/completions", new JsonObject { ["prompt"] = "The fox", ["max_tokens"] = 5 });
        Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(5), $"took {Stopwatch.GetElapsedTime(start)}");
        await NothingLeftAsync();
    }

    [Fact]
    public async Task A_full_queue_is_429_with_retry_after()
    {
        await using RunningServer small = await RunningServer.StartAsync(engine: new EngineOptions { MaxSequences = 1, QueueLimit = 1 });
        using var stop = new CancellationTokenSource();
        Task[] busy = [.. Enumerable.Range(0, 8).Select(_ => small.Client.PostAsync("/v1/completions", new StringContent("""{"prompt":"The fox","max_tokens":900,"ignore_eos":true}""", Encoding.UTF8, "application/json"), stop.Token))];
        HttpStatusCode[] seen = [.. (await Task.WhenAll(busy.Cast<Task<HttpResponseMessage>>().Select(async t => (await t).StatusCode)))];
        Assert.Contains(HttpStatusCode.TooManyRequests, seen);
        Assert.Contains(HttpStatusCode.OK, seen);
        Assert.All(busy.Cast<Task<HttpResponseMessage>>().Where(t => t.Result.StatusCode == HttpStatusCode.TooManyRequests), t => Assert.NotNull(t.Result.Headers.RetryAfter));
    }

    [Fact]
    public async Task Stopping_lets_answers_finish_and_refuses_new_ones()
    {
        RunningServer own = await RunningServer.StartAsync(engine: new EngineOptions { TimeProvider = new SlowClock() });
        Task<(int Status, JsonNode? Body)> answer = own.PostAsync("/v1/completions", """{"prompt":"The fox","max_tokens":300,"ignore_eos":true}""");
        while (own.Engine.GetStatistics().Running == 0)
        {
            await Task.Delay(1);
        }

        Task stopping = own.App.StopAsync();
        while (own.Engine.State == EngineState.Running)
        {
            await Task.Delay(1);
        }

        using HttpResponseMessage refused = await own.Client.PostAsync("/v1/completions", Json("""{"prompt":"The fox"}"""));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
        Assert.NotNull(refused.Headers.RetryAfter);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await own.Client.GetAsync("/ready")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await own.Client.GetAsync("/health")).StatusCode);
        Assert.False(answer.IsCompleted, "the answer was there before the test could begin");
        (int status, JsonNode? body) = await answer;
        Assert.Equal(200, status);
        Assert.Equal(300, (int)body!["usage"]!["completion_tokens"]!);
        await stopping;
        await own.App.DisposeAsync();
    }

    private static StringContent Json(string json) => new(json, Encoding.UTF8, "application/json");

    /// <summary>What stands in code marks in a column of a table of docs/serving.md.</summary>
    private static IEnumerable<string> Documented(string heading, int column) =>
        Rows(heading).SelectMany(line => Regex.Matches(line.Split('|')[column + 1], "`([^`]+)`")).Select(match => match.Groups[1].Value);

    private static IEnumerable<string> Rows(string heading)
    {
        string[] lines = File.ReadAllLines(Repository.At("docs", "serving.md"));
        return lines.SkipWhile(line => line != heading).Skip(1).TakeWhile(line => !line.StartsWith("## ", StringComparison.Ordinal))
            .Where(line => line.StartsWith("| ", StringComparison.Ordinal) || line.StartsWith("|-", StringComparison.Ordinal)).Skip(2);
    }

    private async Task NothingLeftAsync()
    {
        EngineStatistics statistics = Server.Engine.GetStatistics();
        for (int i = 0; i < 100 && (statistics.Running > 0 || statistics.Waiting > 0 || statistics.CacheBlocksUsed > 0); i++)
        {
            await Task.Delay(50);
            statistics = Server.Engine.GetStatistics();
        }

        Assert.Equal(0, statistics.Running);
        Assert.Equal(0, statistics.Waiting);
        Assert.Equal(0, statistics.CacheBlocksUsed);
    }
}
