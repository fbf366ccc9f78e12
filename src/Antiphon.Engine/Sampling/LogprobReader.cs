namespace Antiphon.Engine;

/// <summary>Log-probabilities from a row of raw logits, before anything that sampling does to them.</summary>
internal sealed class LogprobReader(SamplingWorkspace workspace)
{
    private double normaliser;
    private int length;

    private LogitRow Raw => new(workspace.RawLogits.AsSpan(0, length), workspace.RawMaxima);

    /// <summary>Keeps a copy of the row.</summary>
    public void Load(LogitRow row)
    {
        length = row.Logits.Length;
        row.Logits.CopyTo(workspace.RawLogits);
        row.Maxima.CopyTo(workspace.RawMaxima);
        float highest = LogitMath.Max(row.Maxima);
        Span<float> scaled = workspace.Scores.AsSpan(0, length);
        LogitMath.Scale(row.Logits, highest, 1, scaled);
        normaliser = highest + Math.Log(LogitMath.Exp(scaled));
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
        candidates.Load(Raw, Raw.ReachedBy(count, workspace.Heap(count)));
        candidates.KeepTop(count);
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
