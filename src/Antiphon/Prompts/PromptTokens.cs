using System.Buffers;
using Antiphon.Text;

namespace Antiphon;

/// <summary>Turns a rendered prompt into tokens such that no text of the conversation becomes a control token.</summary>
internal sealed class PromptTokens
{
    private readonly Tokenizer tokenizer;
    private readonly SearchValues<string> markers;
    private readonly ILookup<char, AddedToken> byFirst;

    /// <summary>Prepares for a vocabulary.</summary>
    public PromptTokens(Tokenizer tokenizer)
    {
        this.tokenizer = tokenizer;
        AddedToken[] added = [.. tokenizer.AddedTokens.Where(t => !string.IsNullOrWhiteSpace(t.Content)).OrderByDescending(t => t.Content.Length)];
        markers = SearchValues.Create([.. added.Select(t => t.Content)], StringComparison.Ordinal);
        byFirst = added.ToLookup(t => t.Content[0]);
    }

    /// <summary>The tokens of a prompt. Control tokens are recognised only where they lie wholly in text of the template.</summary>
    public int[] Encode(RenderedPrompt prompt)
    {
        string text = prompt.Text;
        bool[]? isInput = null;
        List<(int At, AddedToken Token)> allowed = [];
        bool hostile = false;
        for (int at = Next(text, 0); at >= 0; at = Next(text, at + 1))
        {
            isInput ??= Origins(prompt);
            AddedToken? here = Match(text, at, isInput, out bool reachesInput);
            hostile |= reachesInput;
            if (here is not null)
            {
                allowed.Add((at, here));
            }
        }

        // Where the conversation holds no marker, which is nearly always, the tokenizer sees the whole at once, as the model's own software does.
        return hostile ? EncodeAround(text, allowed) : tokenizer.Encode(text, addSpecialTokens: false, parseSpecialTokens: true);
    }

    private int[] EncodeAround(string text, List<(int At, AddedToken Token)> allowed)
    {
        List<int> ids = [];
        int done = 0;
        foreach ((int at, AddedToken token) in allowed)
        {
            if (at < done)
            {
                continue;
            }

            tokenizer.Encode(text.AsSpan(done, at - done), ids, addSpecialTokens: false, parseSpecialTokens: false);
            ids.Add(token.Id);
            done = at + token.Content.Length;
        }

        tokenizer.Encode(text.AsSpan(done), ids, addSpecialTokens: false, parseSpecialTokens: false);
        return [.. ids];
    }

    private int Next(string text, int from)
    {
        int at = from > text.Length ? -1 : text.AsSpan(from).IndexOfAny(markers);
        return at < 0 ? -1 : from + at;
    }

    private AddedToken? Match(string text, int at, bool[] isInput, out bool reachesInput)
    {
        reachesInput = false;
        foreach (AddedToken token in byFirst[text[at]])
        {
            if (text.AsSpan(at).StartsWith(token.Content, StringComparison.Ordinal))
            {
                if (!isInput.AsSpan(at, token.Content.Length).Contains(true))
                {
                    return token;
                }

                reachesInput = true;
            }
        }

        return null;
    }

    private static bool[] Origins(RenderedPrompt prompt)
    {
        bool[] isInput = new bool[prompt.Text.Length];
        foreach (PromptSegment segment in prompt.Segments)
        {
            isInput.AsSpan(segment.Start, segment.Length).Fill(segment.IsInput);
        }

        return isInput;
    }
}
