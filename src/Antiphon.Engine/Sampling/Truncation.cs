namespace Antiphon.Engine;

/// <summary>The truncations that keep the likely part of the distribution. Each keeps at least one candidate.</summary>
internal static class Truncation
{
    /// <summary>Nucleus sampling (Holtzman et al. 2019): the fewest most likely candidates that together reach <paramref name="share"/>.</summary>
    public static void TopP(Candidates candidates, float share)
    {
        candidates.Softmax();

        // Candidates below this bound have together less than 1 - share, so the nucleus lies among the others, and only they need sorting.
        float bound = 0.5f * (1 - share) / candidates.Count;
        candidates.KeepAtLeast(candidates.Probabilities, bound);
        double most = LogitMath.Max(candidates.Probabilities);
        candidates.SortByLogit();
        ReadOnlySpan<float> logits = candidates.Logits;
        double passed = 0;
        for (int i = 0; i < logits.Length; i++)
        {
            passed += most * Math.Exp((double)logits[i] - logits[0]);
            if (passed >= share)
            {
                candidates.KeepFirst(i + 1);
                return;
            }
        }
    }

    /// <summary>Min-p (Nguyen et al. 2024): candidates at least <paramref name="share"/> times as likely as the most likely one.</summary>
    public static void MinP(Candidates candidates, float share) =>
        candidates.KeepAtLeast(candidates.Logits, LogitMath.Max(candidates.Logits) + MathF.Log(share));

    /// <summary>Locally typical sampling (Meister et al. 2022): candidates whose surprise is nearest to the entropy, until they reach <paramref name="share"/>.</summary>
    public static void Typical(Candidates candidates, float share, Span<float> scores)
    {
        candidates.Softmax();
        double entropy = 0;
        foreach (float probability in candidates.Probabilities)
        {
            entropy -= probability > 0 ? probability * Math.Log(probability) : 0;
        }

        ReadOnlySpan<float> probabilities = candidates.Probabilities;
        for (int i = 0; i < probabilities.Length; i++)
        {
            scores[i] = probabilities[i] > 0 ? (float)Math.Abs(-Math.Log(probabilities[i]) - entropy) : float.PositiveInfinity;
        }

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
