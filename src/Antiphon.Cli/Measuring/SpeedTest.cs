using System.Diagnostics;
using Antiphon.Models;

namespace Antiphon.Cli;

/// <summary>Times prefill and decode of a batch of equal sequences, straight on the backend.</summary>
internal sealed class SpeedTest : IDisposable
{
    private const int BlockSize = 16;
    private const int Chunk = 256;

    private readonly IBackend backend;
    private readonly KvCache cache;
    private readonly StepBatch batch = new();
    private readonly int[] prompt;
    private readonly int sequences;
    private readonly int decodeSteps;

    /// <summary>Takes memory for a test.</summary>
    /// <param name="backend">The model.</param>
    /// <param name="length">Tokens of each prompt.</param>
    /// <param name="sequences">Sequences in the batch.</param>
    /// <param name="decodeSteps">Decode steps to time.</param>
    public SpeedTest(IBackend backend, int length, int sequences, int decodeSteps)
    {
        this.backend = backend;
        this.sequences = sequences;
        this.decodeSteps = decodeSteps;
        prompt = new int[length];
        uint state = 12345;
        for (int i = 0; i < length; i++)
        {
            state = (state * 1664525) + 1013904223;
            prompt[i] = (int)(state >> 8) % backend.VocabularySize;
        }

        int blocks = checked((length + decodeSteps + 1 + BlockSize - 1) / BlockSize * sequences);
        cache = backend.CreateCache(BlockSize, blocks);
    }

    /// <summary>Runs the test once.</summary>
    /// <returns>Seconds of the whole prefill, and the median seconds of one decode step.</returns>
    public (double Prefill, double Step) Run(CancellationToken cancellationToken)
    {
        var running = new Sequence[sequences];
        try
        {
            for (int i = 0; i < sequences; i++)
            {
                running[i] = new Sequence(cache);
                if (!running[i].TryReserve(prompt.Length + decodeSteps + 1))
                {
                    throw new InvalidOperationException("the cache is too small for the test");
                }
            }

            int[] next = new int[sequences];
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; i < sequences; i++)
            {
                next[i] = Prefill(running[i], cancellationToken);
            }

            double prefill = Stopwatch.GetElapsedTime(start).TotalSeconds;
            var steps = new double[decodeSteps];
            for (int step = 0; step < decodeSteps; step++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                start = Stopwatch.GetTimestamp();
                Decode(running, next);
                steps[step] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            }

            return (prefill, Median(steps));
        }
        finally
        {
            foreach (Sequence? sequence in running)
            {
                sequence?.Dispose();
            }
        }
    }

    /// <summary>The middle value.</summary>
    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length == 0 ? 0 : sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        batch.Dispose();
        cache.Dispose();
    }

    private int Prefill(Sequence sequence, CancellationToken cancellationToken)
    {
        for (int at = 0; at < prompt.Length; at += Chunk)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int count = Math.Min(Chunk, prompt.Length - at);
            batch.Clear();
            batch.Add(sequence, prompt.AsSpan(at, count), at + count == prompt.Length ? LogitsWanted.Last : LogitsWanted.None);
            backend.Forward(batch);
            sequence.Commit(count);
        }

        return Best(batch.Logits(0));
    }

    private void Decode(Sequence[] running, int[] next)
    {
        batch.Clear();
        for (int i = 0; i < running.Length; i++)
        {
            batch.Add(running[i], next.AsSpan(i, 1), LogitsWanted.Last);
        }

        backend.Forward(batch);
        for (int i = 0; i < running.Length; i++)
        {
            running[i].Commit(1);
            next[i] = Best(batch.Logits(i));
        }
    }

    private static int Best(ReadOnlySpan<float> logits)
    {
        int best = 0;
        for (int i = 1; i < logits.Length; i++)
        {
            best = logits[i] > logits[best] ? i : best;
        }

        return best;
    }
}
