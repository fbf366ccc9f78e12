using System.Collections.Concurrent;
using Antiphon.Models;

namespace Antiphon.Engine.Tests;

/// <summary>Cancelling, failing, draining, disposing: every request ends, every block returns.</summary>
public class LifecycleTests
{
    private static readonly EngineOptions Small = new() { BlockCount = 64, BlockSize = 4, TokenBudget = 64 };

    [Fact]
    public async Task Cancel_ends_a_request_within_a_step()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend);
        Generation generation = null!;
        int forwards = 0;
        using ManualResetEventSlim ready = new();
        backend.OnForward = _ =>
        {
            ready.Wait();
            if (++forwards == 10)
            {
                generation.Cancel();
            }
        };
        generation = engine.Submit(EngineTests.Request(1, 2) with { MaxTokens = 200, N = 2 });
        ready.Set();
        GenerationResult result = await generation.CompleteAsync();
        Assert.All(result.Choices, choice => Assert.Equal(FinishReason.Cancelled, choice.FinishReason));
        await EngineTests.AssertAllReturned(engine, backend);
        Assert.Equal(10, forwards);
    }

    [Fact]
    public async Task Cancel_in_the_middle_of_a_prompt_ends_it_within_a_step()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockCount = 200, BlockSize = 4, MaxSequences = 1, TokenBudget = 16 });
        using CancellationTokenSource source = new();
        int forwards = 0;
        backend.OnForward = _ =>
        {
            if (++forwards == 3)
            {
                source.Cancel();
            }
        };
        await Assert.ThrowsAsync<OperationCanceledException>(() => engine.Submit(EngineTests.Request(new int[500]) with { N = 3 }, source.Token).CompleteAsync());
        await EngineTests.AssertAllReturned(engine, backend);
        Assert.Equal(3, forwards);

        // What was computed is kept for the next one.
        Assert.Equal(48, (await engine.Submit(EngineTests.Request(new int[500])).CompleteAsync()).Usage.CachedTokens);
    }

    [Fact]
    public async Task A_reader_never_runs_on_the_engine_thread()
    {
        using FakeBackend backend = new();
        Thread? engineThread = null;
        backend.OnForward = _ => engineThread = Thread.CurrentThread;
        await using InferenceEngine engine = EngineTests.Engine(backend);
        int events = 0;
        await foreach (GenerationEvent item in engine.Submit(EngineTests.Request(1) with { MaxTokens = 100 }).ConfigureAwait(false))
        {
            Assert.NotSame(engineThread, Thread.CurrentThread);
            events++;
        }

        Assert.Equal(100, events);
    }

    [Fact]
    public async Task A_token_of_the_caller_cancels_and_throws()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend);
        using CancellationTokenSource source = new();
        backend.OnForward = batch => Cancel(source, batch);
        await Assert.ThrowsAsync<OperationCanceledException>(() => engine.Submit(EngineTests.Request(1) with { MaxTokens = 200 }, source.Token).CompleteAsync());
        using CancellationTokenSource reader = new();
        backend.OnForward = batch => Cancel(reader, batch);
        await Assert.ThrowsAsync<OperationCanceledException>(() => engine.Submit(EngineTests.Request(1) with { MaxTokens = 200 }).CompleteAsync(reader.Token));
        await Assert.ThrowsAsync<OperationCanceledException>(() => engine.Submit(EngineTests.Request(1), source.Token).CompleteAsync());
        await EngineTests.AssertAllReturned(engine, backend);

        static void Cancel(CancellationTokenSource source, StepBatch batch)
        {
            if (batch.Slices[0].FirstRow == 8)
            {
                source.Cancel();
            }

            // Long enough for a reader that comes late, on a busy machine, to find an answer that is not complete.
            Thread.Sleep(2);
        }
    }

    [Fact]
    public async Task Leaving_the_stream_cancels()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend);
        await foreach (GenerationEvent item in engine.Submit(EngineTests.Request(1) with { MaxTokens = 250 }))
        {
            if (item.Token is not null)
            {
                break;
            }
        }

        await EngineTests.AssertAllReturned(engine, backend);
        Generation generation = engine.Submit(EngineTests.Request(1));
        await generation.CompleteAsync();
        await Assert.ThrowsAsync<InvalidOperationException>(() => generation.CompleteAsync());
    }

    [Theory]
    [InlineData(16)]
    [InlineData(64)]
    public async Task Callers_that_come_and_go_leave_nothing_behind(int callers)
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend, Small with { MaxSequences = 12 });
        ConcurrentBag<string> wrong = [];
        await Task.WhenAll(Enumerable.Range(0, callers).Select(caller => Task.Run(async () =>
        {
            Random random = new(caller);
            for (int i = 0; i < 15; i++)
            {
                int[] prompt = [.. Enumerable.Range(0, random.Next(1, 30)).Select(at => (at + (caller % 3)) % 48)];
                using CancellationTokenSource source = new();
                using Generation generation = engine.Submit(EngineTests.Request(prompt) with { MaxTokens = random.Next(1, 60), N = random.Next(1, 3) }, source.Token);
                switch (random.Next(4))
                {
                    case 0:
                        source.CancelAfter(random.Next(0, 3));
                        break;
                    case 1:
                        continue;
                    case 2:
                        generation.Cancel();
                        break;
                }

                try
                {
                    foreach (GenerationChoice choice in (await generation.CompleteAsync()).Choices)
                    {
                        if (!EngineTests.Expected(prompt, choice.Tokens.Count).SequenceEqual(choice.Tokens))
                        {
                            wrong.Add($"{caller}/{i}");
                        }
                    }
                }
                catch (OperationCanceledException)
                {
                }
            }
        })));
        Assert.Empty(wrong);
        for (int i = 0; i < 500 && engine.GetStatistics().Finished < callers * 15; i++)
        {
            await Task.Delay(5); // some were abandoned a moment ago
        }

        await EngineTests.AssertAllReturned(engine, backend);
        Assert.Equal(callers * 15, engine.GetStatistics().Finished);
    }

    [Theory]
    [InlineData(16)]
    [InlineData(64)]
    public async Task Dispose_while_generating_ends_every_request(int callers)
    {
        for (int round = 0; round < 10; round++)
        {
            using FakeBackend backend = new();
            InferenceEngine engine = EngineTests.Engine(backend, Small);
            int ended = 0;
            Task[] tasks = [.. Enumerable.Range(0, callers).Select(caller => Task.Run(async () =>
            {
                try
                {
                    for (int i = 0; ; i++)
                    {
                        await engine.Submit(EngineTests.Request(caller % 48, i % 48) with { MaxTokens = 200 }).CompleteAsync();
                    }
                }
                catch (EngineStoppedException)
                {
                    Interlocked.Increment(ref ended);
                }
            }))];
            await Task.Delay(round * 3);
            await engine.DisposeAsync();
            await Task.WhenAll(tasks).WaitAsync(TimeSpan.FromSeconds(20));
            Assert.Equal(callers, ended);
            Assert.True(backend.Cache!.Disposed);
            Assert.Equal(EngineState.Stopped, engine.State);
            Assert.Throws<EngineStoppedException>(() => engine.Submit(EngineTests.Request(1)));
            engine.Dispose();
        }
    }

    [Fact]
    public async Task Drain_finishes_what_is_there_and_takes_nothing_new()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend);
        Task<GenerationResult>[] all = [.. Enumerable.Range(0, 5).Select(i => engine.Submit(EngineTests.Request(i) with { MaxTokens = 50 }).CompleteAsync())];
        Task drain = engine.DrainAsync();
        Assert.Throws<EngineStoppedException>(() => engine.Submit(EngineTests.Request(1)));
        await drain.WaitAsync(TimeSpan.FromSeconds(20));
        Assert.All(await Task.WhenAll(all), result => Assert.Equal(50, result.Choices[0].Tokens.Count));
        Assert.Equal(EngineState.Draining, engine.State);
    }

    [Fact]
    public async Task A_drain_that_is_cancelled_cancels_what_is_there()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockCount = 4000, BlockSize = 1 });
        backend.OnForward = _ => Thread.Sleep(1);
        Task<GenerationResult> endless = engine.Submit(EngineTests.Request(1) with { MaxTokens = 3900 }).CompleteAsync();
        using CancellationTokenSource source = new(50);
        await engine.DrainAsync(source.Token).WaitAsync(TimeSpan.FromSeconds(20));
        Assert.Equal(FinishReason.Cancelled, (await endless).Choices[0].FinishReason);
    }

    [Fact]
    public async Task A_failed_forward_pass_fails_its_requests_and_no_others()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend);
        backend.OnForward = batch =>
        {
            if (batch.Tokens.Contains(47))
            {
                throw new InvalidDataException("bad");
            }
        };
        Generation bad = engine.Submit(EngineTests.Request(47) with { N = 2 });
        ForwardFailedException error = await Assert.ThrowsAsync<ForwardFailedException>(() => bad.CompleteAsync());
        Assert.IsType<InvalidDataException>(error.InnerException);
        Assert.Same(error, bad.Error);
        GenerationRequest good = EngineTests.Request(1, 2) with { Sampling = SamplingOptions.Greedy with { LogitBias = new Dictionary<int, float> { [47] = float.NegativeInfinity } } };
        Assert.Equal(20, (await engine.Submit(good).CompleteAsync()).Choices[0].Tokens.Count);
        Assert.Equal(1, engine.GetStatistics().ForwardFailures);
        await EngineTests.AssertAllReturned(engine, backend);
    }

    [Fact]
    public async Task Too_many_failures_in_a_row_stop_the_engine()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend);
        backend.OnForward = _ => throw new InvalidDataException("broken");
        for (int i = 0; i < 3; i++)
        {
            await Assert.ThrowsAsync<ForwardFailedException>(() => engine.Submit(EngineTests.Request(i)).CompleteAsync());
        }

        for (int i = 0; i < 500 && engine.State != EngineState.Faulted; i++)
        {
            await Task.Delay(5);
        }

        Assert.Equal(EngineState.Faulted, engine.State);
        Assert.IsType<InvalidDataException>(engine.Fault);
        Assert.Same(engine.Fault, Assert.Throws<EngineStoppedException>(() => engine.Submit(EngineTests.Request(1))).InnerException);
    }

    [Theory]
    [InlineData("create")]
    [InlineData("apply")]
    [InlineData("accept")]
    [InlineData("complete")]
    [InlineData("dispose")]
    [InlineData("everything")]
    public async Task A_mask_that_fails_fails_its_request_alone(string where)
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend);
        Task<GenerationResult> good = engine.Submit(EngineTests.Request(1, 2) with { MaxTokens = 60 }).CompleteAsync();
        Generation bad = engine.Submit(EngineTests.Request(3) with { N = 3, CreateMask = choice => choice == 1 ? new BadMask(where) : new BadMask("") });
        await Assert.ThrowsAsync<DecodingFailedException>(() => bad.CompleteAsync());
        Assert.Equal(EngineTests.Expected([1, 2], 60), (await good).Choices[0].Tokens);
        await EngineTests.AssertAllReturned(engine, backend);
    }

    [Fact]
    public async Task A_mask_decides_what_comes_and_when_it_ends()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend);
        CountdownMask[] masks = [new(5), new(8)];
        GenerationResult result = await engine.Submit(EngineTests.Request(3) with { N = 2, Sampling = SamplingOptions.Default, CreateMask = choice => masks[choice] }).CompleteAsync();
        Assert.Equal([5, 4, 3, 2, 1], result.Choices[0].Tokens);
        Assert.Equal([8, 7, 6, 5, 4, 3, 2, 1], result.Choices[1].Tokens);
        Assert.All(result.Choices, choice => Assert.Equal(FinishReason.Stop, choice.FinishReason));
        Assert.All(masks, mask => Assert.Equal(1, mask.Disposed));
    }

    [Fact]
    public async Task Not_a_number_fails_one_request()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend);
        backend.OnLogits = (sequence, _, logits) => logits[3] = sequence.Tokens[0] == 9 ? float.NaN : logits[3];
        Task<GenerationResult> good = engine.Submit(EngineTests.Request(1)).CompleteAsync();
        await Assert.ThrowsAsync<DecodingFailedException>(() => engine.Submit(EngineTests.Request(9)).CompleteAsync());
        Assert.Equal(EngineTests.Expected([1], 20), (await good).Choices[0].Tokens);
    }

    private sealed class BadMask(string where) : ILogitsMask
    {
        private readonly string at = where != "create" ? where : throw new InvalidOperationException("create");

        public bool IsComplete => at == "complete" ? throw new InvalidOperationException(at) : false;

        public void Apply(Span<float> logits)
        {
            if (at == "apply")
            {
                throw new InvalidOperationException(at);
            }

            if (at == "everything")
            {
                logits.Fill(float.NegativeInfinity);
            }
        }

        public void Accept(int token)
        {
            if (at == "accept")
            {
                throw new InvalidOperationException(at);
            }
        }

        public void Dispose()
        {
            if (at == "dispose")
            {
                throw new InvalidOperationException(at);
            }
        }
    }

    private sealed class CountdownMask(int from) : ILogitsMask
    {
        private int next = from;

        public int Disposed { get; private set; }

        public bool IsComplete => next == 0;

        public void Apply(Span<float> logits)
        {
            float kept = logits[next];
            logits.Fill(float.NegativeInfinity);
            logits[next] = kept;
        }

        public void Accept(int token) => next = token - 1;

        public void Dispose() => Disposed++;
    }
}
