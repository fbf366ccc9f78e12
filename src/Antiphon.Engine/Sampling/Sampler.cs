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
    /// <param name="logits">[vocabulary].</param>
    /// <param name="tokens">Prompt and answer so far.</param>
    /// <param name="forbidden">Tokens that must not come, or null.</param>
    /// <param name="mask">Further tokens that must not come, or null.</param>
    public int Sample(Span<float> logits, ReadOnlySpan<int> tokens, HashSet<int>? forbidden, ILogitsMask? mask)
    {
        foreach ((int token, float value) in bias)
        {
            logits[token] += value;
        }

        foreach (int token in forbidden ?? none)
        {
            logits[token] = float.NegativeInfinity;
        }

        mask?.Apply(logits);
        penalties.Apply(logits);
        if (options.DryMultiplier > 0)
        {
            workspace.Dry.Apply(logits, tokens, options, breakers);
        }

        float highest = LogitMath.CheckedMax(logits);
        return options.Temperature == 0 ? logits.IndexOf(highest) : Draw(logits, highest, tokens.Length);
    }

    /// <summary>Tells which token was taken.</summary>
    /// <param name="tokens">Prompt and answer; the new token is the last.</param>
    public void Accept(ReadOnlySpan<int> tokens) => penalties.Accept(tokens);

    private int Draw(ReadOnlySpan<float> logits, float highest, int position)
    {
        Candidates candidates = workspace.Candidates;
        candidates.Load(logits, options.TopNSigma > 0 ? Truncation.LowestWithinSigma(logits, highest, options.TopNSigma) : float.NegativeInfinity);
        double uniform = CounterRandom.Next(seed, choice, position, 0);
        candidates.Divide(options.Temperature);
        if (mirostat is not null)
        {
            return candidates.Tokens[mirostat.Draw(candidates, uniform)];
        }

        if (options.TopK > 0 && options.TopK < candidates.Count)
        {
            candidates.KeepTop(options.TopK);
        }

        if (options.TypicalP < 1)
        {
            Truncation.Typical(candidates, options.TypicalP, workspace.Scores);
        }

        if (options.TopP < 1)
        {
            Truncation.TopP(candidates, options.TopP);
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
}
