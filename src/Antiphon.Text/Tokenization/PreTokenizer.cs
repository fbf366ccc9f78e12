using System.Text;

namespace Antiphon.Text;

/// <summary>A text and the words it is cut into so far.</summary>
internal sealed class PreTokenizedText(string text, bool atStart)
{
    /// <summary>What <see cref="Words"/> point into.</summary>
    public string Text { get; set; } = text;

    /// <summary>The words, in order, none empty.</summary>
    public List<(int Start, int End)> Words { get; set; } = text.Length == 0 ? [] : [(0, text.Length)];

    /// <summary>Whether the first word stands at the start of the whole input.</summary>
    public bool AtStart { get; } = atStart;
}

/// <summary>A step that cuts text into words, which the model then encodes each on its own.</summary>
internal abstract class PreTokenizer
{
    public abstract void Apply(PreTokenizedText text);

    public sealed class Sequence(IReadOnlyList<PreTokenizer> steps) : PreTokenizer
    {
        public override void Apply(PreTokenizedText text)
        {
            foreach (PreTokenizer step in steps)
            {
                step.Apply(text);
            }
        }
    }

    /// <summary>What becomes of the matches of a pattern.</summary>
    public enum Behavior
    {
        Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous,
    }

    /// <summary>Cuts at the matches of a pattern, or with <paramref name="invert"/> at what lies between them.</summary>
    public sealed class Split(SplitPattern pattern, Behavior behavior, bool invert = false) : PreTokenizer
    {
        public override void Apply(PreTokenizedText text)
        {
            var words = new List<(int Start, int End)>(text.Words.Count);
            var matches = new List<(int Start, int End)>();
            long fuel = SplitPattern.Fuel(text.Text.Length);
            foreach ((int start, int end) in text.Words)
            {
                matches.Clear();
                pattern.Matches(text.Text.AsSpan(start, end - start), matches, ref fuel);
                Cut(start, end, matches, words);
            }

            text.Words = words;
        }

        private void Cut(int start, int end, List<(int Start, int End)> matches, List<(int Start, int End)> words)
        {
            int first = words.Count;
            bool previous = false;
            bool pending = false; // MergedWithNext: the last word is a match that takes the next part in.
            int done = start;
            foreach ((int from, int to) in matches)
            {
                Part(done, start + from, invert);
                Part(start + from, start + to, !invert);
                done = start + to;
            }

            Part(done, end, invert);

            void Part(int from, int to, bool match)
            {
                if (from == to)
                {
                    return;
                }

                bool joins = words.Count > first && behavior switch
                {
                    Behavior.MergedWithPrevious => match && !previous,
                    Behavior.MergedWithNext => pending && !match,
                    Behavior.Contiguous => match == previous,
                    _ => false,
                };
                if (joins)
                {
                    words[^1] = (words[^1].Start, to);
                }
                else if (!match || behavior != Behavior.Removed)
                {
                    words.Add((from, to));
                }

                pending = match;
                previous = match;
            }
        }
    }

    /// <summary>SentencePiece's convention: a space is written as a visible character, and each word begins with it.</summary>
    public sealed class Metaspace(char replacement, Metaspace.Scheme scheme, bool split) : PreTokenizer
    {
        /// <summary>Where the visible space is put before a text that has none.</summary>
        public enum Scheme
        {
            Never, First, Always,
        }

        public override void Apply(PreTokenizedText text)
        {
            var result = new StringBuilder(text.Text.Length + 1);
            var words = new List<(int Start, int End)>(text.Words.Count);
            for (int i = 0; i < text.Words.Count; i++)
            {
                (int start, int end) = text.Words[i];
                int from = result.Length;
                bool wanted = scheme == Scheme.Always || (scheme == Scheme.First && i == 0 && start == 0 && text.AtStart);
                if (wanted && text.Text[start] != ' ' && text.Text[start] != replacement)
                {
                    result.Append(replacement);
                }

                int word = from;
                foreach (char c in text.Text.AsSpan(start, end - start))
                {
                    char written = c == ' ' ? replacement : c;
                    if (split && written == replacement && result.Length > word)
                    {
                        words.Add((word, result.Length));
                        word = result.Length;
                    }

                    result.Append(written);
                }

                words.Add((word, result.Length));
            }

            text.Text = result.ToString();
            text.Words = words;
        }
    }

    /// <summary>Puts a space before each word that does not begin with one.</summary>
    public sealed class PrefixSpace : PreTokenizer
    {
        public override void Apply(PreTokenizedText text)
        {
            var result = new StringBuilder(text.Text.Length + 1);
            var words = new List<(int Start, int End)>(text.Words.Count);
            foreach ((int start, int end) in text.Words)
            {
                int from = result.Length;
                if (text.Text[start] != ' ')
                {
                    result.Append(' ');
                }

                result.Append(text.Text, start, end - start);
                words.Add((from, result.Length));
            }

            text.Text = result.ToString();
            text.Words = words;
        }
    }
}
