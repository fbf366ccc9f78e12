using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>
/// A row of logits with its <see cref="BlockMaxima"/>, which the head's product left. The greatest logits are found from the maxima, without a pass over
/// the vocabulary.
/// </summary>
/// <param name="logits">[vocabulary].</param>
/// <param name="maxima">Their maxima.</param>
internal readonly ref struct LogitRow(Span<float> logits, Span<float> maxima)
{
    private readonly Span<float> maxima = maxima;

    /// <summary>[vocabulary]. Whoever changes it calls <see cref="Refresh"/>.</summary>
    public Span<float> Logits { get; } = logits;

    public ReadOnlySpan<float> Maxima => maxima;

    /// <summary>A row of a batch.</summary>
    public static LogitRow Of(StepBatch batch, int slice, int index) => new(batch.Logits(slice, index), batch.Maxima(slice, index));

    /// <summary>One token's logit.</summary>
    public float this[int token]
    {
        get => Logits[token];
        set
        {
            Logits[token] = value;
            int block = token / BlockMaxima.Length;
            BlockMaxima.Find(Block(block), maxima.Slice(block, 1));
        }
    }

    /// <summary>The logits of a block.</summary>
    public ReadOnlySpan<float> Block(int block)
    {
        int first = block * BlockMaxima.Length;
        return Logits.Slice(first, Math.Min(BlockMaxima.Length, Logits.Length - first));
    }

    /// <summary>Finds all maxima again.</summary>
    public void Refresh() => BlockMaxima.Find(Logits, maxima);

    /// <summary>The greatest logit. Throws when one is not a number, or when none is above minus infinity.</summary>
    public float CheckedMax() => LogitMath.CheckedMax(maxima);

    /// <summary>The first token with a logit that is known to be the greatest.</summary>
    public int IndexOf(float highest)
    {
        int block = maxima.IndexOf(highest);
        return (block * BlockMaxima.Length) + Block(block).IndexOf(highest);
    }

    /// <summary>A logit that at least <paramref name="count"/> tokens reach: the greatest that the maxima tell. Minus infinity where they tell none.</summary>
    /// <param name="count">Number of tokens, at least 1.</param>
    /// <param name="heap">Room for so many values.</param>
    public float ReachedBy(int count, Span<float> heap)
    {
        if (count > maxima.Length)
        {
            return float.NegativeInfinity;
        }

        // The greatest maxima so far, the least of them first.
        heap = heap[..count];
        maxima[..count].CopyTo(heap);
        heap.Sort();
        ReadOnlySpan<float> rest = maxima[count..];
        while (rest.Length > 0)
        {
            int next = LogitMath.FirstAbove(rest, heap[0]);
            if (next < 0)
            {
                break;
            }

            Replace(heap, rest[next]);
            rest = rest[(next + 1)..];
        }

        return heap[0];
    }

    // A sorted span is a heap; the value sinks to where both below it are greater.
    private static void Replace(Span<float> heap, float value)
    {
        int at = 0;
        while (true)
        {
            int child = (2 * at) + 1;
            if (child >= heap.Length)
            {
                break;
            }

            if (child + 1 < heap.Length && heap[child + 1] < heap[child])
            {
                child++;
            }

            if (heap[child] >= value)
            {
                break;
            }

            heap[at] = heap[child];
            at = child;
        }

        heap[at] = value;
    }
}
