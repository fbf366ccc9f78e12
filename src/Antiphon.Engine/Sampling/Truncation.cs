namespace Antiphon.Engine;

/// <summary>The truncations that keep the likely part of the distribution. Each keeps at least one candidate.</summary>
internal static class Truncation
{
    /// <summary>Taken off a bound that tells beforehand which logits a truncation will not leave, so that rounding loses none that it will.</summary>
    public const float Slack = 0.001f;

    /// <summary>
    /// A logit, relative to the highest one: the tokens below it have together less than 1 - share, so <see cref="Candidates.KeepNucleus"/> keeps none of them.
    /// </summary>
    /// <param name="share">The nucleus's share.</param>
    /// <param name="sum">Sum of the exponentials of all logits, relative to the highest one.</param>
    /// <param name="count">Number of tokens.</param>
    public static float LowestInNucleus(float share, double sum, int count) => (float)Math.Log(0.5 * (1 - share) / count * sum);

    /// <summary>Min-p (Nguyen et al. 2024): candidates at least <paramref name="share"/> times as likely as the most likely one.</summary>
    public static void MinP(Candidates candidates, float share) =>
        candidates.KeepAtLeast(candidates.Logits, LogitMath.Max(candidates.Logits) + MathF.Log(share));

    /// <summary>Locally typical sampling (Meister et al. 2022): candidates whose surprise is nearest to the entropy, until they reach <paramref name="share"/>.</summary>
    public static void Typical(Candidates candidates, float share, Span<float> scores)
    {
        candidates.Softmax();
        ReadOnlySpan<float> probabilities = candidates.Probabilities;
        ReadOnlySpan<float> logits = candidates.Logits;

        // A token's surprise is what its logit lacks to this.
        double none = LogitMath.Max(logits) - Math.Log(LogitMath.Max(probabilities));
        double entropy = 0;
        for (int i = 0; i < probabilities.Length; i++)
        {
            entropy += probabilities[i] > 0 ? probabilities[i] * (none - logits[i]) : 0;
        }

        for (int i = 0; i < probabilities.Length; i++)
        {
            scores[i] = probabilities[i] > 0 ? (float)Math.Abs(none - logits[i] - entropy) : float.PositiveInfinity;
        }

        // Only those up to the bin in which the share is reached need sorting; a little more than the share, lest rounding matters.
        MassBins bins = default;
        for (int i = 0; i < probabilities.Length; i++)
        {
            bins.Add(scores[i], probabilities[i]);
        }

        candidates.KeepBelow(scores, MassBins.End(bins.Reaching(share + 1e-4, out _)));
        probabilities = candidates.Probabilities;

        candidates.SortBy(scores);
        double passed = 0;
        for (int i = 0; i < probabilities.Length; i++)
        {
            passed += probabilities[i];
            if (passed >= share)
            {
                candidates.KeepFirst(i + 1);
                return;
            }
        }
    }

    /// <summary>Top-nσ (Tang et al. 2024): the lowest logit that stays, which is this many standard deviations below the highest.</summary>
    public static float LowestWithinSigma(ReadOnlySpan<float> logits, float highest, float deviations)
    {
        double sum = 0;
        double squares = 0;
        long count = 0;
        foreach (float logit in logits)
        {
            if (logit != float.NegativeInfinity)
            {
                // Relative to the highest: keeps the squares small.
                double difference = (double)logit - highest;
                sum += difference;
                squares += difference * difference;
                count++;
            }
        }

        double mean = sum / count;
        double variance = Math.Max(0, (squares / count) - (mean * mean));
        return (float)(highest - (deviations * Math.Sqrt(variance)));
    }

    /// <summary>XTC: all candidates above the threshold but the least likely of them go, so that a less obvious one is taken.</summary>
    public static void Xtc(Candidates candidates, float threshold)
    {
        candidates.Softmax();
        ReadOnlySpan<float> probabilities = candidates.Probabilities;
        int least = -1;
        int above = 0;
        for (int i = 0; i < probabilities.Length; i++)
        {
            if (probabilities[i] >= threshold)
            {
                above++;
                if (least < 0 || probabilities[i] < probabilities[least]
                    || (probabilities[i] == probabilities[least] && candidates.Tokens[i] > candidates.Tokens[least]))
                {
                    least = i;
                }
            }
        }

        if (above > 1)
        {
            candidates.DropAtLeast(threshold, least);
        }
    }
}
