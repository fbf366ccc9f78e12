using System.Diagnostics;
using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Cli;

/// <summary>Times prompts, and decode steps behind contexts of some lengths, straight on the backend. Contexts are computed once and used by every round.</summary>
internal sealed class SpeedTest : IDisposable
{
    private const int BlockSize = 16;

    // What an engine that has nothing else to do gives a prompt in one step.
    private const int Chunk = 512;

    private readonly IBackend backend;
    private readonly KvCache cache;
    private readonly StepBatch batch = new();
    private readonly int decodeSteps;
    private readonly Dictionary<int, List<Sequence>> contexts = [];

    /// <summary>Takes memory for all tests.</summary>
    /// <param name="backend">The model.</param>
    /// <param name="longestPrompt">Tokens of the longest prompt.</param>
    /// <param name="depths">Contexts that decode steps stand behind, in tokens.</param>
    /// <param name="mostSequences">Sequences of the largest batch.</param>
    /// <param name="decodeSteps">Decode steps to time.</param>
    public SpeedTest(IBackend backend, int longestPrompt, int[] depths, int mostSequences, int decodeSteps)
    {
        this.backend = backend;
        this.decodeSteps = decodeSteps;
        cache = backend.CreateCache(BlockSize, checked((int)CacheBlocks(longestPrompt, depths, mostSequences, decodeSteps)));
    }

    /// <summary>Cache blocks that the tests take.</summary>
    public static long CacheBlocks(int longestPrompt, int[] depths, int mostSequences, int decodeSteps) =>
        Blocks(longestPrompt) + depths.Sum(depth => mostSequences * Blocks((long)depth + decodeSteps + 1));

    /// <summary>Tokens of a block.</summary>
    public static int TokensOfBlock => BlockSize;

    /// <summary>Seconds for a prompt, with the logits of its last token.</summary>
    public double Prefill(int length, CancellationToken cancellationToken)
    {
        using var sequence = new Sequence(cache);
        Reserve(sequence, length);
        long start = Stopwatch.GetTimestamp();
        Append(sequence, length, cancellationToken);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>Seconds of one decode step of a batch, the median of all, behind contexts of a length.</summary>
    public double Decode(int depth, int sequences, CancellationToken cancellationToken)
    {
        if (!contexts.TryGetValue(depth, out List<Sequence>? running))
        {
            contexts[depth] = running = [];
        }

        while (running.Count < sequences)
        {
            var sequence = new Sequence(cache);
            running.Add(sequence);
            Reserve(sequence, depth);
            Append(sequence, depth, cancellationToken);
        }

        int[] next = [.. Enumerable.Range(0, sequences).Select(i => Token(depth + i))];
        var steps = new double[decodeSteps];
        for (int step = -1; step < decodeSteps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            long start = Stopwatch.GetTimestamp();
            batch.Clear();
            for (int i = 0; i < sequences; i++)
            {
                Reserve(running[i], 1);
                batch.Add(running[i], next.AsSpan(i, 1), LogitsWanted.Last);
            }

            backend.Forward(batch);
            for (int i = 0; i < sequences; i++)
            {
                running[i].Commit(1);
                next[i] = Best(batch.Logits(i), batch.Maxima(i));
            }

            // The first step warms up what the step before it, of another test, pushed out.
            if (step >= 0)
            {
                steps[step] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            }
        }

        for (int i = 0; i < sequences; i++)
        {
            running[i].Truncate(depth);
        }

        return Median(steps);
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
        foreach (Sequence sequence in contexts.Values.SelectMany(c => c))
        {
            sequence.Dispose();
        }

        batch.Dispose();
        cache.Dispose();
    }

    private static long Blocks(long tokens) => (tokens + BlockSize - 1) / BlockSize;

    private static void Reserve(Sequence sequence, int count)
    {
        if (!sequence.TryReserve(count))
        {
            throw new InvalidOperationException("the cache is too small for the test");
        }
    }

    private void Append(Sequence sequence, int length, CancellationToken cancellationToken)
    {
        int[] prompt = [.. Enumerable.Range(0, length).Select(Token)];
        for (int at = 0; at < length; at += Chunk)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int count = Math.Min(Chunk, length - at);
            batch.Clear();
            batch.Add(sequence, prompt.AsSpan(at, count), at + count == length ? LogitsWanted.Last : LogitsWanted.None);
            backend.Forward(batch);
            sequence.Commit(count);
        }
    }

    private int Token(int index)
    {
        uint mixed = ((uint)index * 2654435761) ^ 0x5bd1e995;
        mixed = (mixed ^ (mixed >> 15)) * 2246822519;
        return (int)((mixed ^ (mixed >> 13)) % (uint)backend.VocabularySize);
    }

    private static int Best(ReadOnlySpan<float> logits, ReadOnlySpan<float> maxima)
    {
        int best = 0;
        for (int i = 1; i < maxima.Length; i++)
        {
            best = maxima[i] > maxima[best] ? i : best;
        }

        return (best * BlockMaxima.Length) + logits[(best * BlockMaxima.Length)..].IndexOf(maxima[best]);
    }
}
