using Antiphon.Engine;
using Antiphon.Text;

namespace Antiphon.Server;

/// <summary>Lets a choice think for so many tokens and then makes it close the block, by forcing the tokens of the closing marker.</summary>
internal sealed class ReasoningBudget : ILogitsMask
{
    private readonly int budget;
    private readonly int[] open;
    private readonly int[] close;
    private bool inside;
    private bool forcing;
    private bool done;
    private int used;
    private int matched;

    private ReasoningBudget(int budget, int[] open, int[] close, bool startsInside)
    {
        this.budget = budget;
        this.open = open;
        this.close = close;
        inside = startsInside;
    }

    /// <inheritdoc/>
    public bool IsComplete => false;

    /// <summary>Makes the masks of a request.</summary>
    /// <param name="tokenizer">The vocabulary.</param>
    /// <param name="prompt">The prompt, which may end in an open block.</param>
    /// <param name="budget">Tokens of thought.</param>
    public static Func<int, ILogitsMask> Factory(Tokenizer tokenizer, string prompt, int budget)
    {
        int[] open = tokenizer.Encode("<think>", addSpecialTokens: false, parseSpecialTokens: true);
        int[] close = tokenizer.Encode("</think>", addSpecialTokens: false, parseSpecialTokens: true);
        bool inside = prompt.AsSpan().TrimEnd().EndsWith("<think>", StringComparison.Ordinal);
        return _ => new ReasoningBudget(budget, open, close, inside);
    }

    /// <inheritdoc/>
    public void Apply(Span<float> logits)
    {
        if (done || !inside || used < budget)
        {
            return;
        }

        if (!forcing)
        {
            forcing = true;
            matched = 0;
        }

        logits.Fill(float.NegativeInfinity);
        logits[close[matched]] = 0;
    }

    /// <inheritdoc/>
    public void Accept(int token)
    {
        if (done)
        {
            return;
        }

        int[] awaited = inside ? close : open;
        matched = token == awaited[matched] ? matched + 1 : token == awaited[0] ? 1 : 0;
        if (matched == awaited.Length)
        {
            matched = 0;
            done = inside;
            inside = true;
            return;
        }

        used += inside && !forcing ? 1 : 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
