namespace Antiphon.Engine;

/// <summary>Log-probabilities from a row of raw logits, before anything that sampling does to them.</summary>
internal sealed class LogprobReader(SamplingWorkspace workspace)
{
    private double normaliser;
    private int length;

    /// <summary>Keeps a copy of the row.</summary>
    public void Load(ReadOnlySpan<float> logits)
    {
        logits.CopyTo(workspace.RawLogits);
        length = logits.Length;
        normaliser = LogitMath.LogSumExp(logits);
    }

    /// <summary>The log-probability of a token in the row: at most 0, at least the floor.</summary>
    public TokenLogprob Of(int token) => new(token, Clamp(workspace.RawLogits[token]));

    /// <summary>The most likely tokens of the row, most likely first; equals by token.</summary>
    public TokenLogprob[] Top(int count)
    {
        if (count == 0)
        {
            return [];
        }

        Candidates candidates = workspace.TopCandidates;
        candidates.Load(workspace.RawLogits.AsSpan(0, length));
        candidates.KeepTop(Math.Min(count, candidates.Count));
        TokenLogprob[] top = new TokenLogprob[candidates.Count];
        for (int i = 0; i < top.Length; i++)
        {
            top[i] = new TokenLogprob(candidates.Tokens[i], Clamp(candidates.Logits[i]));
        }

        return top;
    }

    private float Clamp(float logit)
    {
        double value = logit - normaliser;
        return double.IsNaN(value) ? TokenLogprob.Floor : (float)Math.Clamp(value, TokenLogprob.Floor, 0);
    }
}
