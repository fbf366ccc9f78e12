using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Antiphon.Engine;

namespace Antiphon.Server.Tests;

/// <summary>Models come and go while requests use them.</summary>
public sealed class ModelTests
{
    private const string Long = """{"model":"tales","prompt":"The fox","max_tokens":300,"ignore_eos":true}""";

    private static EngineOptions Slow => new() { TimeProvider = new SlowClock() };

    [Fact]
    public async Task Unloading_waits_for_the_requests_that_use_the_model_and_refuses_new_ones_with_404()
    {
        await using RunningServer server = await RunningServer.StartAsync(engine: Slow);
        Task<(int Status, JsonNode? Body)> answer = await StartedAsync(server);
        Task unload = server.Models.UnloadAsync("tales", forget: true);
        (int status, JsonNode? body) = await server.PostAsync("/v1/completions", Long);
        Assert.Equal((404, "model_not_found"), (status, (string?)body!["error"]!["code"]));
        Assert.False(answer.IsCompleted, "the answer was there before the test could begin");
        Assert.False(unload.IsCompleted);
        (status, body) = await answer;
        Assert.True(status == 200, $"{status} {body}");
        Assert.Equal(300, (int)body!["usage"]!["completion_tokens"]!);
        await unload;
        Assert.Empty(server.Models.List());
    }

    [Fact]
    public async Task A_request_for_a_model_that_is_being_put_to_sleep_waits_and_wakes_it()
    {
        await using RunningServer server = await RunningServer.StartAsync(engine: Slow);
        Task<(int Status, JsonNode? Body)> answer = await StartedAsync(server);
        Task unload = server.Models.UnloadAsync("tales", forget: false);
        Assert.Equal("unloading", server.Models.List()[0].State);
        Task<(int Status, JsonNode? Body)> next = server.PostAsync("/v1/completions", """{"prompt":"The fox","max_tokens":3}""");
        Assert.Equal(200, (await answer).Status);
        await unload;
        Assert.Equal(200, (await next).Status);
        Assert.Equal("loaded", server.Models.List()[0].State);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_model_that_is_used_beyond_the_drain_timeout_ends_its_requests_with_an_error(bool stream)
    {
        await using RunningServer server = await RunningServer.StartAsync(options => options.DrainTimeout = TimeSpan.FromMilliseconds(50), Slow);
        if (stream)
        {
            (HttpResponseMessage response, StreamReader reader) = await server.BeginStreamAsync("/v1/completions", Long[..^1] + ",\"stream\":true}");
            using (response)
            {
                await server.Models.UnloadAsync("tales", forget: true);
                await EndsWithErrorAsync(reader, "unavailable");
            }
        }
        else
        {
            Task<(int Status, JsonNode? Body)> answer = await StartedAsync(server);
            await server.Models.UnloadAsync("tales", forget: true);
            (int status, JsonNode? body) = await answer;
            Assert.Equal((503, "unavailable"), (status, (string?)body!["error"]!["code"]));
        }
    }

    [Fact]
    public async Task A_model_that_cannot_be_loaded_is_not_added()
    {
        int port = FreePort();
        await using RunningServer server = await RunningServer.StartAsync(options => options.AdminPort = port);
        string folder = Directory.CreateTempSubdirectory("antiphon-test-").FullName;
        string file = Path.Combine(folder, "bad.gguf");
        await File.WriteAllTextAsync(file, "GGUF but not really");
        try
        {
            foreach (string path in (string[])["/no/such/file.gguf", file, folder, "", "\\u0000"])
            {
                for (int i = 0; i < 2; i++)
                {
                    (int status, JsonNode? body) = await LoadAsync(port, server, $$"""{"id":"new","path":"{{path}}"}""");
                    Assert.Equal((400, "load_failed", "path"), (status, (string?)body!["error"]!["code"], (string?)body["error"]!["param"]));
                    Assert.Equal(["tales"], server.Models.List().Select(model => model.Id));
                }
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        Assert.Equal((400, "name_taken"), await CodeAsync("""{"id":"tales","path":"x"}"""));
        Assert.Equal((400, "name_taken"), await CodeAsync("""{"id":"gpt-4o-mini","path":"x"}"""));
        Assert.Equal((400, null), await CodeAsync("""{"id":"a b","path":"x"}"""));
        Assert.Equal((400, null), await CodeAsync("""{"id":"","path":"x"}"""));
        Assert.Equal((404, "model_not_found"), await CodeAsync("""{"id":"none"}"""));

        async Task<(int, string?)> CodeAsync(string json)
        {
            (int status, JsonNode? body) = await LoadAsync(port, server, json);
            return (status, (string?)body!["error"]!["code"]);
        }
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

    [Fact]
    public async Task A_path_as_the_name_of_a_model_is_a_name_that_does_not_exist()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        foreach (string name in (string[])["../../etc/passwd", "/etc/passwd", "tales/../tales", "sha256:../../x", "", "tales\\u0000"])
        {
            (int status, JsonNode? body) = await server.PostAsync("/v1/completions", $$"""{"prompt":"The fox","model":"{{name}}"}""");
            Assert.Equal((404, "model_not_found"), (status, (string?)body!["error"]!["code"]));
        }
    }

    /// <summary>A long answer under way.</summary>
    private static async Task<Task<(int Status, JsonNode? Body)>> StartedAsync(RunningServer server)
    {
        Task<(int Status, JsonNode? Body)> answer = server.PostAsync("/v1/completions", Long);
        while (server.Engine.GetStatistics().Running == 0)
        {
            Assert.False(answer.IsCompleted);
            await Task.Delay(1);
        }

        return answer;
    }

    internal static async Task EndsWithErrorAsync(StreamReader reader, string code)
    {
        string[] rest = [.. (await reader.ReadToEndAsync()).Split('\n').Where(line => line.StartsWith("data: ", StringComparison.Ordinal))];
        Assert.Equal("data: [DONE]", rest[^1]);
        JsonNode error = JsonNode.Parse(rest[^2][6..])!["error"]!;
        Assert.Equal(code, (string?)error["code"]);
        Assert.NotEmpty((string)error["message"]!);
        Assert.DoesNotContain(rest[..^2], line => line.Contains("\"error\"", StringComparison.Ordinal));
        Assert.DoesNotContain(rest, line => line.Contains(FaultyPolicy.Secret, StringComparison.Ordinal));
    }

    private static Task<(int Status, JsonNode? Body)> LoadAsync(int port, RunningServer server, string json) =>
        server.PostAsync($"http://127.0.0.1:{port}/admin/models/load", json);

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }
}
