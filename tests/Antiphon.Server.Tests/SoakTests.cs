using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Antiphon.Engine;

namespace Antiphon.Server.Tests;

/// <summary>Memory is measured here: nothing else may run meanwhile.</summary>
[CollectionDefinition("alone", DisableParallelization = true)]
public sealed class Alone;

/// <summary>
/// Sixteen clients do at random what clients do: chat, complete, stream, leave, send nonsense. 30 seconds; <c>ANTIPHON_SOAK_SECONDS=600</c> for the long run.
/// </summary>
[Collection("alone")]
public sealed class SoakTests
{
    private const int Clients = 16;

    // What may be more at the end than after the first third: pools that still grow, and what the collector keeps.
    private const long ManagedSlack = 8 << 20;
    private const long WorkingSetSlack = 96 << 20;

    private static readonly string[] Malformed =
    [
        "", "{", "[]", "null", "{\"prompt\":", "{\"prompt\":1}", "{\"prompt\":\"a\",\"max_tokens\":-1}", "{\"prompt\":\"a\",\"n\":1000000}", "{\"prompt\":\"a\",\"temperature\":\"hot\"}",
        "{\"prompt\":\"a\",\"logit_bias\":{\"x\":1}}", "{\"messages\":[]}", "{\"messages\":[{\"role\":7}]}", "{\"prompt\":[[[[1]]]]}", "{\"prompt\":\"a\",\"stop\":[[]]}", "\ufffe\u0000", "{\"prompt\":[999999999]}",
    ];

    private readonly ConcurrentDictionary<string, int> seen = new();
    private readonly ConcurrentBag<string> wrong = [];

    [Fact]
    public async Task Nothing_breaks_leaks_or_grows_under_random_load()
    {
        int seconds = int.TryParse(Environment.GetEnvironmentVariable("ANTIPHON_SOAK_SECONDS"), CultureInfo.InvariantCulture, out int given) ? given : 30;
        await using RunningServer server = await RunningServer.StartAsync(
            options => options.HeartbeatInterval = TimeSpan.FromMilliseconds(200),
            new EngineOptions { MaxSequences = 12, BlockCount = 384, QueueLimit = 24 });
        await LoadAsync(server, TimeSpan.FromSeconds(seconds / 3.0), 1);
        (long managedBefore, long workingBefore) = await RestAsync(server);
        await LoadAsync(server, TimeSpan.FromSeconds(seconds * 2 / 3.0), 2);
        (long managedAfter, long workingAfter) = await RestAsync(server);
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{string.Join(", ", seen.OrderBy(p => p.Key).Select(p => $"{p.Key} {p.Value}"))}; managed {managedBefore >> 10} to {managedAfter >> 10} KiB, working set {workingBefore >> 20} to {workingAfter >> 20} MiB");
        Assert.Empty(wrong);
        foreach (string kind in (string[])["stream 200", "whole 200", "leave", "malformed 400", "torn"])
        {
            Assert.True(seen.GetValueOrDefault(kind) > 0, $"the load never had '{kind}': {string.Join(", ", seen.Keys)}");
        }

        Assert.True(managedAfter - managedBefore < ManagedSlack, $"managed memory grew from {managedBefore} to {managedAfter} bytes");
        Assert.True(workingAfter - workingBefore < WorkingSetSlack, $"the working set grew from {workingBefore} to {workingAfter} bytes");
        (int status, _) = await server.PostAsync("/v1/completions", """{"prompt":"The fox","max_tokens":4}""");
        Assert.Equal(200, status);
    }

    private async Task LoadAsync(RunningServer server, TimeSpan duration, int seed)
    {
        long start = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, Clients).Select(client => Task.Run(async () =>
        {
            var random = new Random((seed * 1000) + client);
            while (Stopwatch.GetElapsedTime(start) < duration)
            {
                await ActAsync(server, random);
            }
        })));
    }

    private async Task ActAsync(RunningServer server, Random random)
    {
        using var leave = new CancellationTokenSource();
        string kind = "whole";
        try
        {
            int what = random.Next(20);
            if (what == 0)
            {
                await TearAsync(server.Address, random);
                Count("torn");
                return;
            }

            bool chat = random.Next(2) == 0;
            string path = chat ? "/v1/chat/completions" : "/v1/completions";
            string body;
            if (what < 5)
            {
                kind = "malformed";
                body = Malformed[random.Next(Malformed.Length)];
            }
            else
            {
                bool stream = random.Next(2) == 0;
                kind = stream ? "stream" : "whole";
                body = Body(random, chat, stream);
                if (what < 9)
                {
                    kind = "leave";
                    leave.CancelAfter(random.Next(1, 300));
                }
            }

            using var message = new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent(body, Encoding.UTF8, "application/json") };
            using HttpResponseMessage response = await server.Client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, leave.Token);
            string text = await response.Content.ReadAsStringAsync(leave.Token);
            int status = (int)response.StatusCode;
            Count(kind == "leave" ? "leave" : $"{kind} {status}");
            if (kind is "stream" or "whole" && status is not (200 or 429 or 503))
            {
                wrong.Add($"{path} {body}: {status} {text}");
            }
            else if (status >= 500 && status != 503)
            {
                wrong.Add($"{path} {body}: {status} {text}");
            }
            else if (kind == "stream" && status == 200 && !text.EndsWith("data: [DONE]\n\n", StringComparison.Ordinal))
            {
                wrong.Add($"{path} {body}: the stream ends with {text[Math.Max(0, text.Length - 200)..]}");
            }
            else if (kind == "malformed" && status is < 400 or >= 500 && status != 503)
            {
                wrong.Add($"{path} {body}: {status}");
            }
        }
        catch (OperationCanceledException) when (leave.IsCancellationRequested)
        {
            Count("leave");
        }
        catch (Exception failure) when (kind != "leave")
        {
            wrong.Add($"{kind}: {failure}");
        }
        catch (HttpRequestException)
        {
            Count("leave");
        }
    }

    private static string Body(Random random, bool chat, bool stream)
    {
        // Some prompts are common to many requests, so that cache blocks are shared, evicted and found again.
        string text = string.Concat(Enumerable.Repeat($"Story {random.Next(6)}: the fox went on. ", random.Next(1, 12)));
        string prompt = chat ? $"\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]" : $"\"prompt\":\"{text}\"";
        string more = random.Next(6) switch
        {
            0 => $",\"n\":{random.Next(2, 4)}",
            1 => chat ? ",\"logprobs\":true,\"top_logprobs\":3" : ",\"logprobs\":2,\"echo\":true",
            2 => ",\"stop\":[\"the\",\"fox\"]",
            3 => ",\"temperature\":0",
            4 => $",\"cache_salt\":\"{random.Next(3)}\"",
            _ => ",\"ignore_eos\":true",
        };
        return $"{{{prompt},\"max_tokens\":{random.Next(1, 60)},\"seed\":{random.Next(100)},\"stream\":{(stream ? "true" : "false")}{more}}}";
    }

    /// <summary>A client that dies in the middle of its request.</summary>
    private static async Task TearAsync(Uri address, Random random)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(address.Host, address.Port);
        byte[] whole = Encoding.ASCII.GetBytes("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{\"prompt\":\"The fox\",\"max_tokens\":500}");
        await socket.GetStream().WriteAsync(whole.AsMemory(0, random.Next(1, whole.Length)));
        socket.LingerState = new LingerOption(random.Next(2) == 0, 0);
    }

    private void Count(string what) => seen.AddOrUpdate(what, 1, static (_, count) => count + 1);

    /// <summary>Waits until nothing runs, checks that all came back, and measures.</summary>
    private static async Task<(long Managed, long Working)> RestAsync(RunningServer server)
    {
        EngineStatistics now = server.Engine.GetStatistics();
        for (int i = 0; i < 200 && (now.Running > 0 || now.Waiting > 0 || now.CacheBlocksUsed > 0); i++)
        {
            await Task.Delay(50);
            now = server.Engine.GetStatistics();
        }

        Assert.Equal((0, 0, 0), (now.Running, now.Waiting, now.CacheBlocksUsed));
        for (int i = 0; i < 3; i++)
        {
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
            await Task.Delay(100);
        }

        return (GC.GetTotalMemory(true), Environment.WorkingSet);
    }
}
