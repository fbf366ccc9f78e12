using Antiphon.Kernels;

namespace Antiphon.Engine;

/// <summary>
/// The tokens that may still be chosen, with their logits. Truncations shrink the set; whoever needs probabilities calls <see cref="Softmax"/> on what is
/// left. One object serves all choices of an engine in turn; nothing is allocated after its creation.
/// </summary>
internal sealed class Candidates(int vocabularySize)
{
    private readonly int[] tokens = new int[vocabularySize];
    private readonly float[] logits = new float[vocabularySize];
    private readonly float[] probabilities = new float[vocabularySize];
    private readonly ulong[] keys = new ulong[vocabularySize];

    public int Count { get; private set; }

    public ReadOnlySpan<int> Tokens => tokens.AsSpan(0, Count);

    public ReadOnlySpan<float> Logits => logits.AsSpan(0, Count);

    /// <summary>What the last <see cref="Softmax"/> computed; sums to 1.</summary>
    public ReadOnlySpan<float> Probabilities => probabilities.AsSpan(0, Count);

    /// <summary>Starts with all tokens whose logit is at least <paramref name="lowest"/> and not minus infinity.</summary>
    public void Load(LogitRow row, float lowest = float.NegativeInfinity)
    {
        lowest = Math.Max(lowest, float.MinValue);
        int count = 0;
        ReadOnlySpan<float> maxima = row.Maxima;
        for (int block = 0; block < maxima.Length; block++)
        {
            if (maxima[block] >= lowest)
            {
                int token = block * BlockMaxima.Length;
                foreach (float value in row.Block(block))
                {
                    // Written in any case, and kept by counting it: a branch that nobody can foretell costs more.
                    tokens[count] = token++;
                    logits[count] = value;
                    count += value >= lowest ? 1 : 0;
                }
            }
        }

        Count = count;
    }

    /// <summary>Applies a temperature; the highest logit, which is given, becomes 0.</summary>
    public void Scale(float highest, float temperature) => LogitMath.Scale(Logits, highest, temperature, logits);

    /// <summary>Computes <see cref="Probabilities"/>.</summary>
    public void Softmax()
    {
        Span<float> target = probabilities.AsSpan(0, Count);
        LogitMath.Scale(Logits, LogitMath.Max(Logits), 1, target);
        LogitMath.Multiply(target, (float)(1 / LogitMath.Exp(target)));
    }

    /// <summary>Keeps the <paramref name="count"/> most likely, sorted; of equals those with the lower token.</summary>
    public void KeepTop(int count)
    {
        Span<ulong> order = keys.AsSpan(0, Count);
        for (int i = 0; i < order.Length; i++)
        {
            order[i] = Key(logits[i], tokens[i]);
        }

        order.Sort();
        Count = Math.Min(Count, count);
        for (int i = 0; i < Count; i++)
        {
            tokens[i] = (int)(uint)order[i];
            logits[i] = FromKey(order[i]);
        }
    }

    /// <summary>
    /// Nucleus sampling, top-p (Holtzman et al. 2019): keeps the fewest most likely candidates that together reach a share of the probability; of equals those
    /// with the lower token.
    /// </summary>
    /// <param name="share">The share.</param>
    /// <param name="sum">Sum of the exponentials of all logits, relative to the highest one; 0: of the candidates. Those below <see cref="Truncation.LowestInNucleus"/> may be missing.</param>
    public void KeepNucleus(float share, double sum)
    {
        float highest = LogitMath.Max(Logits);
        Span<float> weights = probabilities.AsSpan(0, Count);
        LogitMath.Scale(Logits, highest, 1, weights);
        double own = LogitMath.Exp(weights);
        double wanted = share * (sum == 0 ? own : sum);
        MassBins bins = default;
        for (int i = 0; i < weights.Length; i++)
        {
            bins.Add(highest - logits[i], weights[i]);
        }

        int edge = bins.Reaching(wanted, out double passed);
        int count = 0;
        for (int i = 0; i < Count; i++)
        {
            if (MassBins.Of(highest - logits[i]) == edge)
            {
                keys[count++] = Key(logits[i], tokens[i]);
            }
        }

        Span<ulong> order = keys.AsSpan(0, count);
        order.Sort();
        ulong last = ulong.MaxValue;
        for (int i = 0; i < order.Length && passed < wanted; i++)
        {
            last = order[i];
            passed += Math.Exp((double)FromKey(last) - highest);
        }

        int kept = 0;
        for (int i = 0; i < Count; i++)
        {
            int bin = MassBins.Of(highest - logits[i]);
            if (bin < edge || (bin == edge && Key(logits[i], tokens[i]) <= last))
            {
                Move(i, kept++);
            }
        }

        Count = kept;
    }

    /// <summary>Sorts by a score of each candidate, lowest first; equals stay in order. Probabilities move along.</summary>
    public void SortBy(Span<float> scores)
    {
        Span<ulong> order = keys.AsSpan(0, Count);
        for (int i = 0; i < order.Length; i++)
        {
            // Scores are not negative, so their bits are ordered as they are.
            order[i] = ((ulong)BitConverter.SingleToUInt32Bits(scores[i]) << 32) | (uint)i;
        }

        order.Sort();
        Permute(order, tokens, scores);
        Permute(order, logits, scores);
        Permute(order, probabilities, scores);
    }

    /// <summary>Keeps the first <paramref name="count"/>.</summary>
    public void KeepFirst(int count) => Count = count;

    /// <summary>Keeps candidates whose value (logits, probabilities) is at least a bound, in their order. Probabilities stay those of the larger set.</summary>
    public void KeepAtLeast(ReadOnlySpan<float> values, float bound)
    {
        int kept = 0;
        for (int i = 0; i < Count; i++)
        {
            if (values[i] >= bound)
            {
                Move(i, kept++);
            }
        }

        Count = kept;
    }

    /// <summary>Keeps candidates whose score is below a bound, in their order. Probabilities and scores move along.</summary>
    public void KeepBelow(Span<float> scores, float bound)
    {
        int kept = 0;
        for (int i = 0; i < Count; i++)
        {
            if (scores[i] < bound)
            {
                scores[kept] = scores[i];
                Move(i, kept++);
            }
        }

        Count = kept;
    }

    /// <summary>Removes candidates at least as likely as a bound, except one.</summary>
    public void DropAtLeast(float probability, int except)
    {
        int kept = 0;
        for (int i = 0; i < Count; i++)
        {
            if (probabilities[i] < probability || i == except)
            {
                Move(i, kept++);
            }
        }

        Count = kept;
    }

    /// <summary>Draws by probability; <paramref name="uniform"/> is in [0, 1). Returns the index.</summary>
    public int Draw(double uniform)
    {
        double sum = 0;
        foreach (float probability in Probabilities)
        {
            sum += probability;
        }

        return LogitMath.Draw(Probabilities, sum, uniform);
    }

    private void Move(int from, int to)
    {
        tokens[to] = tokens[from];
        logits[to] = logits[from];
        probabilities[to] = probabilities[from];
    }

    // Rising keys: falling logits, then rising tokens. -0 and +0 count as equal.
    private static ulong Key(float logit, int token)
    {
        uint bits = BitConverter.SingleToUInt32Bits(logit + 0f);
        uint rising = (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
        return ((ulong)~rising << 32) | (uint)token;
    }

    private static float FromKey(ulong key)
    {
        uint rising = ~(uint)(key >> 32);
        return BitConverter.UInt32BitsToSingle((rising & 0x80000000) != 0 ? rising & 0x7FFFFFFF : ~rising);
    }

    // The scores have done their duty when the keys are built: their memory holds the permuted values.
    private static void Permute<T>(ReadOnlySpan<ulong> order, T[] values, Span<float> scratch)
        where T : unmanaged
    {
        Span<T> moved = System.Runtime.InteropServices.MemoryMarshal.Cast<float, T>(scratch)[..order.Length];
        for (int i = 0; i < order.Length; i++)
        {
            moved[i] = values[(uint)order[i]];
        }

        moved.CopyTo(values);
    }
}
