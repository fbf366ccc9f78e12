using System.Diagnostics;
using Antiphon.Engine;
using Microsoft.Extensions.AI;

namespace Antiphon.Tests;

/// <summary>Models loaded beside each other, callers that come, leave and are cut off, and disposal in the midst of it: right answers, and nothing left behind.</summary>
[Collection(nameof(AloneRuns))]
public sealed class StressTests(TalesFixture tales, ITestOutputHelper output)
{
    private static bool IsLong => Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1";

    private static readonly string[] Prompts = [.. Enumerable.Range(0, 16).Select(i => i % 3 == 0 ? $"Calculate {i} + {i + 3}." : $"Tell me a story about a crow and a {(i % 2 == 0 ? "lamp" : "bridge")}, number {i}.")];

    private static GenerationOptions Options(int i) => i % 2 == 0 ? Answer.Greedy with { MaxTokens = 24 } : new GenerationOptions { Seed = i, MaxTokens = 24 };

    [Fact]
    public async Task Two_models_sixteen_callers_cancelled_and_disposed()
    {
        string[] expected = new string[Prompts.Length];
        for (int i = 0; i < expected.Length; i++)
        {
            expected[i] = Shown(await Answer.Of(tales.Model.GenerateAsync(Prompts[i], Options(i))));
        }

        int rounds = IsLong ? 200 : 6;
        long before = 0;
        long managed = 0;
        int threads = 0;
        int stopped = 0;
        for (int round = 0; round < rounds; round++)
        {
            stopped += await RoundAsync(expected);
            if (round == rounds / 3)
            {
                (before, managed, threads) = (Memory.Resident(), GC.GetTotalMemory(forceFullCollection: true), Process.GetCurrentProcess().Threads.Count);
            }
        }

        long after = Memory.Resident();
        long managedAfter = GC.GetTotalMemory(forceFullCollection: true);
        int threadsAfter = Process.GetCurrentProcess().Threads.Count;
        output.WriteLine($"{rounds} rounds: resident {before >> 20} then {after >> 20} MiB, managed {managed >> 10} then {managedAfter >> 10} KiB, threads {threads} then {threadsAfter}");

        Assert.True(stopped >= rounds, $"disposal stopped only {stopped} answers in {rounds} rounds");

        // The system's allocator keeps what threads that ended had freed, up to a bound; a leak would grow with the rounds.
        Assert.True(managedAfter - managed < 4 << 20, $"the managed heap grew from {managed >> 10} to {managedAfter >> 10} KiB");
        Assert.True(after - before < 128 << 20, $"resident memory grew from {before >> 20} to {after >> 20} MiB");
        Assert.True(threadsAfter - threads < 16, $"threads grew from {threads} to {threadsAfter}");
    }

    /// <summary>Never the token that ends an answer.</summary>
    private static GenerationOptions Endless => new() { Sampling = new SamplingOptions { LogitBias = new Dictionary<int, float> { [2041] = -100 } } };

    /// <returns>How many answers were cut off by the disposal of their model.</returns>
    private static async Task<int> RoundAsync(string[] expected)
    {
        LanguageModel[] models = await Task.WhenAll(
            Tales.LoadAsync(new LanguageModelOptions { Threads = 1, Engine = new EngineOptions { BlockCount = 256 } }),
            Tales.LoadAsync(new LanguageModelOptions { Threads = 2, Engine = new EngineOptions { BlockCount = 40 } }));
        Task[] callers =
        [
            .. models.SelectMany(model => Enumerable.Range(0, Prompts.Length).Select(i => Task.Run(async () =>
                Assert.Equal(expected[i], Shown(await Answer.Of(model.GenerateAsync(Prompts[i], Options(i)))))))),
            .. models.Select(model => Task.Run(() => CancelInPromptAsync(model))),
            .. models.Select(model => Task.Run(() => CancelInAnswerAsync(model))),
        ];
        await Task.WhenAll(callers);
        await OverlapTests.AssertAllReturnedAsync(models[0].Engine);
        await models[0].DisposeAsync();

        Task<Answer>[] endless = [.. Enumerable.Range(0, 4).Select(i => Answer.Of(models[1].GenerateAsync(
            $"{Answer.Story} {i}", Endless)))];
        await Task.Delay(10);
        await models[1].DisposeAsync();
        Assert.Equal(EngineState.Stopped, models[1].Engine.State);
        int stopped = 0;
        foreach (Task<Answer> answer in endless)
        {
            if (await Record.ExceptionAsync(() => answer) is { } failure)
            {
                Assert.IsType<EngineStoppedException>(failure);
                stopped++;
            }
            else
            {
                // The delay took so long, on a busy machine, that the context was full before.
                Assert.Equal(FinishReason.Length, (await answer).End.FinishReason);
            }
        }

        return stopped;
    }

    private static async Task CancelInPromptAsync(LanguageModel model)
    {
        using var stop = new CancellationTokenSource();
        string text = string.Concat(Enumerable.Repeat("the fox and the river ", model.ContextLength / 8));
        Task<Answer> answer = Answer.Of(model.GenerateAsync(text, Endless, stop.Token));
        await Task.Delay(2);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => answer);
    }

    private static async Task CancelInAnswerAsync(LanguageModel model)
    {
        using var stop = new CancellationTokenSource();
        int parts = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (AnswerPart _ in model.GenerateAsync([new ChatMessage(ChatRole.User, Answer.Story)], Answer.Greedy, stop.Token))
            {
                if (++parts == 5)
                {
                    await stop.CancelAsync();
                }
            }
        });
        Assert.True(parts >= 5, $"only {parts} parts came");
    }

    private static string Shown(Answer answer) => answer.Reasoning + "|" + answer.Text;
}
