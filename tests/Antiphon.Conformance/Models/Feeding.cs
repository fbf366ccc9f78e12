using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Conformance.Models;

/// <summary>Feeds sequences to a backend in the ways that an engine does.</summary>
internal static class Feeding
{
    public const int BlockSize = 16;

    /// <summary>A cache with room for some sequences of a length.</summary>
    public static KvCache Cache(IBackend backend, int sequences, int length) => backend.CreateCache(BlockSize, sequences * ((length + BlockSize) / BlockSize + 1));

    /// <summary>The logits of the last <paramref name="wanted"/> tokens of a prompt fed in chunks.</summary>
    public static float[] Logits(IBackend backend, ReadOnlySpan<int> prompt, int chunk, int wanted, int planned = 0)
    {
        using KvCache cache = Cache(backend, 1, prompt.Length);
        using Sequence sequence = new(cache) { PlannedLength = planned == 0 ? prompt.Length : planned };
        return Logits(backend, sequence, prompt, chunk, wanted);
    }

    /// <summary>The logits of the last <paramref name="wanted"/> tokens fed to a sequence in chunks.</summary>
    public static float[] Logits(IBackend backend, Sequence sequence, ReadOnlySpan<int> tokens, int chunk, int wanted)
    {
        using StepBatch batch = new();
        var logits = new float[wanted * backend.VocabularySize];
        for (int start = 0; start < tokens.Length; start += chunk)
        {
            int count = Math.Min(chunk, tokens.Length - start);
            Assert.True(sequence.TryReserve(count));
            batch.Clear();
            int slice = batch.Add(sequence, tokens.Slice(start, count), start + count > tokens.Length - wanted ? LogitsWanted.All : LogitsWanted.None);
            backend.Forward(batch);
            for (int i = Math.Max(0, tokens.Length - wanted - start); i < count; i++)
            {
                ReadOnlySpan<float> row = batch.Logits(slice, i);
                row.CopyTo(logits.AsSpan((start + i - (tokens.Length - wanted)) * backend.VocabularySize));
                var maxima = new float[BlockMaxima.Count(row.Length)];
                BlockMaxima.Find(row, maxima);
                Assert.Equal(maxima, batch.Maxima(slice, i).ToArray());
            }

            sequence.Commit(count);
        }

        return logits;
    }

    /// <summary>Greedy tokens that follow a prompt, each fed alone.</summary>
    public static int[] Greedy(IBackend backend, ReadOnlySpan<int> prompt, int count, Action<int, int>? told = null, int end = -1)
    {
        using KvCache cache = Cache(backend, 1, prompt.Length + count);
        using Sequence sequence = new(cache) { PlannedLength = prompt.Length + count };
        using StepBatch batch = new();
        var tokens = new List<int>();
        ReadOnlySpan<int> next = prompt;
        while (tokens.Count < count)
        {
            Assert.True(sequence.TryReserve(next.Length));
            batch.Clear();
            batch.Add(sequence, next, LogitsWanted.Last);
            backend.Forward(batch);
            sequence.Commit(next.Length);
            int token = IndexOfGreatest(batch.Logits(0));
            tokens.Add(token);
            told?.Invoke(tokens.Count - 1, token);
            if (token == end)
            {
                break;
            }

            next = new[] { token };
        }

        return [.. tokens];
    }

    public static int IndexOfGreatest(ReadOnlySpan<float> logits)
    {
        int best = 0;
        for (int i = 1; i < logits.Length; i++)
        {
            best = logits[i] > logits[best] ? i : best;
        }

        return best;
    }
}
