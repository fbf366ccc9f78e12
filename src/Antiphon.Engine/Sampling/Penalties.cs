namespace Antiphon.Engine;

/// <summary>Repetition, frequency and presence penalties of one choice, with the counts they need, kept up token by token.</summary>
internal sealed class Penalties
{
    private readonly SamplingOptions options;
    private readonly Dictionary<int, int> recent = [];
    private readonly Dictionary<int, int> answer = [];

    public Penalties(SamplingOptions options, ReadOnlySpan<int> prompt)
    {
        this.options = options;
        if (CountsRecent)
        {
            foreach (int token in options.RepetitionWindow > 0 && options.RepetitionWindow < prompt.Length ? prompt[^options.RepetitionWindow..] : prompt)
            {
                Count(recent, token, 1);
            }
        }
    }

    private bool CountsRecent => options.RepetitionPenalty != 1;

    private bool CountsAnswer => options.FrequencyPenalty != 0 || options.PresencePenalty != 0;

    /// <summary>Changes the logits of tokens that were seen.</summary>
    public void Apply(LogitRow row)
    {
        foreach (int token in recent.Keys)
        {
            row[token] = row[token] > 0 ? row[token] / options.RepetitionPenalty : row[token] * options.RepetitionPenalty;
        }

        foreach ((int token, int count) in answer)
        {
            row[token] -= (count * options.FrequencyPenalty) + options.PresencePenalty;
        }
    }

    /// <summary>Counts a new token of the answer.</summary>
    /// <param name="tokens">Prompt and answer; the new token is the last.</param>
    public void Accept(ReadOnlySpan<int> tokens)
    {
        if (CountsAnswer)
        {
            Count(answer, tokens[^1], 1);
        }

        if (CountsRecent)
        {
            Count(recent, tokens[^1], 1);
            if (options.RepetitionWindow > 0 && tokens.Length > options.RepetitionWindow)
            {
                Count(recent, tokens[^(options.RepetitionWindow + 1)], -1);
            }
        }
    }

    private static void Count(Dictionary<int, int> counts, int token, int change)
    {
        ref int count = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(counts, token, out _);
        count += change;
        if (count == 0)
        {
            counts.Remove(token);
        }
    }
}
