using Antiphon.Models;

namespace Antiphon.Engine.Tests;

/// <summary>Vectors of texts, through a whole engine whose hidden states tell every token and every order apart.</summary>
public class EmbeddingTests
{
    private static readonly Pooling[] Poolings = Enum.GetValues<Pooling>();

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(7)]
    [InlineData(200)]
    public async Task A_vector_is_the_pooled_hidden_states(int length)
    {
        FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend);
        int[] text = Text(length, 1);
        foreach (Pooling pooling in Poolings)
        {
            EmbeddingResult result = await engine.EmbedAsync(new EmbeddingRequest { Tokens = text, Pooling = pooling });
            Assert.Equal(Expected(text, pooling), result.Vector.ToArray());
            Assert.Equal((length, 0), (result.Usage.PromptTokens, result.Usage.CompletionTokens));
        }

        await EngineTests.AssertAllReturned(engine, backend);
    }

    [Fact]
    public async Task No_logits_are_asked_for()
    {
        int logits = 0;
        FakeBackend backend = new() { OnForward = batch => logits += batch.LogitsRows, HasHead = false };
        await using InferenceEngine engine = EngineTests.Engine(backend);
        await engine.EmbedAsync(new EmbeddingRequest { Tokens = Text(50, 1) });
        await engine.EmbedAsync(new EmbeddingRequest { Tokens = Text(1, 1), Pooling = Pooling.Last });
        Assert.Equal(0, logits);
        Assert.False(engine.CanGenerate);
        Assert.Throws<InvalidRequestException>(() => engine.Submit(EngineTests.Request(1, 2)));
    }

    /// <summary>Chunks, neighbours, cached prefixes and forced preemption change no bit.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public async Task Among_answers_and_other_texts_it_is_the_same(int checkpointEvery)
    {
        // Nothing is computed until all are there: otherwise, on a busy machine, they may come one after the other.
        using ManualResetEventSlim submitted = new();
        FakeBackend backend = new() { CheckpointEvery = checkpointEvery, OnForward = _ => submitted.Wait() };
        await using InferenceEngine engine = EngineTests.Engine(
            backend, new EngineOptions { BlockSize = 4, BlockCount = 40, MaxSequences = 8, TokenBudget = 16, PrefillChunk = 5, PrefillTime = TimeSpan.Zero });
        Random random = new(5);
        Task[] callers = [.. Enumerable.Range(0, 200).Select(i =>
        {
            int[] text = Text(random.Next(1, 90), i % 3);
            Pooling pooling = Poolings[random.Next(Poolings.Length)];
            return Task.Run(async () =>
            {
                if (i % 4 == 0)
                {
                    int[] prompt = text[..Math.Min(text.Length, 40)];
                    GenerationResult answer = await engine.Submit(EngineTests.Request(prompt) with { MaxTokens = 60 }).CompleteAsync();
                    Assert.Equal(EngineTests.Expected(prompt, 60), answer.Choices[0].Tokens);
                }
                else
                {
                    EmbeddingResult result = await engine.EmbedAsync(new EmbeddingRequest { Tokens = text, Pooling = pooling });
                    Assert.Equal(Expected(text, pooling), result.Vector.ToArray());
                }
            });
        })];
        while (engine.GetStatistics() is var now && now.Running + now.Waiting < callers.Length)
        {
            await Task.Delay(1);
        }

        submitted.Set();
        await Task.WhenAll(callers);
        EngineStatistics statistics = engine.GetStatistics();
        Assert.True(statistics.Preemptions > 0, "no preemption");
        Assert.True(statistics.PrefixHitTokens > 0, "no prefix hit");
        await EngineTests.AssertAllReturned(engine, backend);
    }

    [Fact]
    public async Task A_text_of_the_contexts_length_fits_and_a_longer_one_is_refused_with_both_numbers()
    {
        FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockSize = 4, BlockCount = 10 });
        Assert.Equal(40, engine.ContextLength);
        await engine.EmbedAsync(new EmbeddingRequest { Tokens = Text(40, 0) });
        ContextFullException refused = await Assert.ThrowsAsync<ContextFullException>(() => engine.EmbedAsync(new EmbeddingRequest { Tokens = Text(41, 0) }));
        Assert.Equal((41, 40), (refused.PromptTokens, refused.ContextLength));
        await Assert.ThrowsAsync<InvalidRequestException>(() => engine.EmbedAsync(new EmbeddingRequest { Tokens = [] }));
        await Assert.ThrowsAsync<InvalidRequestException>(() => engine.EmbedAsync(new EmbeddingRequest { Tokens = [48] }));
        await Assert.ThrowsAsync<InvalidRequestException>(() => engine.EmbedAsync(new EmbeddingRequest { Tokens = [1], Pooling = (Pooling)9 }));
        await EngineTests.AssertAllReturned(engine, backend);
    }

    [Fact]
    public async Task Cancelling_ends_it_within_a_step_and_full_queues_refuse_it()
    {
        using ManualResetEventSlim gate = new();
        using SemaphoreSlim entered = new(0);
        int steps = 0;
        FakeBackend backend = new()
        {
            OnForward = _ =>
            {
                Interlocked.Increment(ref steps);
                entered.Release();
                gate.Wait();
            },
        };
        await using InferenceEngine engine = EngineTests.Engine(
            backend, new EngineOptions { BlockSize = 4, BlockCount = 100, TokenBudget = 10, MaxSequences = 1, QueueLimit = 1 });
        using CancellationTokenSource stop = new();
        Task<EmbeddingResult> running = engine.EmbedAsync(new EmbeddingRequest { Tokens = Text(300, 0) }, stop.Token);
        await entered.WaitAsync();
        Task<EmbeddingResult> waiting = engine.EmbedAsync(new EmbeddingRequest { Tokens = Text(3, 0) });
        await Assert.ThrowsAsync<QueueFullException>(() => engine.EmbedAsync(new EmbeddingRequest { Tokens = Text(3, 0) }));
        await stop.CancelAsync();
        gate.Set();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        Assert.Equal(3, (await waiting).Usage.PromptTokens);
        Assert.Equal(2, Volatile.Read(ref steps));
        await EngineTests.AssertAllReturned(engine, backend);
    }

    [Fact]
    public async Task A_failed_step_and_the_end_of_the_engine_are_typed()
    {
        bool fails = true;
        FakeBackend backend = new()
        {
            OnForward = _ =>
            {
                if (fails)
                {
                    throw new InvalidOperationException("broken");
                }
            },
        };
        InferenceEngine engine = EngineTests.Engine(backend);
        await Assert.ThrowsAsync<ForwardFailedException>(() => engine.EmbedAsync(new EmbeddingRequest { Tokens = [1, 2] }));
        fails = false;
        await engine.EmbedAsync(new EmbeddingRequest { Tokens = [1, 2] });
        await engine.DisposeAsync();
        await Assert.ThrowsAsync<EngineStoppedException>(() => engine.EmbedAsync(new EmbeddingRequest { Tokens = [1, 2] }));
    }

    private static int[] Text(int length, int seed) => [.. Enumerable.Range(0, length).Select(i => (int)(FakeBackend.Mix((ulong)seed, i, 0) % 48))];

    private static float[] Expected(int[] text, Pooling pooling)
    {
        double[] sum = new double[8];
        float[] state = new float[8];
        ulong hash = 0x1234;
        int taken = 0;
        for (int i = 0; i < text.Length; i++)
        {
            hash = FakeBackend.Mix(hash, text[i], i);
            if (pooling == Pooling.Mean || i == (pooling == Pooling.First ? 0 : text.Length - 1))
            {
                FakeBackend.Fill(hash, state);
                taken++;
                for (int j = 0; j < sum.Length; j++)
                {
                    sum[j] += state[j];
                }
            }
        }

        return [.. sum.Select(s => (float)(s / taken))];
    }
}
