using System.Diagnostics;

namespace Antiphon.Cli;

/// <summary>Carries out a plan.</summary>
internal static class LoadGenerator
{
    private const int CalibrationTokens = 8;
    private const int CalibrationWords = 160;
    private const int MostInFlight = 2048;

    /// <summary>Asks the server how many tokens the words of prompts make. The request also wakes the server up.</summary>
    /// <exception cref="CommandException">The server does not answer as it should.</exception>
    public static async Task<double> TokensPerWordAsync(LoadClient client, int seed, CancellationToken cancellationToken)
    {
        // The difference between two lengths leaves out what a chat template or a start token adds.
        int[] counts = new int[2];
        for (int i = 0; i < 2; i++)
        {
            string text = new PromptText(1, ~seed).Of(new PlannedRequest(0, [new PromptPart(long.MaxValue - i, i == 0 ? 16 : 16 + CalibrationWords)], CalibrationTokens));
            RequestRecord record = await client.SendAsync(text, CalibrationTokens, 0, Stopwatch.GetTimestamp(), cancellationToken).ConfigureAwait(false);
            cancellationToken.ThrowIfCancellationRequested();
            if (record.Error is not null)
            {
                throw new CommandException($"the server did not answer a first request: {record.Error}");
            }

            counts[i] = record.PromptTokens;
        }

        return counts[1] > counts[0] ? (counts[1] - counts[0]) / (double)CalibrationWords : 1.3;
    }

    /// <summary>Sends all requests.</summary>
    /// <param name="client">To whom.</param>
    /// <param name="plan">What and when.</param>
    /// <param name="prompts">Makes the prompts.</param>
    /// <param name="limit">What is not complete by then counts as failed.</param>
    /// <param name="progress">Told how far it is.</param>
    /// <param name="cancellationToken">Ends the run.</param>
    /// <returns>One record for each request that was due before the limit, and the length of the run in seconds.</returns>
    public static async Task<(IReadOnlyList<RequestRecord> Records, double Seconds)> RunAsync(
        LoadClient client, LoadPlan plan, PromptText prompts, TimeSpan limit, IProgress<(double Share, string Note)> progress, CancellationToken cancellationToken)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        end.CancelAfter(limit);
        long start = Stopwatch.GetTimestamp();
        int finished = 0;
        List<RequestRecord> records = [];
        var guard = new Lock();

        async Task SendAsync(PlannedRequest request, double due)
        {
            string prompt = prompts.Of(request);
            RequestRecord record = await client.SendAsync(prompt, request.OutputTokens, due, start, end.Token).ConfigureAwait(false);
            lock (guard)
            {
                records.Add(record);
            }

            progress.Report((Interlocked.Increment(ref finished) / (double)plan.Requests.Count, $"{finished} of {plan.Requests.Count}"));
        }

        if (plan.Clients is int clients)
        {
            int next = -1;
            await Task.WhenAll(Enumerable.Range(0, Math.Min(clients, plan.Requests.Count)).Select(_ => Task.Run(async () =>
            {
                for (int i = Interlocked.Increment(ref next); i < plan.Requests.Count && !end.IsCancellationRequested; i = Interlocked.Increment(ref next))
                {
                    await SendAsync(plan.Requests[i], Stopwatch.GetElapsedTime(start).TotalSeconds).ConfigureAwait(false);
                }
            },
            CancellationToken.None))).ConfigureAwait(false);
        }
        else
        {
            List<Task> sent = [];
            using var slots = new SemaphoreSlim(MostInFlight);
            try
            {
                foreach (PlannedRequest request in plan.Requests)
                {
                    double wait = request.At - Stopwatch.GetElapsedTime(start).TotalSeconds;
                    if (wait > 0)
                    {
                        await Task.Delay(TimeSpan.FromSeconds(wait), end.Token).ConfigureAwait(false);
                    }

                    await slots.WaitAsync(end.Token).ConfigureAwait(false);
                    sent.Add(Task.Run(async () =>
                    {
                        try
                        {
                            await SendAsync(request, request.At).ConfigureAwait(false);
                        }
                        finally
                        {
                            slots.Release();
                        }
                    },
                    CancellationToken.None));
                }
            }
            catch (OperationCanceledException) when (end.IsCancellationRequested)
            {
                // The limit: what was not sent is not counted, what was sent ends now.
            }

            await Task.WhenAll(sent).ConfigureAwait(false);
        }

        cancellationToken.ThrowIfCancellationRequested();
        return ([.. records.OrderBy(r => r.Due)], Stopwatch.GetElapsedTime(start).TotalSeconds);
    }
}
