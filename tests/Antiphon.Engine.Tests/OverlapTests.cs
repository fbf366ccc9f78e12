namespace Antiphon.Engine.Tests;

/// <summary>Requests beside each other give, bit for bit, what each gives alone.</summary>
public class OverlapTests
{
    private static readonly FakeText Text = new();

    [Theory]
    [InlineData(1, 0)]
    [InlineData(2, 0)]
    [InlineData(3, 2)]
    public async Task Overlapping_requests_give_what_they_give_alone(int seed, int checkpoints)
    {
        int count = Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1" ? 2000 : 250;
        Random random = new(seed);
        GenerationRequest[] requests = [.. Enumerable.Range(0, count).Select(_ => Create(random))];
        GenerationResult[] alone = new GenerationResult[count];
        using (FakeBackend backend = new())
        {
            await using InferenceEngine engine = new(backend, Text, new EngineOptions { BlockSize = 16, BlockCount = 200, PrefixCaching = false });
            for (int i = 0; i < count; i++)
            {
                alone[i] = await engine.Submit(requests[i]).CompleteAsync();
            }

            Assert.Equal(0, engine.GetStatistics().Preemptions);
        }

        using FakeBackend crowded = new() { CheckpointEvery = checkpoints };
        await using InferenceEngine busy = new(crowded, Text, new EngineOptions
        {
            BlockSize = 4, BlockCount = 90, MaxSequences = 24, TokenBudget = 70, PrefillChunk = 19,
            Policy = seed % 2 == 0 ? new FcfsPolicy() : new PriorityPolicy(TimeSpan.FromMilliseconds(1)),
        });
        using SemaphoreSlim places = new(32);
        int cancelled = 0;
        await Task.WhenAll(Enumerable.Range(0, count).Select(async i =>
        {
            await places.WaitAsync();
            try
            {
                Generation generation = busy.Submit(requests[i] with { CacheSalt = i % 5 == 0 ? "other" : null });
                int limit = i % 7 == 3 ? i % 23 : int.MaxValue;
                if (limit == int.MaxValue)
                {
                    AssertSame(alone[i], await generation.CompleteAsync(), i);
                    return;
                }

                List<int>[] tokens = [.. alone[i].Choices.Select(_ => new List<int>())];
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

                    cancelled += item.FinishReason == FinishReason.Cancelled ? 1 : 0;
                }

                for (int choice = 0; choice < tokens.Length; choice++)
                {
                    Assert.Equal(alone[i].Choices[choice].Tokens.Take(tokens[choice].Count), tokens[choice]);
                }
            }
            finally
            {
                places.Release();
            }
        }));

        EngineStatistics statistics = busy.GetStatistics();
        Assert.True(statistics.Preemptions > 0, "no preemption");
        Assert.True(statistics.PrefixHitTokens > 0, "no prefix hit");
        Assert.True(statistics.PrefixEvictions > 0, "no eviction");
        Assert.True(cancelled > 0, "nothing cancelled");
        await EngineTests.AssertAllReturned(busy, crowded);
    }

    private static void AssertSame(GenerationResult expected, GenerationResult actual, int request)
    {
        for (int i = 0; i < expected.Choices.Count; i++)
        {
            GenerationChoice one = expected.Choices[i];
            GenerationChoice other = actual.Choices[i];
            Assert.True(one.Tokens.SequenceEqual(other.Tokens), $"request {request}, choice {i}");
            Assert.Equal((one.Text, one.FinishReason, one.StopString), (other.Text, other.FinishReason, other.StopString));
            Assert.Equal(one.Logprobs.Select(position => position.Chosen), other.Logprobs.Select(position => position.Chosen));
            Assert.Equal(one.Logprobs.SelectMany(position => position.Top), other.Logprobs.SelectMany(position => position.Top));
        }

        Assert.Equal(expected.PromptLogprobs.Select(position => position?.Chosen), actual.PromptLogprobs.Select(position => position?.Chosen));
        Assert.Equal((expected.Usage.PromptTokens, expected.Usage.CompletionTokens), (actual.Usage.PromptTokens, actual.Usage.CompletionTokens));
    }

    private static GenerationRequest Create(Random random)
    {
        // Prompts share beginnings of different lengths.
        int length = random.Next(8) == 0 ? random.Next(60, 140) : random.Next(1, 40);
        int shared = random.Next(0, length + 1);
        int family = random.Next(3);
        int[] prompt = [.. Enumerable.Range(0, length).Select(i => i < shared ? ((i * 11) + family) % 48 : random.Next(48))];
        int max = random.Next(1, 60);
        bool logprobs = random.Next(3) == 0;
        return new GenerationRequest
        {
            PromptTokens = prompt,
            MaxTokens = max,
            MinTokens = random.Next(4) == 0 ? random.Next(max) : 0,
            N = random.Next(5) == 0 ? random.Next(1, 5) : 1,
            Seed = random.NextInt64(),
            Priority = random.Next(-2, 3),
            IgnoreEos = random.Next(2) == 0,
            Logprobs = logprobs,
            TopLogprobs = logprobs ? random.Next(0, 6) : 0,
            PromptLogprobs = random.Next(10) == 0,
            StopTokens = random.Next(4) == 0 ? [random.Next(48)] : [],
            StopStrings = random.Next(3) == 0 ? [Stops[random.Next(Stops.Length)], Stops[random.Next(Stops.Length)]] : [],
            Sampling = CreateSampling(random),
        };
    }

    private static readonly string[] Stops = ["ab", "stop!", "😀", "é", "c ", "a\n", "bca"];

    internal static SamplingOptions CreateSampling(Random random) => random.Next(4) == 0 ? SamplingOptions.Greedy : new SamplingOptions
    {
        Temperature = random.Next(3) == 0 ? 1 : (float)(random.NextDouble() * 2) + 0.01f,
        TopK = random.Next(3) == 0 ? random.Next(1, 60) : 0,
        TopP = random.Next(3) == 0 ? (float)random.NextDouble() * 0.98f + 0.01f : 1,
        MinP = random.Next(3) == 0 ? (float)random.NextDouble() * 0.5f : 0,
        TypicalP = random.Next(5) == 0 ? (float)random.NextDouble() * 0.98f + 0.01f : 1,
        TopNSigma = random.Next(5) == 0 ? (float)random.NextDouble() * 3 + 0.1f : 0,
        RepetitionPenalty = random.Next(4) == 0 ? 1.2f : 1,
        RepetitionWindow = random.Next(0, 20),
        FrequencyPenalty = random.Next(4) == 0 ? (float)(random.NextDouble() * 4) - 2 : 0,
        PresencePenalty = random.Next(4) == 0 ? (float)(random.NextDouble() * 4) - 2 : 0,
        DryMultiplier = random.Next(4) == 0 ? 0.8f : 0,
        XtcProbability = random.Next(5) == 0 ? 0.5f : 0,
        XtcThreshold = 0.05f,
        Mirostat = random.Next(8) == 0,
        MirostatTau = 3,
        LogitBias = random.Next(5) == 0 ? new Dictionary<int, float> { [random.Next(48)] = 3, [random.Next(48)] = -5 } : null,
    };
}
