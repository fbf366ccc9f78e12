using System.Globalization;
using System.Text;

namespace Antiphon.Text;

/// <summary>A step that rewrites text before it is cut into words.</summary>
internal abstract class Normalizer
{
    public abstract string Apply(string text);

    public sealed class Sequence(IReadOnlyList<Normalizer> steps) : Normalizer
    {
        public override string Apply(string text) => steps.Aggregate(text, (t, step) => step.Apply(t));
    }

    public sealed class Form(NormalizationForm form) : Normalizer
    {
        public override string Apply(string text) => UnicodeNormalization.Normalize(text, form);
    }

    /// <summary>Lower case character by character: no rule for the final sigma.</summary>
    public sealed class Lowercase : Normalizer
    {
        // The one character whose lower case is two.
        public override string Apply(string text) => text.Replace("\u0130", "i\u0307", StringComparison.Ordinal).ToLowerInvariant();
    }

    public sealed class Replace(SplitPattern pattern, string content) : Normalizer
    {
        public override string Apply(string text)
        {
            var matches = new List<(int Start, int End)>();
            long fuel = SplitPattern.Fuel(text.Length);
            pattern.Matches(text, matches, ref fuel);
            if (matches.Count == 0)
            {
                return text;
            }

            var result = new StringBuilder(text.Length);
            int done = 0;
            foreach ((int start, int end) in matches)
            {
                result.Append(text, done, start - done).Append(content);
                done = end;
            }

            return result.Append(text, done, text.Length - done).ToString();
        }
    }

    /// <summary>Replaces a text, not a pattern.</summary>
    public sealed class ReplaceText(string old, string content) : Normalizer
    {
        public override string Apply(string text) => text.Replace(old, content, StringComparison.Ordinal);
    }

    public sealed class Prepend(string content) : Normalizer
    {
        public override string Apply(string text) => text.Length == 0 ? text : content + text;
    }

    public sealed class Strip(bool left, bool right) : Normalizer
    {
        public override string Apply(string text) =>
            left && right ? text.Trim() : left ? text.TrimStart() : right ? text.TrimEnd() : text;
    }

    /// <summary>Takes out non-spacing marks; a step before it has to have decomposed the text.</summary>
    public sealed class StripAccents : Normalizer
    {
        public override string Apply(string text)
        {
            var result = new StringBuilder(text.Length);
            foreach (Rune rune in text.EnumerateRunes())
            {
                if (Rune.GetUnicodeCategory(rune) != UnicodeCategory.NonSpacingMark)
                {
                    result.Append(rune);
                }
            }

            return result.ToString();
        }
    }
}
