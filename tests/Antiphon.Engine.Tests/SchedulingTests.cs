using System.Diagnostics.Metrics;
using Antiphon.Models;

namespace Antiphon.Engine.Tests;

/// <summary>Who runs when.</summary>
public class SchedulingTests
{
    /// <summary>Holds the engine in its first forward pass until all requests of a test are in the queue.</summary>
    private static ManualResetEventSlim Hold(FakeBackend backend, Action<StepBatch>? then = null)
    {
        ManualResetEventSlim gate = new();
        backend.OnForward = batch =>
        {
            if (!gate.IsSet)
            {
                gate.Wait();
            }

            then?.Invoke(batch);
        };
        return gate;
    }

    private static async Task<List<int>> Order(ISchedulingPolicy policy, params int[] priorities)
    {
        using FakeBackend backend = new();
        List<int> order = [];
        using ManualResetEventSlim gate = Hold(backend, batch => order.AddRange(batch.Slices[0].FirstRow == 0 ? [batch.Tokens[0]] : Array.Empty<int>()));
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockCount = 64, BlockSize = 4, MaxSequences = 1, Policy = policy });
        Task first = engine.Submit(EngineTests.Request(47, 1) with { MaxTokens = 2, Priority = -1000 }).CompleteAsync();
        while (engine.GetStatistics().Running == 0)
        {
            await Task.Delay(1);
        }

        Task[] all = [.. priorities.Select((priority, i) => engine.Submit(EngineTests.Request(i, 1) with { MaxTokens = 2, Priority = priority }).CompleteAsync())];
        gate.Set();
        await Task.WhenAll([first, .. all]);
        return order;
    }

    [Fact]
    public async Task Fcfs_serves_in_order_of_arrival() => Assert.Equal([47, 0, 1, 2, 3], await Order(new FcfsPolicy(), 3, 0, 2, -1));

    [Fact]
    public async Task Priority_serves_the_lowest_first() => Assert.Equal([47, 3, 1, 4, 2, 0], await Order(new PriorityPolicy(), 3, 0, 2, -1, 0));

    [Fact]
    public void Waiting_outweighs_priority_in_the_end()
    {
        PriorityPolicy policy = new(TimeSpan.FromSeconds(10));
        SchedulingEntry patient = new(0, TimeSpan.Zero, 3, 1, 1);
        Assert.True(policy.Compare(new SchedulingEntry(1, TimeSpan.FromSeconds(29), 0, 1, 1), patient) < 0);
        Assert.True(policy.Compare(new SchedulingEntry(2, TimeSpan.FromSeconds(30), 0, 1, 1), patient) > 0);
        Assert.True(policy.Compare(new SchedulingEntry(3, TimeSpan.MaxValue, int.MaxValue, 1, 1), new SchedulingEntry(4, TimeSpan.MaxValue, int.MinValue, 1, 1)) > 0);
    }

    [Fact]
    public async Task Nobody_starves_behind_a_stream_of_urgent_requests()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockCount = 16, BlockSize = 4, MaxSequences = 2, Policy = new PriorityPolicy(TimeSpan.FromMilliseconds(20)) });
        Generation patient = engine.Submit(EngineTests.Request(1) with { Priority = 3, MaxTokens = 60 });
        Task<GenerationResult> result = patient.CompleteAsync();
        int urgent = 0;
        while (!result.IsCompleted)
        {
            await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => engine.Submit(EngineTests.Request(2, urgent++ % 48)).CompleteAsync()));
            Assert.True(urgent < 100_000);
        }

        Assert.Equal(EngineTests.Expected([1], 60), (await result).Choices[0].Tokens);
    }

    [Fact]
    public async Task An_urgent_request_displaces_a_running_one()
    {
        using FakeBackend backend = new();
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockCount = 64, BlockSize = 4, MaxSequences = 1, Policy = new PriorityPolicy() });
        Generation? urgent = null;
        backend.OnForward = batch => urgent ??= batch.Slices[0].FirstRow == 10 ? engine.Submit(EngineTests.Request(2) with { Priority = -1, MaxTokens = 5 }) : null;
        GenerationResult result = await engine.Submit(EngineTests.Request(1) with { MaxTokens = 100 }).CompleteAsync();
        Assert.Equal(EngineTests.Expected([1], 100), result.Choices[0].Tokens);
        Assert.Equal(EngineTests.Expected([2], 5), (await urgent!.CompleteAsync()).Choices[0].Tokens);
        Assert.Equal(1, engine.GetStatistics().Preemptions);
    }

    [Fact]
    public async Task The_victim_comes_first_again()
    {
        using FakeBackend backend = new();
        List<(int Step, int Request)> starts = [];
        HashSet<Sequence> seen = [];
        int step = 0;
        using ManualResetEventSlim gate = Hold(backend, batch =>
        {
            step++;
            foreach (Slice slice in batch.Slices)
            {
                if (seen.Add(slice.Sequence))
                {
                    starts.Add((step, slice.Sequence.Tokens[0]));
                }
            }
        });
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockCount = 8, BlockSize = 4, MaxSequences = 2, PrefixCaching = false });
        Task<GenerationResult>[] all = [.. Enumerable.Range(1, 4).Select(i => engine.Submit(EngineTests.Request(i, 9, 9) with { MaxTokens = 25 }).CompleteAsync())];
        gate.Set();
        await Task.WhenAll(all);

        // Whoever gives way runs again no later than those that came behind it.
        Assert.True(engine.GetStatistics().Preemptions > 0);
        Assert.True(starts.Count(one => one.Request == 2) > 1);
        for (int request = 2; request < 4; request++)
        {
            int again = starts.Where(one => one.Request == request).Max(one => one.Step);
            Assert.All(starts.Where(one => one.Request > request), one => Assert.True(one.Step >= again));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_short_prompt_has_its_first_token_one_step_after_the_step_it_came_in(bool answersRun)
    {
        const int Long = 600;
        using FakeBackend backend = new();
        Dictionary<int, int> came = [];
        Dictionary<int, int> first = [];
        int longTokens = 0;
        int longSteps = 0;
        int step = 0;
        List<Task<GenerationResult>> all = [];
        EngineOptions options = new() { BlockCount = 2048, BlockSize = 4, MaxSequences = 32, TokenBudget = 128, PrefillChunk = 32, PrefillTime = TimeSpan.Zero, PrefixCaching = false };
        InferenceEngine? engine = null;
        using ManualResetEventSlim gate = Hold(backend, batch =>
        {
            step++;
            int before = longTokens;
            foreach (Slice slice in batch.Slices)
            {
                int request = slice.Sequence.Tokens[0];
                longTokens += request is 45 or 46 && slice.FirstRow < Long ? slice.Count : 0;
                if (request < 40 && slice.FirstRow + slice.Count == 20)
                {
                    first[request] = step;
                }
            }

            longSteps += longTokens > before ? 1 : 0;
            if (step % 3 == 2 && came.Count < 12)
            {
                // A short prompt comes while this step is computed.
                int request = came.Count;
                came[request] = step;
                all.Add(engine!.Submit(EngineTests.Request([request, .. Enumerable.Repeat(7, 19)]) with { MaxTokens = 2 }).CompleteAsync());
            }
        });
        await using InferenceEngine own = engine = EngineTests.Engine(backend, options);
        if (answersRun)
        {
            all.Add(engine.Submit(EngineTests.Request(44) with { MaxTokens = 400 }).CompleteAsync());
        }

        Task<GenerationResult>[] longs = [.. new[] { 45, 46 }.Select(i => engine.Submit(EngineTests.Request([i, .. Enumerable.Repeat(i, Long - 1)]) with { MaxTokens = 60 }).CompleteAsync())];
        gate.Set();
        await Task.WhenAll(longs);
        await Task.WhenAll(all);
        Assert.NotEmpty(came);
        Assert.All(came, c => Assert.Equal(c.Value + 1, first[c.Key]));
        Assert.Equal(2 * Long, longTokens);

        // And the long ones went on all the while: each step carried some of them.
        Assert.InRange(longSteps, 1, 2 * Long / (options.PrefillChunk / 4));
    }

    [Fact]
    public async Task The_queue_is_bounded()
    {
        using FakeBackend backend = new();
        using ManualResetEventSlim gate = Hold(backend);
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockCount = 64, BlockSize = 4, MaxSequences = 1, QueueLimit = 3 });
        List<Task<GenerationResult>> all = [engine.Submit(EngineTests.Request(1)).CompleteAsync()];
        while (engine.GetStatistics().Running == 0)
        {
            await Task.Delay(1);
        }

        Generation last = null!;
        for (int i = 0; i < 3; i++)
        {
            all.Add((last = engine.Submit(EngineTests.Request(2) with { N = 2 })).CompleteAsync());
        }

        Assert.Equal(3, Assert.Throws<QueueFullException>(() => engine.Submit(EngineTests.Request(3))).Limit);
        last.Cancel();
        gate.Set();
        await Task.WhenAll(all);
        for (int i = 0; i < 3; i++)
        {
            await engine.Submit(EngineTests.Request(3)).CompleteAsync();
        }

        await EngineTests.AssertAllReturned(engine, backend);
    }

    [Fact]
    public async Task A_long_prompt_delays_a_running_answer_by_one_chunk_at_most()
    {
        using FakeBackend backend = new();
        Generation? intruder = null;
        List<(bool Answer, int Others)> steps = [];
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockCount = 1000, BlockSize = 4, TokenBudget = 256, PrefillChunk = 24, PrefillTime = TimeSpan.Zero });
        int[] prompt = [.. Enumerable.Range(0, 1000).Select(i => i % 48)];
        backend.OnForward = batch =>
        {
            bool answer = false;
            foreach (Slice slice in batch.Slices)
            {
                answer |= slice.Sequence.Tokens[0] == 40 && slice.Count == 1;
            }

            steps.Add((answer, batch.Tokens.Length - 1));
            intruder ??= steps.Count == 10 ? engine.Submit(EngineTests.Request(prompt) with { MaxTokens = 3 }) : null;
        };
        Generation stream = engine.Submit(EngineTests.Request(40) with { MaxTokens = 100 });
        await stream.CompleteAsync();
        Assert.Equal(EngineTests.Expected(prompt, 3), (await intruder!.CompleteAsync()).Choices[0].Tokens);
        Assert.All(steps.Take(100), step => Assert.True(step.Answer && step.Others <= 24));
        Assert.Equal(24 * 41, steps.Skip(10).Take(41).Sum(step => step.Others)); // and the prompt uses all it may
    }

    [Fact]
    public async Task A_short_prompt_does_not_wait_behind_long_ones()
    {
        using FakeBackend backend = new();
        int step = 0;
        int submitted = 0;
        int served = 0;
        Generation? shorty = null;
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockCount = 3000, BlockSize = 4, TokenBudget = 64, PrefillChunk = 24, PrefillTime = TimeSpan.Zero });
        backend.OnForward = batch =>
        {
            step++;
            foreach (Slice slice in batch.Slices)
            {
                served = served == 0 && slice.Sequence.Tokens[0] == 33 && slice.Wanted == LogitsWanted.Last ? step : served;
            }

            if (step == 5)
            {
                submitted = step;
                shorty = engine.Submit(EngineTests.Request(33, 1, 2, 3, 4) with { MaxTokens = 2 });
            }
        };
        Task[] longs = [.. Enumerable.Range(0, 6).Select(i => engine.Submit(EngineTests.Request([i, .. Enumerable.Range(0, 800).Select(at => (at * 5) % 48)]) with { MaxTokens = 2 }).CompleteAsync())];
        await Task.WhenAll(longs);
        await shorty!.CompleteAsync();
        Assert.InRange(served - submitted, 1, 2);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_steady_decode_step_allocates_nothing(bool read)
    {
        using FakeBackend backend = new();
        List<long> allocated = new(1000);
        List<int> sizes = new(1000);
        using ManualResetEventSlim gate = Hold(backend, batch =>
        {
            allocated.Add(GC.GetAllocatedBytesForCurrentThread());
            sizes.Add(batch.Tokens.Length);
        });
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockCount = 400, BlockSize = 16 });
        SamplingOptions all = new()
        {
            Temperature = 0.8f, TopK = 30, TopP = 0.9f, MinP = 0.01f, TypicalP = 0.95f, TopNSigma = 3, RepetitionPenalty = 1.1f, FrequencyPenalty = 0.1f,
            PresencePenalty = 0.1f, DryMultiplier = 0.5f, XtcProbability = 0.3f, LogitBias = new Dictionary<int, float> { [3] = 1 },
        };
        Generation[] generations = [.. Enumerable.Range(0, 8).Select(i => engine.Submit(EngineTests.Request(i) with
        {
            MaxTokens = 240, WantText = false, Logprobs = i % 2 == 0, Sampling = i switch { 0 => SamplingOptions.Greedy, 1 => all with { Mirostat = true }, _ => all },
        }))];
        gate.Set();
        if (read)
        {
            await Task.WhenAll(generations.Select(generation => generation.CompleteAsync()));
        }

        await engine.DrainAsync();
        long[] perStep = [.. allocated.Zip(allocated.Skip(1), (before, after) => after - before)];

        // Between the doublings of the token lists, at 129 and 257 tokens.
        long[] steady = perStep[140..230];
        Assert.All(sizes[140..230], size => Assert.Equal(8, size));
        if (read)
        {
            // The thread pool's queue and contended locks may now and then need memory of their own.
            Assert.True(steady.Count(bytes => bytes == 0) >= 80, string.Join(' ', steady));
        }
        else
        {
            Assert.All(steady, bytes => Assert.Equal(0, bytes));
        }
    }

    [Fact]
    public async Task Statistics_and_meter_count()
    {
        using FakeBackend backend = new();
        List<string> measured = [];
        using MeterListener listener = new();
        listener.InstrumentPublished = (instrument, self) =>
        {
            if (instrument.Meter.Name == "Antiphon.Engine" && instrument.Meter.Tags?.Any(tag => Equals(tag.Value, "counted")) == true)
            {
                self.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<double>((instrument, _, _, _) =>
        {
            lock (measured)
            {
                measured.Add(instrument.Name);
            }
        });
        listener.Start();
        await using InferenceEngine engine = EngineTests.Engine(backend, new EngineOptions { BlockCount = 64, BlockSize = 4, Name = "counted" });
        await engine.Submit(EngineTests.Request([.. Enumerable.Range(0, 9)])).CompleteAsync();
        await engine.Submit(EngineTests.Request([.. Enumerable.Range(0, 9)])).CompleteAsync();
        await EngineTests.AssertAllReturned(engine, backend);
        EngineStatistics statistics = engine.GetStatistics();
        Assert.Equal((18L, 8L, 18L, 40L, 2L, 40L), (statistics.PrefixQueryTokens, statistics.PrefixHitTokens, statistics.PromptTokens, statistics.GeneratedTokens, statistics.Finished, statistics.Steps));
        lock (measured)
        {
            Assert.Equal((2, 38, 2), (measured.Count(name => name.EndsWith("first_token", StringComparison.Ordinal)), measured.Count(name => name.EndsWith("inter_token_time", StringComparison.Ordinal)), measured.Count(name => name.EndsWith("queue_time", StringComparison.Ordinal))));
        }
    }
}
