using System.Buffers;
using System.Globalization;

namespace Antiphon.Text;

/// <summary>Finds added tokens in text: the leftmost, and of those the longest. Those with <see cref="AddedToken.Normalized"/> false in the
/// text as given, the others, later, in what normalisation makes of the rest.</summary>
internal sealed class AddedVocabulary
{
    private readonly Finder raw;
    private readonly Finder normalized;
    private readonly Finder rawHarmless;
    private readonly Finder normalizedHarmless;

    public AddedVocabulary(IReadOnlyCollection<AddedToken> tokens, Normalizer? normalizer)
    {
        raw = new(tokens.Where(t => !t.Normalized), null);
        normalized = new(tokens.Where(t => t.Normalized), normalizer);
        rawHarmless = new(tokens.Where(t => !t.Normalized && t.IsPlainSpace), null);
        normalizedHarmless = new(tokens.Where(t => t.Normalized && t.IsPlainSpace), normalizer);
    }

    /// <summary>Cuts text into added tokens (an id) and what lies between them (id -1).</summary>
    /// <param name="text">The text, never empty.</param>
    /// <param name="isNormalized">Whether it went through the normaliser.</param>
    /// <param name="all">Whether all added tokens count, or only those that cannot be taken for markup.</param>
    /// <param name="parts">Receives the parts.</param>
    public void Split(string text, bool isNormalized, bool all, List<(int Id, int Start, int End)> parts) =>
        (isNormalized ? all ? normalized : normalizedHarmless : all ? raw : rawHarmless).Split(text, parts);

    private sealed class Finder
    {
        private readonly Dictionary<(int Node, char Next), int> edges = [];
        private readonly List<AddedToken?> tokens = [null];
        private readonly SearchValues<char> firsts;

        public Finder(IEnumerable<AddedToken> added, Normalizer? normalizer)
        {
            var starts = new HashSet<char>();
            foreach (AddedToken token in added)
            {
                string content = normalizer?.Apply(token.Content) ?? token.Content;
                int node = 0;
                foreach (char c in content)
                {
                    if (!edges.TryGetValue((node, c), out int next))
                    {
                        next = tokens.Count;
                        edges.Add((node, c), next);
                        tokens.Add(null);
                    }

                    node = next;
                }

                if (content.Length > 0)
                {
                    starts.Add(content[0]);
                    tokens[node] = token;
                }
            }

            firsts = SearchValues.Create([.. starts]);
        }

        public void Split(string text, List<(int Id, int Start, int End)> parts)
        {
            int done = 0;
            int position = 0;
            while (position < text.Length)
            {
                int skip = text.AsSpan(position).IndexOfAny(firsts);
                if (skip < 0)
                {
                    break;
                }

                position += skip;
                if (Longest(text, position, out int length) is not { } token)
                {
                    position++;
                    continue;
                }

                int start = position;
                int end = position + length;
                position = end;
                if (token.SingleWord && (TouchesWordBefore(text, start) || TouchesWordAfter(text, end)))
                {
                    continue;
                }

                while (token.LeftStrip && start > done && char.IsWhiteSpace(text[start - 1]))
                {
                    start--;
                }

                while (token.RightStrip && end < text.Length && char.IsWhiteSpace(text[end]))
                {
                    end++;
                }

                if (start > done)
                {
                    parts.Add((-1, done, start));
                }

                parts.Add((token.Id, start, end));
                done = end;
            }

            if (done < text.Length)
            {
                parts.Add((-1, done, text.Length));
            }
        }

        private AddedToken? Longest(string text, int start, out int length)
        {
            AddedToken? found = null;
            length = 0;
            int node = 0;
            for (int i = start; i < text.Length && edges.TryGetValue((node, text[i]), out node); i++)
            {
                if (tokens[node] is { } token)
                {
                    found = token;
                    length = i + 1 - start;
                }
            }

            return found;
        }

        private static bool TouchesWordBefore(string text, int start) =>
            start > 0 && IsWord(CodePoints.PointAt(text, CodePoints.Before(text, start), out _));

        private static bool TouchesWordAfter(string text, int end) => end < text.Length && IsWord(CodePoints.PointAt(text, end, out _));

        // Rust's \w has number letters and joiners besides.
        private static bool IsWord(int point) =>
            CharacterSet.IsWord(point) || CharUnicodeInfo.GetUnicodeCategory(point) == UnicodeCategory.LetterNumber || point is 0x200C or 0x200D;
    }
}
