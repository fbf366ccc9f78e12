using System.Globalization;
using System.Text;

namespace Antiphon.Text;

/// <summary>
/// Reads regular expressions in the dialect of <c>tokenizer.json</c> (Oniguruma's): classes, categories, groups, alternatives,
/// quantifiers, look-around, inline case folding. What is not understood is refused, never guessed.
/// </summary>
internal ref struct PatternParser
{
    private const int MaxDepth = 32;
    private const int MaxRepeat = 1000;

    private readonly string pattern;
    private int position;
    private int depth;
    private bool fold;

    private PatternParser(string pattern) => this.pattern = pattern;

    public static PatternNode Parse(string pattern)
    {
        if (pattern.Length > 16_384)
        {
            throw new TokenizerFormatException($"a pattern of {pattern.Length} characters is too long (at most 16384); the tokenizer is damaged");
        }

        var parser = new PatternParser(pattern);
        PatternNode node = parser.ParseAlternatives();
        return parser.position == pattern.Length ? node : throw parser.Bad("an unopened ')'");
    }

    private readonly bool More => position < pattern.Length;

    private readonly TokenizerFormatException Bad(string what) => new($"pattern '{pattern}' has {what} at {position}; the tokenizer is damaged");

    private readonly TokenizerFormatException NotSupported(string what) =>
        TokenizerFormatException.NotSupported($"{what} at {position} of the pattern '{pattern}'");

    private bool Take(string text)
    {
        if (string.CompareOrdinal(pattern, position, text, 0, text.Length) != 0)
        {
            return false;
        }

        position += text.Length;
        return true;
    }

    private PatternNode ParseAlternatives()
    {
        if (++depth > MaxDepth)
        {
            throw Bad($"more than {MaxDepth} groups inside each other");
        }

        bool outerFold = fold;
        var options = new List<PatternNode>();
        do
        {
            options.Add(ParseSequence());
        }
        while (Take("|"));
        fold = outerFold;
        depth--;
        return options.Count == 1 ? options[0] : new PatternNode.Alternatives(options);
    }

    private PatternNode ParseSequence()
    {
        var parts = new List<PatternNode>();
        while (More && pattern[position] is not ('|' or ')'))
        {
            if (Take("(?i)"))
            {
                fold = true;
                continue;
            }

            parts.Add(ParseQuantified());
        }

        return parts.Count == 1 ? parts[0] : new PatternNode.Sequence(parts);
    }

    private PatternNode ParseQuantified()
    {
        PatternNode node = ParseAtom();
        while (More)
        {
            int minimum;
            int maximum = int.MaxValue;
            bool interval = false;
            if (Take("*"))
            {
                minimum = 0;
            }
            else if (Take("+"))
            {
                minimum = 1;
            }
            else if (Take("?"))
            {
                (minimum, maximum) = (0, 1);
            }
            else if (pattern[position] == '{')
            {
                (minimum, maximum) = ParseInterval();
                interval = true;
            }
            else
            {
                break;
            }

            bool lazy = Take("?");
            // After an interval, Oniguruma takes '+' as a second quantifier.
            bool possessive = !lazy && !interval && Take("+");
            if (maximum == int.MaxValue && node.CanBeEmpty)
            {
                throw NotSupported("the repetition of something that can be empty");
            }

            node = new PatternNode.Repeat(node, minimum, maximum, lazy, possessive);
        }

        return node;
    }

    private (int Minimum, int Maximum) ParseInterval()
    {
        position++;
        int minimum = More && pattern[position] == ',' ? 0 : ParseNumber();
        int maximum = minimum;
        if (Take(","))
        {
            maximum = More && pattern[position] == '}' ? int.MaxValue : ParseNumber();
        }

        return Take("}") && maximum >= minimum ? (minimum, maximum) : throw Bad("a wrong interval");
    }

    private int ParseNumber()
    {
        int start = position;
        while (More && char.IsAsciiDigit(pattern[position]))
        {
            position++;
        }

        return int.TryParse(pattern.AsSpan(start, position - start), NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number <= MaxRepeat
            ? number
            : throw Bad($"an interval that is not a number up to {MaxRepeat}");
    }

    private PatternNode ParseAtom()
    {
        switch (pattern[position])
        {
            case '(':
                position++;
                return ParseGroup();
            case '[':
                position++;
                return new PatternNode.Set(ParseClass());
            case '.':
                position++;
                return new PatternNode.Set(new([CharacterSet.Item.Range('\n', '\n')], negated: true));
            case '^' or '$':
                return new PatternNode.Anchor(pattern[position++]);
            case '\\' when position + 1 < pattern.Length && pattern[position + 1] is 'A' or 'z' or 'b' or 'B':
                position += 2;
                return new PatternNode.Anchor(pattern[position - 1]);
            case '*' or '+' or '?':
                throw Bad("a quantifier of nothing");
            case '\\':
                CharacterSet.Item item = ParseEscape(out int point);
                return new PatternNode.Set(point >= 0 ? Literal(point) : CharacterSet.Of(item));
            default:
                return new PatternNode.Set(Literal(ParsePoint()));
        }
    }

    private PatternNode ParseGroup()
    {
        bool outerFold = fold;
        bool? negative = null;
        bool behind = false;
        bool atomic = false;
        if (Take("?<=") || Take("?<!"))
        {
            (negative, behind) = (pattern[position - 1] == '!', true);
        }
        else if (Take("?=") || Take("?!"))
        {
            negative = pattern[position - 1] == '!';
        }
        else if (Take("?>"))
        {
            atomic = true;
        }
        else if (Take("?i:"))
        {
            fold = true;
        }
        else if (!Take("?:") && More && pattern[position] == '?')
        {
            throw NotSupported("this kind of group");
        }

        PatternNode node = ParseAlternatives();
        fold = outerFold;
        if (!Take(")"))
        {
            throw Bad("an unclosed group");
        }

        if (behind && node is not PatternNode.Set)
        {
            throw NotSupported("looking behind at more than one character");
        }

        return negative is { } no ? new PatternNode.Look(node, no, behind)
            : atomic ? new PatternNode.Repeat(node, 1, 1, Lazy: false, Possessive: true)
            : node;
    }

    private CharacterSet ParseClass()
    {
        bool negated = Take("^");
        var items = new List<CharacterSet.Item>();
        for (bool first = true; ; first = false)
        {
            if (!More)
            {
                throw Bad("an unclosed class");
            }

            if (!first && Take("]"))
            {
                return new(items, negated);
            }

            if (pattern[position] == '[' || string.CompareOrdinal(pattern, position, "&&", 0, 2) == 0)
            {
                throw NotSupported("a class within a class");
            }

            int low;
            if (pattern[position] == '\\')
            {
                CharacterSet.Item item = ParseEscape(out low);
                if (low < 0)
                {
                    items.Add(item);
                    continue;
                }
            }
            else
            {
                low = ParsePoint();
            }

            int high = low;
            if (position + 1 < pattern.Length && pattern[position] == '-' && pattern[position + 1] != ']')
            {
                position++;
                if (pattern[position] != '\\')
                {
                    high = ParsePoint();
                }
                else
                {
                    _ = ParseEscape(out high);
                }

                if (high < low)
                {
                    throw Bad("a range that ends before it begins");
                }
            }

            items.Add(CharacterSet.Item.Range(low, high));
            if (fold)
            {
                for (int point = low; point <= high && point < 0x80; point++)
                {
                    AddFolds(point, items);
                }
            }
        }
    }

    private readonly CharacterSet Literal(int point)
    {
        var items = new List<CharacterSet.Item> { CharacterSet.Item.Range(point, point) };
        if (fold)
        {
            AddFolds(point, items);
        }

        return new(items, negated: false);
    }

    // Simple folding; the long s and the Kelvin sign fold to ASCII letters.
    private static void AddFolds(int point, List<CharacterSet.Item> items)
    {
        if (!Rune.IsValid(point))
        {
            return;
        }

        int lower = Rune.ToLowerInvariant(new Rune(point)).Value;
        int upper = Rune.ToUpperInvariant(new Rune(point)).Value;
        items.Add(CharacterSet.Item.Range(lower, lower));
        items.Add(CharacterSet.Item.Range(upper, upper));
        if (lower is 's' or 'k')
        {
            int other = lower == 's' ? 0x17F : 0x212A;
            items.Add(CharacterSet.Item.Range(other, other));
        }
    }

    private int ParsePoint()
    {
        int point = CodePoints.PointAt(pattern, position, out int length);
        position += length;
        return point;
    }

    // A single code point in 'point', or else -1 there and a shorthand or category as the result.
    private CharacterSet.Item ParseEscape(out int point)
    {
        position++;
        if (!More)
        {
            throw Bad("a lone backslash");
        }

        point = -1;
        char kind = pattern[position++];
        switch (kind)
        {
            case 's' or 'S':
                return CharacterSet.Item.Space(kind == 'S');
            case 'd' or 'D':
                return CharacterSet.Item.Categories(CharacterSet.Item.DecimalNumbers, kind == 'D');
            case 'w' or 'W':
                return CharacterSet.Item.Categories(CharacterSet.Item.WordCategories, kind == 'W');
            case 'p' or 'P':
                return ParseProperty(kind == 'P');
            case 'n':
                point = '\n';
                break;
            case 'r':
                point = '\r';
                break;
            case 't':
                point = '\t';
                break;
            case 'f':
                point = '\f';
                break;
            case 'v':
                point = '\v';
                break;
            case 'u':
                point = ParseHex(4);
                break;
            case 'x' when Take("{"):
                int end = pattern.IndexOf('}', position);
                point = ParseHex(end - position);
                position++;
                break;
            case 'x':
                point = ParseHex(2);
                break;
            default:
                if (char.IsAsciiLetterOrDigit(kind))
                {
                    throw NotSupported($"the escape '\\{kind}'");
                }

                position--;
                point = ParsePoint();
                break;
        }

        return default;
    }

    private int ParseHex(int digits)
    {
        if (digits is < 1 or > 6 || position + digits > pattern.Length
            || !int.TryParse(pattern.AsSpan(position, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int point)
            || point > 0x10FFFF)
        {
            throw Bad("a wrong code point");
        }

        position += digits;
        return point;
    }

    private CharacterSet.Item ParseProperty(bool negated)
    {
        string name;
        if (Take("{"))
        {
            int end = pattern.IndexOf('}', position);
            name = end > position ? pattern[position..end] : throw Bad("an unclosed property");
            position = end + 1;
        }
        else
        {
            name = More ? pattern[position++].ToString() : throw Bad("an unnamed property");
        }

        if (name[0] == '^')
        {
            (name, negated) = (name[1..], !negated);
        }

        return CharacterSet.Item.TryCategories(name, out uint categories)
            ? CharacterSet.Item.Categories(categories, negated)
            : throw NotSupported($"the property '{name}'");
    }
}
