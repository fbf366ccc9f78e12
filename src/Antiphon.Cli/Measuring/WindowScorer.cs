using Antiphon.Models;

namespace Antiphon.Cli;

/// <summary>Scores windows of a text: the second half of each, every token from all before it in the window, nothing put in front.</summary>
internal sealed class WindowScorer : IDisposable
{
    private const int BlockSize = 16;
    private const int Chunk = 64;

    private readonly IBackend backend;
    private readonly KvCache cache;
    private readonly StepBatch batch = new();
    private readonly int first;

    /// <summary>Takes memory for windows of a size.</summary>
    public WindowScorer(IBackend backend, int window)
    {
        this.backend = backend;
        first = Math.Max(1, window / 2);
        Scored = window - first;
        cache = backend.CreateCache(BlockSize, (window + BlockSize - 1) / BlockSize);
    }

    /// <summary>Scored tokens in a window.</summary>
    public int Scored { get; }

    /// <summary>The negative log-likelihood of a window's scored tokens, summed, in nats.</summary>
    public double Score(ReadOnlySpan<int> window, CancellationToken cancellationToken)
    {
        using var sequence = new Sequence(cache);
        if (!sequence.TryReserve(window.Length))
        {
            throw new InvalidOperationException("the cache is too small for a window");
        }

        double loss = 0;
        for (int at = 0; at < window.Length - 1;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            bool scores = at >= first - 1;
            int end = Math.Min(at + Chunk, scores ? window.Length - 1 : Math.Min(first - 1, window.Length - 1));
            batch.Clear();
            batch.Add(sequence, window[at..end], scores ? LogitsWanted.All : LogitsWanted.None);
            backend.Forward(batch);
            sequence.Commit(end - at);
            for (int i = at; scores && i < end; i++)
            {
                loss -= LogProbability(batch.Logits(0, i - at), window[i + 1]);
            }

            at = end;
        }

        return loss;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        batch.Dispose();
        cache.Dispose();
    }

    private static double LogProbability(ReadOnlySpan<float> logits, int token)
    {
        float largest = float.NegativeInfinity;
        foreach (float logit in logits)
        {
            largest = Math.Max(largest, logit);
        }

        double sum = 0;
        foreach (float logit in logits)
        {
            sum += Math.Exp(logit - largest);
        }

        return logits[token] - largest - Math.Log(sum);
    }
}
