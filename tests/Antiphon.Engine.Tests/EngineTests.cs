using Antiphon.Models;

namespace Antiphon.Engine.Tests;

/// <summary>Requests through a whole engine.</summary>
public class EngineTests
{
    internal static readonly FakeText Text = new();

    internal static InferenceEngine Engine(FakeBackend backend, EngineOptions? options = null) =>
        new(backend, Text, options ?? new EngineOptions { BlockCount = 64, BlockSize = 4 });

    internal static GenerationRequest Request(params int[] prompt) =>
        new() { PromptTokens = prompt, MaxTokens = 20, Sampling = SamplingOptions.Greedy, IgnoreEos = true };

    /// <summary>What the fake model answers, computed directly.</summary>
    internal static int[] Expected(IEnumerable<int> prompt, int count, int vocabulary = 48)
    {
        List<int> tokens = [.. prompt];
        int start = tokens.Count;
        float[] logits = new float[vocabulary];
        while (tokens.Count < start + count)
        {
            ulong hash = 0x1234;
            for (int i = 0; i < tokens.Count; i++)
            {
                hash = FakeBackend.Mix(hash, tokens[i], i);
            }

            FakeBackend.Fill(hash, logits);
            tokens.Add(Array.IndexOf(logits, logits.Max()));
        }

        return [.. tokens.Skip(start)];
    }

    internal static async Task AssertAllReturned(InferenceEngine engine, FakeBackend backend)
    {
        for (int i = 0; i < 500 && engine.GetStatistics() is { } now && (now.CacheBlocksUsed != 0 || now.Running + now.Waiting != 0 || now.StepAge != TimeSpan.Zero); i++)
        {
            await Task.Delay(5);
        }

        EngineStatistics statistics = engine.GetStatistics();
        Assert.Equal((0, 0, 0), (statistics.CacheBlocksUsed, statistics.Running, statistics.Waiting));
        Assert.Equal(0, backend.Cache!.States);
        Assert.Equal(statistics.CacheBlocks, backend.Cache.FreeBlocks + statistics.CacheBlocksIdle);
        for (int block = 0; block < backend.Cache.BlockCount; block++)
        {
            Assert.InRange(backend.Cache.References(block), 0, 1);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(7)]
    [InlineData(33)]
    public async Task Greedy_answer_is_the_models(int length)
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend);
        int[] prompt = [.. Enumerable.Range(1, length)];
        GenerationResult result = await engine.Submit(Request(prompt)).CompleteAsync();
        Assert.Equal(Expected(prompt, 20), result.Choices[0].Tokens);
        Assert.Equal(FinishReason.Length, result.Choices[0].FinishReason);
        Assert.Equal(new GenerationUsage(length, 0, 20), result.Usage);
        await AssertAllReturned(engine, backend);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(16)]
    [InlineData(512)]
    public async Task Chunks_change_nothing(int budget)
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend, new EngineOptions { BlockCount = 64, BlockSize = 4, MaxSequences = 1, TokenBudget = budget, PrefillChunk = budget, PrefillTime = TimeSpan.Zero });
        int[] prompt = [.. Enumerable.Range(0, 100).Select(i => (i * 7) % 48)];
        Assert.Equal(Expected(prompt, 20), (await engine.Submit(Request(prompt)).CompleteAsync()).Choices[0].Tokens);
    }

    [Fact]
    public async Task A_prefix_hit_is_counted_and_changes_nothing()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend);
        int[] prompt = [.. Enumerable.Range(1, 16)];
        GenerationRequest request = Request(prompt) with { Logprobs = true, TopLogprobs = 3 };
        GenerationResult cold = await engine.Submit(request).CompleteAsync();
        GenerationResult warm = await engine.Submit(request).CompleteAsync();
        Assert.Equal(0, cold.Usage.CachedTokens);
        Assert.Equal(12, warm.Usage.CachedTokens); // 16 tokens are 4 blocks; the last token is always computed
        Assert.Equal(cold.Choices[0].Tokens, warm.Choices[0].Tokens);
        Assert.Equal(cold.Choices[0].Logprobs.Select(one => one.Chosen), warm.Choices[0].Logprobs.Select(one => one.Chosen));

        // The answer's own blocks serve the next turn.
        GenerationResult next = await engine.Submit(Request([.. prompt, .. cold.Choices[0].Tokens, 5])).CompleteAsync();
        Assert.Equal(32, next.Usage.CachedTokens);
        Assert.Equal(Expected([.. prompt, .. cold.Choices[0].Tokens, 5], 20), next.Choices[0].Tokens);
    }

    [Fact]
    public async Task Salts_do_not_share()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend);
        GenerationRequest request = Request([.. Enumerable.Range(1, 16)]);
        foreach ((string? salt, int cached) in new (string?, int)[] { (null, 0), ("", 0), ("a", 0), ("b", 0), ("a", 12), ("", 12), (null, 12) })
        {
            Assert.Equal(cached, (await engine.Submit(request with { CacheSalt = salt }).CompleteAsync()).Usage.CachedTokens);
        }
    }

    [Theory]
    [InlineData(1, 40)]
    [InlineData(3, 12)]
    public async Task Requests_planned_short_and_long_share_nothing_and_answer_the_same_cold_and_warm(int running, int blocks)
    {
        // Of one prompt, half the requests may grow beyond the border where the model changes its positions: their rows differ from the first token on.
        int[] prompt = [.. Enumerable.Range(0, 16).Select(i => (i * 5) % 48)];
        GenerationRequest[] requests = [.. Enumerable.Range(0, 12).Select(i => Request([.. prompt[..(16 - (i % 3))]]) with { MaxTokens = i % 2 == 0 ? 4 : 20, Logprobs = true })];
        GenerationResult[] cold = new GenerationResult[requests.Length];
        for (int i = 0; i < requests.Length; i++)
        {
            using FakeBackend alone = new() { ShortLength = 24 };
            await using InferenceEngine engine = Engine(alone);
            cold[i] = await engine.Submit(requests[i]).CompleteAsync();
        }

        Assert.NotEqual(cold[0].Choices[0].Tokens, cold[3].Choices[0].Tokens.Take(4));
        using ManualResetEventSlim submitted = new();
        using FakeBackend backend = new() { ShortLength = 24, OnForward = _ => submitted.Wait() };
        await using InferenceEngine warm = Engine(backend, new EngineOptions { BlockCount = blocks, BlockSize = 4, MaxSequences = running });
        for (int round = 0; round < 2; round++)
        {
            submitted.Reset();
            Generation[] all = [.. requests.Select(request => warm.Submit(request))];
            submitted.Set();
            for (int i = 0; i < all.Length; i++)
            {
                GenerationResult result = await all[i].CompleteAsync();
                Assert.Equal(cold[i].Choices[0].Tokens, result.Choices[0].Tokens);
                Assert.Equal(cold[i].Choices[0].Logprobs.Select(l => l.Chosen), result.Choices[0].Logprobs.Select(l => l.Chosen));
            }
        }

        Assert.True(warm.GetStatistics().PrefixHitTokens > 0, "nothing was shared");
        Assert.True(running == 1 || warm.GetStatistics().Preemptions > 0, "nothing was preempted");
        await AssertAllReturned(warm, backend);
    }

    [Fact]
    public async Task A_prompt_that_finds_little_in_the_cache_knows_where_it_departs()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend);
        int[] prompt = [.. Enumerable.Range(0, 20).Select(i => (i * 5) % 47)];
        Assert.Null(await DivergenceAsync(prompt, null));
        Assert.Null(await DivergenceAsync(prompt, null));
        Assert.Equal(6, await DivergenceAsync([.. prompt[..6], 47, .. prompt[7..]], null));
        Assert.Equal(2, await DivergenceAsync([.. prompt[..2], 47, .. prompt[3..]], null));
        Assert.Null(await DivergenceAsync([47, .. prompt[1..]], null));
        Assert.Null(await DivergenceAsync([.. prompt[..2], 46, .. prompt[3..]], "another salt"));
        Assert.Equal(2, await DivergenceAsync([.. prompt[..2], 45, .. prompt[3..]], "another salt"));

        async Task<int?> DivergenceAsync(int[] tokens, string? salt)
        {
            Generation generation = engine.Submit(Request(tokens) with { MaxTokens = 1, CacheSalt = salt });
            await generation.CompleteAsync();
            return generation.DivergedAt;
        }
    }

    [Fact]
    public async Task The_vocabulary_is_searched_for_sequence_breakers_once()
    {
        FakeText text = new();
        using FakeBackend backend = new();
        await using InferenceEngine engine = new(backend, text, new EngineOptions { BlockCount = 64, BlockSize = 4 });
        GenerationRequest request = Request(1, 2, 3) with { MaxTokens = 1, WantText = false, Sampling = SamplingOptions.Greedy with { DryMultiplier = 1 } };
        await engine.Submit(request).CompleteAsync();
        Assert.Equal(48, text.Looks);
        await engine.Submit(request).CompleteAsync();
        Assert.Equal(48, text.Looks);
        await engine.Submit(request with { Sampling = request.Sampling with { DrySequenceBreakers = ["a"] } }).CompleteAsync();
        Assert.Equal(96, text.Looks);
        await engine.Submit(request).CompleteAsync();
        Assert.Equal(96, text.Looks);
    }

    [Fact]
    public async Task Without_prefix_caching_requests_do_not_share_but_choices_do()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend, new EngineOptions { BlockCount = 64, BlockSize = 4, PrefixCaching = false });
        GenerationRequest request = Request([.. Enumerable.Range(1, 17)]) with { N = 3, MaxTokens = 4 };
        int computed = 0;
        backend.OnForward = batch => computed += batch.Tokens.Length;
        await engine.Submit(request).CompleteAsync();
        Assert.Equal(17 + (2 * 1) + (3 * 3), computed);
        Assert.Equal(0, (await engine.Submit(request).CompleteAsync()).Usage.CachedTokens);
    }

    [Fact]
    public async Task Choices_differ_and_the_seed_decides()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend);
        GenerationRequest request = Request(1, 2, 3, 4, 5, 6, 7, 8, 9) with { Sampling = SamplingOptions.Default, N = 4, Seed = 7 };
        GenerationResult first = await engine.Submit(request).CompleteAsync();
        GenerationResult again = await engine.Submit(request).CompleteAsync();
        GenerationResult other = await engine.Submit(request with { Seed = 8 }).CompleteAsync();
        Assert.Equal(4, first.Choices.Select(choice => string.Join(' ', choice.Tokens)).Distinct().Count());
        Assert.Equal([0, 1, 2, 3], first.Choices.Select(choice => choice.Index));
        Assert.Equal(80, first.Usage.CompletionTokens);
        for (int i = 0; i < 4; i++)
        {
            Assert.Equal(first.Choices[i].Tokens, again.Choices[i].Tokens);
            Assert.NotEqual(first.Choices[i].Tokens, other.Choices[i].Tokens);
        }
    }

    [Fact]
    public async Task Preemption_changes_nothing()
    {
        // Nothing is computed until all are there: otherwise, on a busy machine, they may come one after the other.
        using ManualResetEventSlim submitted = new();
        using FakeBackend backend = new() { OnForward = _ => submitted.Wait() };
        await using InferenceEngine engine = Engine(backend, new EngineOptions { BlockCount = 12, BlockSize = 4 });
        Task<GenerationResult>[] all = [.. Enumerable.Range(0, 8).Select(i => engine.Submit(Request(i, i + 1, i + 2) with { MaxTokens = 40 }).CompleteAsync())];
        submitted.Set();
        GenerationResult[] results = await Task.WhenAll(all);
        for (int i = 0; i < 8; i++)
        {
            Assert.Equal(Expected([i, i + 1, i + 2], 40), results[i].Choices[0].Tokens);
        }

        Assert.True(engine.GetStatistics().Preemptions > 0);
        await AssertAllReturned(engine, backend);
    }

    [Fact]
    public async Task Recurrent_models_start_at_checkpoints_only()
    {
        using FakeBackend backend = new() { CheckpointEvery = 2 };
        await using InferenceEngine engine = Engine(backend);
        GenerationRequest request = Request([.. Enumerable.Range(1, 16)]);
        await engine.Submit(request).CompleteAsync();
        GenerationResult warm = await engine.Submit(request).CompleteAsync();
        Assert.Equal(8, warm.Usage.CachedTokens);
        Assert.Equal(Expected(request.PromptTokens, 20), warm.Choices[0].Tokens);
        await AssertAllReturned(engine, backend);
    }

    [Fact]
    public async Task Equal_prompts_at_once_share_blocks()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend);
        GenerationRequest request = Request([.. Enumerable.Range(1, 30)]) with { MaxTokens = 30 };
        GenerationResult[] results = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => engine.Submit(request).CompleteAsync()));
        Assert.All(results, result => Assert.Equal(Expected(request.PromptTokens, 30), result.Choices[0].Tokens));
        await AssertAllReturned(engine, backend);
        Assert.Equal(14, engine.GetStatistics().CacheBlocksIdle); // 59 computed tokens, once
    }

    [Fact]
    public async Task Logprobs_are_those_of_the_raw_logits()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend);
        GenerationRequest request = Request(3, 1, 4) with
        {
            Logprobs = true, TopLogprobs = 5, MaxTokens = 8,
            Sampling = new SamplingOptions { Temperature = 0.7f, FrequencyPenalty = 1, LogitBias = new Dictionary<int, float> { [9] = 50 } },
        };
        GenerationChoice choice = (await engine.Submit(request).CompleteAsync()).Choices[0];
        Assert.Equal(Enumerable.Repeat(9, 8), choice.Tokens);
        List<int> text = [3, 1, 4];
        foreach (PositionLogprobs position in choice.Logprobs)
        {
            double[] expected = Reference(text);
            Assert.Equal(expected[9], position.Chosen.Logprob, 1e-5);
            int[] top = [.. Enumerable.Range(0, 48).OrderByDescending(i => expected[i]).Take(5)];
            Assert.Equal(top, position.Top.Select(one => one.Token));
            Assert.All(position.Top, one => Assert.Equal(expected[one.Token], one.Logprob, 1e-5));
            text.Add(9);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    [InlineData(512)]
    public async Task Prompt_logprobs_cover_the_prompt(int budget)
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend, new EngineOptions { BlockCount = 64, BlockSize = 4, MaxSequences = 1, TokenBudget = budget });
        int[] prompt = [.. Enumerable.Range(0, 70).Select(i => i * 5 % 48)];
        for (int round = 0; round < 2; round++)
        {
            Generation generation = engine.Submit(Request(prompt) with { PromptLogprobs = true, TopLogprobs = 2, MaxTokens = 3 });
            GenerationResult result = await generation.CompleteAsync();
            Assert.Equal(Expected(prompt, 3), result.Choices[0].Tokens);
            Assert.Equal(70, result.PromptLogprobs.Count);
            Assert.Null(result.PromptLogprobs[0]);
            for (int i = 1; i < prompt.Length; i++)
            {
                double[] expected = Reference(prompt[..i]);
                Assert.Equal(prompt[i], result.PromptLogprobs[i]!.Chosen.Token);
                Assert.Equal(expected[prompt[i]], result.PromptLogprobs[i]!.Chosen.Logprob, 1e-5);
                Assert.Equal(2, result.PromptLogprobs[i]!.Top.Count);
            }
        }
    }

    [Fact]
    public async Task Text_is_the_same_streamed_and_whole()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend);
        GenerationRequest request = Request(5, 6) with { MaxTokens = 60 };
        string streamed = "";
        int last = 0;
        await foreach (GenerationEvent item in engine.Submit(request))
        {
            streamed += item.Text;
            last += item.FinishReason == FinishReason.None ? 0 : 1;
        }

        GenerationChoice whole = (await engine.Submit(request).CompleteAsync()).Choices[0];
        Assert.Equal(1, last);
        Assert.Equal(streamed, whole.Text);
        Assert.Equal(System.Text.Encoding.UTF8.GetString([.. whole.Tokens.SelectMany(token => Text.TokenBytes(token).ToArray())]), streamed);
    }

    [Fact]
    public async Task Stop_and_end_tokens_stop()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = Engine(backend);
        int[] expected = Expected([1, 2], 20);
        int stop = expected[6];
        int first = Array.IndexOf(expected, stop);
        GenerationChoice choice = (await engine.Submit(Request(1, 2) with { StopTokens = [stop] }).CompleteAsync()).Choices[0];
        Assert.Equal(expected[..(first + 1)], choice.Tokens);
        Assert.Equal(FinishReason.Stop, choice.FinishReason);
        Assert.Equal(System.Text.Encoding.UTF8.GetString([.. expected[..first].SelectMany(token => Text.TokenBytes(token).ToArray())]), choice.Text);

        backend.OnLogits = (_, row, logits) => logits[0] = row >= 4 ? 50 : logits[0];
        Assert.Equal(0, (await engine.Submit(Request(1, 2) with { IgnoreEos = false }).CompleteAsync()).Choices[0].Tokens[^1]);
        GenerationChoice late = (await engine.Submit(Request(1, 2) with { IgnoreEos = false, MinTokens = 9 }).CompleteAsync()).Choices[0];
        Assert.Equal((10, 0), (late.Tokens.Count, late.Tokens[^1]));
        Assert.DoesNotContain(0, late.Tokens.SkipLast(1));
        Assert.Equal(20, (await engine.Submit(Request(1, 2)).CompleteAsync()).Choices[0].Tokens.Count);
    }

    [Fact]
    public async Task Typed_errors_name_what_is_wrong()
    {
        using FakeBackend backend = new(contextLength: 32);
        await using InferenceEngine engine = Engine(backend);
        ContextFullException full = Assert.Throws<ContextFullException>(() => engine.Submit(Request(new int[32])));
        Assert.Equal((32, 32), (full.PromptTokens, full.ContextLength));
        Assert.Equal(FinishReason.Length, (await engine.Submit(Request(new int[31])).CompleteAsync()).Choices[0].FinishReason);
        GenerationRequest good = Request(1);
        SamplingOptions sampling = SamplingOptions.Default;
        foreach ((string field, GenerationRequest bad) in new (string, GenerationRequest)[]
        {
            ("PromptTokens.Count", good with { PromptTokens = [] }), ("PromptTokens", good with { PromptTokens = [48] }), ("PromptTokens", good with { PromptTokens = [-1] }),
            ("PromptTokens", good with { PromptTokens = null! }),
            ("MaxTokens", good with { MaxTokens = 0 }), ("MinTokens", good with { MinTokens = 21 }), ("MinTokens", good with { MinTokens = -1 }), ("N", good with { N = 17 }), ("N", good with { N = 0 }),
            ("TopLogprobs", good with { Logprobs = true, TopLogprobs = 21 }), ("TopLogprobs", good with { TopLogprobs = 1 }), ("StopTokens", good with { StopTokens = [99] }),
            ("StopStrings.Length", good with { StopStrings = [""] }), ("StopStrings", good with { StopStrings = ["\ud83d"] }), ("StopStrings", good with { StopStrings = ["a"], WantText = false }),
            ("StopStrings", good with { StopStrings = [.. Enumerable.Repeat("a", 17)] }),
            ("Sampling.Temperature", good with { Sampling = sampling with { Temperature = float.NaN } }), ("Sampling.Temperature", good with { Sampling = sampling with { Temperature = -1 } }),
            ("Sampling.TopP", good with { Sampling = sampling with { TopP = 0 } }), ("Sampling.TopP", good with { Sampling = sampling with { TopP = 1.5f } }), ("Sampling.TopK", good with { Sampling = sampling with { TopK = -1 } }),
            ("Sampling.MinP", good with { Sampling = sampling with { MinP = float.PositiveInfinity } }), ("Sampling.FrequencyPenalty", good with { Sampling = sampling with { FrequencyPenalty = 3 } }),
            ("Sampling.LogitBias", good with { Sampling = sampling with { LogitBias = new Dictionary<int, float> { [48] = 1 } } }),
            ("Sampling.LogitBias", good with { Sampling = sampling with { LogitBias = new Dictionary<int, float> { [1] = float.NaN } } }),
        })
        {
            Assert.Equal(field, Assert.Throws<InvalidRequestException>(() => engine.Submit(bad)).Field);
        }

        foreach ((string field, EngineOptions bad) in new (string, EngineOptions)[]
        {
            ("BlockSize", new() { BlockSize = 0 }), ("BlockCount", new() { BlockCount = 0 }), ("BlockCount", new() { BlockSize = 1, BlockCount = 1 }), ("CacheBytes", new() { CacheBytes = 5 }), ("CacheBytes", new() { CacheBytes = -5 }), ("TokenBudget", new() { MaxSequences = 8, TokenBudget = 7 }),
            ("ContextLength", new() { ContextLength = 1 }), ("QueueLimit", new() { QueueLimit = 0 }), ("BlockCount", new() { BlockCount = int.MaxValue }),
        })
        {
            Assert.Equal(field, Assert.Throws<InvalidRequestException>(() => Engine(new FakeBackend(), bad)).Field);
        }

        await AssertAllReturned(engine, backend);
    }

    [Fact]
    public async Task The_pool_follows_the_options()
    {
        using FakeBackend backend = new(contextLength: 100);
        await using (InferenceEngine bytes = new(backend, null, new EngineOptions { BlockSize = 4, CacheBytes = 333 }))
        {
            Assert.Equal((10, 40), (bytes.GetStatistics().CacheBlocks, bytes.ContextLength));
        }

        await using (InferenceEngine automatic = new(backend, null, new EngineOptions { MaxSequences = 3 }))
        {
            Assert.Equal((21, 100), (automatic.GetStatistics().CacheBlocks, automatic.ContextLength));
        }

        Assert.Equal(3, PoolSize.Blocks(new EngineOptions { BlockSize = 10, MaxSequences = 5 }, backend, 80 * 6));
        Assert.Equal(10, PoolSize.Blocks(new EngineOptions { BlockSize = 10, MaxSequences = 5 }, backend, 80 * 14));
        Assert.Equal(20, PoolSize.Blocks(new EngineOptions { BlockSize = 10, MaxSequences = 5 }, backend, 80 * 40));
        Assert.Equal(50, PoolSize.Blocks(new EngineOptions { BlockSize = 10, MaxSequences = 5 }, backend, long.MaxValue));
    }

    internal static double[] Reference(IReadOnlyList<int> text)
    {
        ulong hash = 0x1234;
        for (int i = 0; i < text.Count; i++)
        {
            hash = FakeBackend.Mix(hash, text[i], i);
        }

        float[] logits = new float[48];
        FakeBackend.Fill(hash, logits);
        double sum = logits.Sum(logit => Math.Exp(logit));
        return [.. logits.Select(logit => logit - Math.Log(sum))];
    }
}
