namespace Antiphon.Engine;

/// <summary>
/// Chooses the tokens of one choice. The order of what it does is that of <see cref="SamplingOptions"/>. Keeps only what depends on the tokens so far,
/// so a preempted choice goes on where it was.
/// </summary>
internal sealed class Sampler
{
    private static readonly HashSet<int> none = [];
    private readonly SamplingOptions options;
    private readonly SamplingWorkspace workspace;
    private readonly long seed;
    private readonly int choice;
    private readonly KeyValuePair<int, float>[] bias;
    private readonly Penalties penalties;
    private readonly HashSet<int> breakers;
    private readonly Mirostat? mirostat;

    public Sampler(SamplingOptions options, long seed, int choice, ReadOnlySpan<int> prompt, HashSet<int> breakers, SamplingWorkspace workspace)
    {
        this.options = options;
        this.workspace = workspace;
        this.seed = seed;
        this.choice = choice;
        this.breakers = breakers;
        bias = options.LogitBias?.ToArray() ?? [];
        penalties = new Penalties(options, prompt);
        mirostat = options.Mirostat ? new Mirostat(options.MirostatTau, options.MirostatEta) : null;
    }

    /// <summary>Chooses a token; the logits are worked on in place.</summary>
    /// <param name="row">The logits.</param>
    /// <param name="tokens">Prompt and answer so far.</param>
    /// <param name="forbidden">Tokens that must not come, or null.</param>
    /// <param name="mask">Further tokens that must not come, or null.</param>
    public int Sample(LogitRow row, ReadOnlySpan<int> tokens, HashSet<int>? forbidden, ILogitsMask? mask)
    {
        foreach ((int token, float value) in bias)
        {
            row[token] += value;
        }

        foreach (int token in forbidden ?? none)
        {
            row[token] = float.NegativeInfinity;
        }

        if (mask is not null)
        {
            mask.Apply(row.Logits);
            row.Refresh();
        }

        penalties.Apply(row);
        if (options.DryMultiplier > 0)
        {
            workspace.Dry.Apply(row, tokens, options, breakers);
        }

        float highest = row.CheckedMax();
        return options.Temperature == 0 ? row.IndexOf(highest) : Draw(row, highest, tokens.Length);
    }

    /// <summary>Tells which token was taken.</summary>
    /// <param name="tokens">Prompt and answer; the new token is the last.</param>
    public void Accept(ReadOnlySpan<int> tokens) => penalties.Accept(tokens);

    private int Draw(LogitRow row, float highest, int position)
    {
        double uniform = CounterRandom.Next(seed, choice, position, 0);
        float lowest = options.TopNSigma > 0 ? Truncation.LowestWithinSigma(row.Logits, highest, options.TopNSigma) : float.NegativeInfinity;
        bool takesTop = options.TopK > 0 && mirostat is null;
        bool takesAll = options.TopNSigma <= 0 && !takesTop && (options.TypicalP >= 1 || mirostat is not null);
        double sum = 0;
        if (takesTop)
        {
            lowest = Math.Max(lowest, row.ReachedBy(options.TopK, workspace.Heap(options.TopK)));
        }
        else if (takesAll && mirostat is not null)
        {
            sum = LogitMath.Exp(Scaled(row, highest));
            lowest = highest + (options.Temperature * (mirostat.Lowest(sum) - Truncation.Slack));
        }
        else if (takesAll && options.TopP < 1)
        {
            sum = LogitMath.Exp(Scaled(row, highest));
            lowest = highest + (options.Temperature * Truncation.LowestInNucleus(options.TopP, sum, row.Logits.Length));
        }
        else if (takesAll && options.MinP > 0)
        {
            lowest = highest + (options.Temperature * (MathF.Log(options.MinP) - Truncation.Slack));
        }
        else if (takesAll && options.XtcProbability <= 0)
        {
            Span<float> weights = Scaled(row, highest);
            return LogitMath.Draw(weights, LogitMath.Exp(weights), uniform);
        }

        Candidates candidates = workspace.Candidates;
        candidates.Load(row, lowest);
        if (takesTop)
        {
            candidates.KeepTop(options.TopK);
        }

        candidates.Scale(highest, options.Temperature);
        if (mirostat is not null)
        {
            return candidates.Tokens[mirostat.Draw(candidates, sum, uniform)];
        }

        if (options.TypicalP < 1)
        {
            Truncation.Typical(candidates, options.TypicalP, workspace.Scores);
        }

        if (options.TopP < 1)
        {
            candidates.KeepNucleus(options.TopP, sum);
        }

        if (options.MinP > 0)
        {
            Truncation.MinP(candidates, options.MinP);
        }

        if (options.XtcProbability > 0 && CounterRandom.Next(seed, choice, position, 1) < options.XtcProbability)
        {
            Truncation.Xtc(candidates, options.XtcThreshold);
        }

        candidates.Softmax();
        return candidates.Tokens[candidates.Draw(uniform)];
    }

    private Span<float> Scaled(LogitRow row, float highest)
    {
        Span<float> scaled = workspace.Scores;
        LogitMath.Scale(row.Logits, highest, options.Temperature, scaled);
        return scaled;
    }
}
