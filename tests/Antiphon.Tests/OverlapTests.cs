using Antiphon.Engine;
using Antiphon.Models;
using Microsoft.Extensions.AI;

namespace Antiphon.Tests;

/// <summary>Requests beside each other, on the real model, give byte for byte what each gives alone, and leave nothing behind.</summary>
[Collection(nameof(AloneRuns))]
public sealed class OverlapTests(TalesFixture tales, ITestOutputHelper output)
{
    private const int AtOnce = 32;

    private static readonly string[] Subjects = ["fox", "river", "owl", "jar", "miller", "lamp", "witch", "bridge"];

    private static readonly string[] Stops = ["the ", ".\n", "\n\n", "and", "<|im_end|>", "she", "ly "];

    private static bool IsLong => Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1";

    [Fact]
    public async Task Random_requests()
    {
        int count = IsLong ? 2000 : 150;
        Random random = new(1);
        GenerationRequest[] requests = [.. Enumerable.Range(0, count).Select(i => Create(random, IsCut(i)))];
        await using LanguageModel quiet = await Tales.LoadAsync(new LanguageModelOptions { Threads = 1, Engine = new EngineOptions { PrefixCaching = false } });
        GenerationResult[] alone = new GenerationResult[count];
        for (int i = 0; i < count; i++)
        {
            alone[i] = await quiet.Engine.Submit(requests[i]).CompleteAsync();
        }

        Assert.Equal(0, quiet.Engine.GetStatistics().Preemptions);
        await using LanguageModel busy = await Tales.LoadAsync(new LanguageModelOptions
        {
            Threads = 2, Engine = new EngineOptions { BlockSize = 4, BlockCount = 72, MaxSequences = 24, TokenBudget = 100, PrefillChunk = 23 },
        });
        int cancelled = 0;
        async Task RoundAsync()
        {
            using SemaphoreSlim places = new(AtOnce);
            await Task.WhenAll(Enumerable.Range(0, count).Select(async i =>
            {
                await places.WaitAsync();
                try
                {
                    if (await CheckAsync(busy.Engine, requests[i] with { CacheSalt = i % 5 == 0 ? "other" : null }, alone[i], i))
                    {
                        Interlocked.Increment(ref cancelled);
                    }
                }
                finally
                {
                    places.Release();
                }
            }));
        }

        await RoundAsync();
        long before = Memory.Resident();
        await RoundAsync();
        long after = Memory.Resident();
        await AssertAllReturnedAsync(busy.Engine);
        EngineStatistics statistics = busy.Engine.GetStatistics();
        output.WriteLine($"{2 * count} requests: {statistics.GeneratedTokens} tokens, {statistics.Preemptions} preemptions, {statistics.PrefixHitTokens} cached, {cancelled} cancelled, resident {before >> 20} then {after >> 20} MiB");
        Assert.True(statistics.Preemptions > 0, "no preemption");
        Assert.True(statistics.PrefixHitTokens > 0, "no prefix hit");
        Assert.True(statistics.PrefixEvictions > 0, "no eviction");
        Assert.True(cancelled > 0, "nothing cancelled");
        Assert.True(after - before < 32 << 20, $"resident memory grew by {(after - before) >> 20} MiB");
    }

    [Fact]
    public async Task Sixty_four_callers_of_one_chat_client()
    {
        const int Callers = 64;
        int rounds = IsLong ? 32 : 3;
        ChatOptions Options(int i) => new()
        {
            Seed = i,
            Temperature = i % 3 == 0 ? 0 : 0.9f,
            TopP = i % 3 == 1 ? 0.8f : null,
            MaxOutputTokens = IsCut(i) ? 100 : 5 + (i % 30),
            StopSequences = i % 4 == 0 ? [Stops[i % Stops.Length]] : null,
            RawRepresentationFactory = i % 5 == 1 ? _ => new GenerationOptions { CacheSalt = "other" } : null,
        };
        string Prompt(int i) => i % 5 == 0 ? $"Calculate {i} + {i + 3}." : $"Tell me a story about a {Subjects[i % 8]} and a {Subjects[(i / 8) % 8]}.";
        await using LanguageModel quiet = await Tales.LoadAsync(new LanguageModelOptions { Threads = 1, Engine = new EngineOptions { PrefixCaching = false } });
        await using LanguageModel busy = await Tales.LoadAsync(new LanguageModelOptions
        {
            Threads = 2, Engine = new EngineOptions { BlockSize = 4, BlockCount = 72, MaxSequences = 24, TokenBudget = 100, PrefillChunk = 23 },
        });
        IChatClient alone = quiet.AsChatClient();
        IChatClient client = busy.AsChatClient();
        int cancelled = 0;
        long before = 0;
        long managed = 0;
        for (int round = 0; round < rounds; round++)
        {
            int first = round * Callers;
            ChatResponse[] expected = new ChatResponse[Callers];
            for (int i = 0; i < Callers; i++)
            {
                expected[i] = await alone.GetResponseAsync(Prompt(first + i), Options(first + i));
            }

            await Task.WhenAll(Enumerable.Range(0, Callers).Select(i => Task.Run(async () =>
            {
                int index = first + i;
                ChatResponse together;
                if (IsCut(index))
                {
                    (string text, bool wasCut) = await CutAsync(client, Prompt(index), Options(index), index % 23);
                    Assert.StartsWith(text, Said(expected[i]));
                    Interlocked.Add(ref cancelled, wasCut ? 1 : 0);
                    return;
                }

                // Every other caller streams; the result is the same.
                together = index % 2 == 0
                    ? await client.GetResponseAsync(Prompt(index), Options(index))
                    : await client.GetStreamingResponseAsync(Prompt(index), Options(index)).ToChatResponseAsync();
                Assert.Equal(Shown(expected[i]), Shown(together));
                Assert.Equal((expected[i].FinishReason, expected[i].Usage!.OutputTokenCount), (together.FinishReason, together.Usage!.OutputTokenCount));
            })));
            if (round == rounds / 2 || round == 0)
            {
                (before, managed) = (Memory.Resident(), GC.GetTotalMemory(forceFullCollection: true));
                output.WriteLine($"after {round + 1} rounds: resident {before >> 20} MiB, managed {managed >> 10} KiB");
            }
        }

        long after = Memory.Resident();
        long managedAfter = GC.GetTotalMemory(forceFullCollection: true);
        await AssertAllReturnedAsync(busy.Engine);
        EngineStatistics statistics = busy.Engine.GetStatistics();
        output.WriteLine($"{rounds * Callers} requests: {statistics.GeneratedTokens} tokens, {statistics.Preemptions} preemptions, {statistics.PrefixHitTokens} cached, {cancelled} cancelled, resident {before >> 20} then {after >> 20} MiB, managed {managed >> 10} then {managedAfter >> 10} KiB");
        Assert.True(statistics.Preemptions > 0, "no preemption");
        Assert.True(statistics.PrefixHitTokens > 0, "no prefix hit");
        Assert.True(cancelled > 0, "nothing cancelled");
        Assert.True(managedAfter - managed < 4 << 20, $"the managed heap grew from {managed >> 10} to {managedAfter >> 10} KiB");
        Assert.True(after - before < 32 << 20, $"resident memory grew by {(after - before) >> 20} MiB");
    }

    /// <summary>Cancels after some updates of a stream.</summary>
    /// <returns>What came until then, thoughts included, and whether it was cut.</returns>
    private static async Task<(string Text, bool WasCut)> CutAsync(IChatClient client, string prompt, ChatOptions options, int limit)
    {
        using var stop = new CancellationTokenSource();
        string text = "";
        try
        {
            await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(prompt, options, stop.Token))
            {
                text += Said(update.Contents);
                if (--limit <= 0)
                {
                    await stop.CancelAsync();
                }
            }

            return (text, false);
        }
        catch (OperationCanceledException)
        {
            return (text, true);
        }
    }

    private static string Said(ChatResponse response) => Said(response.Messages.SelectMany(m => m.Contents));

    private static string Said(IEnumerable<AIContent> contents) =>
        string.Concat(contents.Select(c => c switch { TextReasoningContent r => r.Text, TextContent t => t.Text, _ => "" }));

    /// <summary>Waits until the engine has let go of everything, and asserts that it does.</summary>
    internal static async Task AssertAllReturnedAsync(InferenceEngine engine)
    {
        await engine.DrainAsync();
        EngineStatistics statistics = engine.GetStatistics();
        Assert.Equal((0, 0, 0), (statistics.Running, statistics.Waiting, statistics.CacheBlocksUsed));
    }

    private static string Shown(ChatResponse response) =>
        string.Join('|', response.Messages.SelectMany(m => m.Contents).Select(c => c switch { TextReasoningContent r => "R:" + r.Text, TextContent t => "T:" + t.Text, _ => "" }));

    /// <summary>Which requests are cancelled midway.</summary>
    private static bool IsCut(int index) => index % 7 == 3;

    /// <returns>Whether it was cancelled midway.</returns>
    private static async Task<bool> CheckAsync(InferenceEngine engine, GenerationRequest request, GenerationResult alone, int index)
    {
        Generation generation = engine.Submit(request);
        if (!IsCut(index))
        {
            GenerationResult result = await generation.CompleteAsync();
            for (int i = 0; i < alone.Choices.Count; i++)
            {
                (GenerationChoice one, GenerationChoice other) = (alone.Choices[i], result.Choices[i]);
                Assert.True(one.Tokens.SequenceEqual(other.Tokens), $"request {index}, choice {i}: {string.Join(' ', one.Tokens)} alone, {string.Join(' ', other.Tokens)} beside others");
                Assert.Equal((one.Text, one.FinishReason, one.StopString), (other.Text, other.FinishReason, other.StopString));
                Assert.Equal(one.Logprobs.SelectMany(p => p.Top.Prepend(p.Chosen)), other.Logprobs.SelectMany(p => p.Top.Prepend(p.Chosen)));
            }

            Assert.Equal(alone.PromptLogprobs.Select(p => p?.Chosen), result.PromptLogprobs.Select(p => p?.Chosen));
            return false;
        }

        int limit = index % 23;
        List<int>[] tokens = [.. alone.Choices.Select(_ => new List<int>())];
        bool cancelled = false;
        if (limit == 0)
        {
            generation.Cancel();
        }

        await foreach (GenerationEvent item in generation)
        {
            if (item.Token is { } token)
            {
                tokens[item.Choice].Add(token);
            }

            if (--limit == 0)
            {
                generation.Cancel();
            }

            cancelled |= item.FinishReason == FinishReason.Cancelled;
        }

        for (int i = 0; i < tokens.Length; i++)
        {
            Assert.Equal(alone.Choices[i].Tokens.Take(tokens[i].Count), tokens[i]);
        }

        return cancelled;
    }

    private GenerationRequest Create(Random random, bool endless)
    {
        // The templates' beginnings are the shared prefixes; some prompts are long enough to come in several chunks.
        string story = $"Tell me a story about a {Subjects[random.Next(8)]} and a {Subjects[random.Next(8)]}.";
        int repeats = random.Next(8) == 0 ? random.Next(2, 8) : 1;
        int[] prompt = tales.Model.Text.Encode(tales.Model.RenderChat([new ChatMessage(ChatRole.User, string.Join(' ', Enumerable.Repeat(story, repeats)))]));
        if (random.Next(3) == 0)
        {
            prompt = prompt[..random.Next(1, prompt.Length)];
        }

        int max = endless ? 120 : random.Next(1, 40);
        bool logprobs = random.Next(3) == 0;
        return new GenerationRequest
        {
            PromptTokens = prompt,
            MaxTokens = max,
            MinTokens = random.Next(4) == 0 ? random.Next(max) : 0,
            N = random.Next(5) == 0 && !endless ? random.Next(1, 5) : 1,
            Seed = random.NextInt64(),
            IgnoreEos = endless || random.Next(2) == 0,
            Logprobs = logprobs,
            TopLogprobs = logprobs ? random.Next(6) : 0,
            PromptLogprobs = random.Next(10) == 0,
            StopTokens = random.Next(4) == 0 ? [random.Next(2048)] : [],
            StopStrings = random.Next(3) == 0 && !endless ? [Stops[random.Next(Stops.Length)], Stops[random.Next(Stops.Length)]] : [],
            SkipSpecialTokens = random.Next(2) == 0,
            Sampling = random.Next(4) == 0 ? SamplingOptions.Greedy : new SamplingOptions
            {
                Temperature = (float)(random.NextDouble() * 1.8) + 0.1f,
                TopK = random.Next(3) == 0 ? random.Next(1, 60) : 0,
                TopP = random.Next(3) == 0 ? (float)(random.NextDouble() * 0.98) + 0.01f : 1,
                MinP = random.Next(3) == 0 ? (float)random.NextDouble() * 0.5f : 0,
                TypicalP = random.Next(5) == 0 ? 0.9f : 1,
                TopNSigma = random.Next(5) == 0 ? 2 : 0,
                RepetitionPenalty = random.Next(4) == 0 ? 1.2f : 1,
                RepetitionWindow = random.Next(20),
                FrequencyPenalty = random.Next(4) == 0 ? 0.7f : 0,
                PresencePenalty = random.Next(4) == 0 ? -0.4f : 0,
                DryMultiplier = random.Next(4) == 0 ? 0.8f : 0,
                XtcProbability = random.Next(5) == 0 ? 0.5f : 0,
                Mirostat = random.Next(8) == 0,
                LogitBias = random.Next(5) == 0 ? new Dictionary<int, float> { [random.Next(2048)] = 3 } : null,
            },
        };
    }
}
