using System.Diagnostics;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Antiphon.Engine;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

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
    public async Task Metrics_are_there_under_their_names()
    {
        await Server.OkAsync("/v1/completions", new JsonObject { ["prompt"] = "The fox", ["max_tokens"] = 3 });
        string text = await Server.Client.GetStringAsync("/metrics");
        foreach (string name in (string[])["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prefix_cache_queries_total", "prefix_cache_hits_total", "prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds_bucket", "inter_token_latency_seconds_count", "e2e_request_latency_seconds_sum", "request_success_total"])
        {
            Assert.Contains("antiphon_" + name, text);
        }

        Assert.DoesNotContain("vllm:", text);
        Assert.All(text.Split('\n', StringSplitOptions.RemoveEmptyEntries), line => Assert.Matches("^(# (HELP|TYPE) [a-z_:]+ .+|[a-z_:]+(\\{[^}]*\\})? [0-9.eE+-]+)$", line));
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
                using var content = new StringContent($$"""{"prompt":"Client {{i}}: the fox","max_tokens":900,"ignore_eos":true,"stream":{{(i % 2 == 0 ? "true" : "false")}}}""", Encoding.UTF8, "application/json");
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
        RunningServer own = await RunningServer.StartAsync();
        Task<(int Status, JsonNode? Body)> answer = own.PostAsync("/v1/completions", """{"prompt":"The fox","max_tokens":600,"ignore_eos":true}""");
        while (own.Engine.GetStatistics().Running == 0)
        {
            await Task.Delay(1);
        }

        Task stopping = own.App.StopAsync();
        (int status, JsonNode? body) = await answer;
        Assert.Equal(200, status);
        Assert.Equal(600, (int)body!["usage"]!["completion_tokens"]!);
        await stopping;
        await own.App.DisposeAsync();
    }

    [Fact]
    public async Task Idle_models_sleep_and_wake_when_asked_for()
    {
        await using RunningServer own = await RunningServer.StartAsync(options => options.Models.FirstOrDefault()?.KeepAlive = TimeSpan.FromMilliseconds(500));
        for (int i = 0; own.Models.List()[0].State != "sleeping"; i++)
        {
            Assert.True(i < 200, "the model did not go to sleep");
            await Task.Delay(50);
        }

        await own.OkAsync("/v1/completions", new JsonObject { ["prompt"] = "The fox", ["max_tokens"] = 2 });
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
