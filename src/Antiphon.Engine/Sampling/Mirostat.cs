namespace Antiphon.Engine;

/// <summary>Mirostat version 2 (Basu et al. 2020): a bound on surprise that follows the surprise of what was drawn.</summary>
internal sealed class Mirostat(float tau, float eta)
{
    private double bound = 2 * tau;

    /// <summary>Truncates, draws and moves the bound. Returns the index of the candidate.</summary>
    public int Draw(Candidates candidates, double uniform)
    {
        candidates.Softmax();
        float highest = LogitMath.Max(candidates.Probabilities);
        candidates.KeepAtLeast(candidates.Probabilities, Math.Min(highest, (float)Math.Pow(2, -bound)));
        candidates.Softmax();
        int index = candidates.Draw(uniform);
        bound -= eta * (-Math.Log2(candidates.Probabilities[index]) - tau);
        return index;
    }
}
