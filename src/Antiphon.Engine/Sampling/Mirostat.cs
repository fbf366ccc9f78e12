namespace Antiphon.Engine;

/// <summary>Mirostat version 2 (Basu et al. 2020): a bound on surprise that follows the surprise of what was drawn.</summary>
internal sealed class Mirostat(float tau, float eta)
{
    private double bound = 2 * tau;

    /// <summary>A logit, relative to the highest one, that a token needs so as not to be too surprising; the highest is never.</summary>
    /// <param name="sum">Sum of the exponentials of all logits, relative to the highest one.</param>
    public float Lowest(double sum) => (float)Math.Min(0, Math.Log(sum) - (bound * Math.Log(2)));

    /// <summary>Truncates, draws and moves the bound. Returns the index of the candidate.</summary>
    /// <param name="candidates">The candidates, the highest logit being 0; those below <see cref="Lowest"/> may be missing.</param>
    /// <param name="sum">Sum of the exponentials of all logits; 0: of the candidates.</param>
    /// <param name="uniform">In [0, 1).</param>
    public int Draw(Candidates candidates, double sum, double uniform)
    {
        if (sum == 0)
        {
            candidates.Softmax();
            sum = 1 / (double)LogitMath.Max(candidates.Probabilities);
        }

        candidates.KeepAtLeast(candidates.Logits, Lowest(sum));
        candidates.Softmax();
        int index = candidates.Draw(uniform);
        bound -= eta * (-Math.Log2(candidates.Probabilities[index]) - tau);
        return index;
    }
}
