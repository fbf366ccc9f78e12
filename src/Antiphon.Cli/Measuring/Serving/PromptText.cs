using System.Text;

namespace Antiphon.Cli;

/// <summary>Prompts of a wanted length for a tokenizer that is not known: plain words, whose tokens were counted by the server.</summary>
/// <param name="tokensPerWord">How many tokens a word makes on average.</param>
/// <param name="run">Sets texts of this run apart from those of others, which the server may still have in its cache.</param>
internal sealed class PromptText(double tokensPerWord, int run)
{
    private static readonly string[] Words =
    [
        "the", "fox", "river", "and", "small", "house", "wind", "over", "a", "green", "hill", "old", "tree", "bird", "sings", "near", "water", "light", "of", "moon",
        "stone", "road", "goes", "to", "town", "where", "one", "child", "reads", "book", "in", "garden", "with", "red", "apples", "rain", "falls", "on", "quiet", "field",
    ];

    /// <summary>The prompt of a request.</summary>
    public string Of(PlannedRequest request)
    {
        var text = new StringBuilder();
        foreach (PromptPart part in request.Parts)
        {
            Append(text, part.Seed, (int)Math.Max(1, Math.Round(part.Tokens / tokensPerWord)));
        }

        return text.ToString();
    }

    private void Append(StringBuilder text, long seed, int words)
    {
        // A SplitMix64 sequence: the same words for the same seed, whatever their number.
        ulong state = unchecked((ulong)seed * 0x9E3779B97F4A7C15UL) ^ ((ulong)(uint)run << 32);
        for (int i = 0; i < words; i++)
        {
            state = unchecked(state + 0x9E3779B97F4A7C15UL);
            ulong mixed = unchecked((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9UL);
            mixed = unchecked((mixed ^ (mixed >> 27)) * 0x94D049BB133111EBUL);
            text.Append(Words[(int)((mixed ^ (mixed >> 31)) % (ulong)Words.Length)]).Append(' ');
        }
    }
}
