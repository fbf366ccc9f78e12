using System.Text.Json;
using System.Xml.Linq;
using Antiphon.Testing;

namespace Antiphon.Cli.Tests;

/// <summary>The load generator against our own server with Tales.</summary>
public sealed class BenchServeTests
{
    [Theory]
    [InlineData("--concurrency", "2")]
    [InlineData("--rate", "50")]
    public async Task Load_is_measured_written_and_drawn(string mode, string value)
    {
        using var folder = new TemporaryFolder();
        CommandRun run = await CommandRun.Of(
            "bench", "serve", mode, value, "--requests", "6", "--prompt-tokens", "64", "--output-tokens", "9", "--shared-prefix", "50",
            "--seed", "1", "--ttft-target", "100000", "--itl-target", "100000", "--json", folder["load.json"], "--svg", folder["load.svg"]);
        run.AssertSucceeded();
        Assert.Equal("", run.Error);
        Assert.Contains("6 of 6 requests answered", run.Out);
        Assert.Contains("time to first token", run.Out);
        Assert.Contains("Goodput: 6 requests", run.Out);

        JsonElement root = JsonDocument.Parse(File.ReadAllText(folder["load.json"])).RootElement;
        Assert.Equal(6, root.GetProperty("answered").GetInt32());
        Assert.Equal(6, root.GetProperty("goodput").GetProperty("on_target").GetInt32());
        Assert.True(root.GetProperty("output_tokens_per_second").GetDouble() > 0);
        Assert.All(root.GetProperty("rows").EnumerateArray(), row =>
        {
            Assert.Equal(9, row.GetProperty("output_tokens").GetInt32());
            Assert.InRange(row.GetProperty("prompt_tokens").GetInt32(), 48, 80);
            Assert.True(row.GetProperty("time_to_first_token").GetDouble() <= row.GetProperty("end_to_end").GetDouble());
        });
        if (mode == "--concurrency")
        {
            // In the open loop all requests may be on their way before the first prompt is in the cache.
            Assert.True(root.GetProperty("cached_share").GetDouble() > 0, "half of each prompt is shared, and none of it came from the cache");
        }

        foreach (string name in (string[])["time_to_first_token", "inter_token_latency", "time_per_output_token", "end_to_end"])
        {
            JsonElement values = root.GetProperty(name);
            double[] rising = [.. new[] { "p50", "p90", "p99", "max" }.Select(p => values.GetProperty(p).GetDouble())];
            Assert.Equal(rising.Order(), rising);
            Assert.True(rising[0] > 0, name);
        }

        XElement picture = XDocument.Load(folder["load.svg"]).Root!;
        XNamespace svg = "http://www.w3.org/2000/svg";
        Assert.Equal(svg + "svg", picture.Name);
        Assert.Equal(2, picture.Elements(svg + "polyline").Count());
        Assert.DoesNotContain("NaN", picture.ToString());
        Assert.DoesNotContain("Infinity", picture.ToString());
    }

    [Fact]
    public async Task Traces_of_both_kinds_are_replayed()
    {
        using var folder = new TemporaryFolder();
        string azure = folder.Write("azure.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,40,5\n2023-11-16 18:17:04.0319600,30,4\n");
        string mooncake = folder.Write("mooncake.jsonl", """
            {"timestamp": 0, "input_length": 600, "output_length": 40, "hash_ids": [0, 1]}
            {"timestamp": 100, "input_length": 600, "output_length": 40, "hash_ids": [0, 2]}
            """);
        foreach ((string trace, string scale) in ((string, string)[])[(azure, "1"), (mooncake, "0.1")])
        {
            CommandRun run = await CommandRun.Of("bench", "serve", "--trace", trace, "--length-scale", scale, "--speed", "10", "--seed", "1", "--json", "-");
            run.AssertSucceeded();
            Assert.Equal([5 - (trace == mooncake ? 1 : 0), 4], JsonDocument.Parse(run.Out).RootElement.GetProperty("rows").EnumerateArray().Select(r => r.GetProperty("output_tokens").GetInt32()));
        }
    }

    [Fact]
    public void Equal_ids_of_a_trace_are_equal_text_and_runs_differ()
    {
        using var folder = new TemporaryFolder();
        LoadPlan plan = TraceFile.Read(
            folder.Write("t.jsonl", """
                {"timestamp": 5000, "input_length": 1000, "output_length": 1, "hash_ids": [7, 8]}
                {"timestamp": 9000, "input_length": 1000, "output_length": 1, "hash_ids": [7, 9]}
                """), 10, 2, 1);
        Assert.Equal([0, 2], plan.Requests.Select(r => r.At));
        string[] texts = [.. plan.Requests.Select(new PromptText(1, 1).Of)];
        int same = texts[0].Zip(texts[1]).TakeWhile(p => p.First == p.Second).Count();
        Assert.InRange(texts[0][..same].Split(' ').Length, 512, 530);
        Assert.NotEqual(texts[0], new PromptText(1, 2).Of(plan.Requests[0]));
        Assert.NotEqual(texts[0][..200], new PromptText(1, 2).Of(plan.Requests[0])[..200]);
    }

    [Theory]
    [InlineData("TIMESTAMP,ContextTokens,GeneratedTokens\nnow,1,2\n")]
    [InlineData("2023-11-16 18:17:03,1\n")]
    [InlineData("2023-11-16 18:17:03,-1,4\n")]
    [InlineData("2023-11-16 18:17:03,99999999999,4\n")]
    [InlineData("{\"timestamp\":0}\n")]
    [InlineData("{\"timestamp\":0,\"input_length\":\"many\",\"output_length\":1,\"hash_ids\":[]}\n")]
    [InlineData("[[[[[[[[[[\n")]
    [InlineData("")]
    public async Task A_file_that_is_no_trace_is_refused(string text)
    {
        using var folder = new TemporaryFolder();
        CommandRun run = await CommandRun.Of("bench", "serve", "--trace", folder.Write("t", text));
        run.AssertFailed(ExitCode.Failure, "trace");
    }

    [Fact]
    public async Task A_line_without_end_is_refused()
    {
        using var folder = new TemporaryFolder();
        (await CommandRun.Of("bench", "serve", "--trace", folder.Write("t", new byte[3 << 20]))).AssertFailed(ExitCode.Failure, "longer than");
    }

    [Theory]
    [InlineData("--url http://192.0.2.1:80", "--allow-remote")]
    [InlineData("--url http://localhost.example.com", "--allow-remote")]
    [InlineData("--url ftp://127.0.0.1", "must be like")]
    [InlineData("--rate 1 --concurrency 2", "one of them")]
    [InlineData("model.gguf --url http://127.0.0.1:1", "one of them")]
    [InlineData("--requests 100000 --output-tokens 1000", "fewer")]
    public async Task Wrong_command_lines_are_refused(string line, string says) =>
        (await CommandRun.Of(["bench", "serve", .. line.Split(' ')])).AssertFailed(ExitCode.Usage, says);

    [Fact]
    public async Task A_server_that_is_not_there_is_one_line() =>
        (await CommandRun.Of("bench", "serve", "--url", "http://127.0.0.1:1")).AssertFailed(ExitCode.Failure, "did not answer");

    [Fact]
    public void Percentiles_are_those_of_the_nearest_rank()
    {
        Distribution hundred = Distribution.Of(Enumerable.Range(1, 100).Select(i => (double)i).Reverse());
        Assert.Equal((50, 90, 99, 100), (hundred.At(0.5), hundred.At(0.9), hundred.At(0.99), hundred.At(1)));
        Assert.Equal(0, Distribution.Of([]).At(0.5));
    }

    [Fact]
    public async Task Ctrl_C_ends_it_and_the_server()
    {
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(2));
        CommandRun run = await CommandRun.Of(["bench", "serve", "--requests", "100000", "--output-tokens", "100"], "", stop.Token);
        Assert.Equal(ExitCode.Interrupted, run.ExitCode);
        Assert.Equal("", run.Out);
    }
}
