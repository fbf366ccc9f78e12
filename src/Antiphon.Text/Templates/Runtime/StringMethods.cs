using System.Collections.Frozen;
using System.Globalization;
using System.Numerics;
using System.Text;

namespace Antiphon.Text;

/// <summary>The methods of strings. Parts keep the origin of their characters; what cannot be followed is input if anything in it was.</summary>
internal static class StringMethods
{
    public static readonly FrozenDictionary<string, Method> All = new Dictionary<string, Method>
    {
        ["upper"] = Mapped("upper", LetterCase.Upper),
        ["lower"] = Mapped("lower", LetterCase.Lower),
        ["title"] = Mapped("title", LetterCase.Title),
        ["capitalize"] = Mapped("capitalize", LetterCase.Capitalize),
        ["swapcase"] = Mapped("swapcase", LetterCase.Swap),
        ["casefold"] = Mapped("casefold", LetterCase.Fold),
        ["strip"] = (run, self, a) => Strip(run, (StringValue)self, a.Bind("strip", 0, "chars")[0], start: true, end: true),
        ["lstrip"] = (run, self, a) => Strip(run, (StringValue)self, a.Bind("lstrip", 0, "chars")[0], start: true, end: false),
        ["rstrip"] = (run, self, a) => Strip(run, (StringValue)self, a.Bind("rstrip", 0, "chars")[0], start: false, end: true),
        ["split"] = (run, self, a) => Split(run, (StringValue)self, a, fromEnd: false),
        ["rsplit"] = (run, self, a) => Split(run, (StringValue)self, a, fromEnd: true),
        ["splitlines"] = (run, self, a) => new ListValue(Lines(run, (StringValue)self, a.Bind("splitlines", 0, "keepends")[0]?.IsTrue ?? false)),
        ["replace"] = (run, self, a) =>
        {
            TemplateValue?[] given = a.Bind("replace", 2, "old", "new", "count");
            var s = (StringValue)self;
            return Replace(run, s, Text(given[0]!), Markup.Operand(run, s, Text(given[1]!)), Count(given[2]));
        },
        ["join"] = (run, self, a) =>
        {
            var separator = (StringValue)self;
            IReadOnlyList<TemplateValue> items = Lookup.Iterate(run, a.Bind("join", 1, "iterable")[0]!);
            var text = new TextBuilder(run);
            for (int i = 0; i < items.Count; i++)
            {
                StringValue item = items[i] as StringValue
                    ?? throw Error(TemplateErrorKind.Type, $"sequence item {i}: expected str instance, {items[i].TypeName} found");
                if (i > 0)
                {
                    text.Append(separator);
                }

                text.Append(Markup.Operand(run, separator, item));
            }

            return text.ToValue(separator.IsMarkup);
        },
        ["startswith"] = (run, self, a) => Fits(run, (StringValue)self, a, "startswith", static (text, part) => text.StartsWith(part, StringComparison.Ordinal)),
        ["endswith"] = (run, self, a) => Fits(run, (StringValue)self, a, "endswith", static (text, part) => text.EndsWith(part, StringComparison.Ordinal)),
        ["find"] = (run, self, a) => IntegerValue.Of(Find(run, (StringValue)self, a, "find", last: false)),
        ["rfind"] = (run, self, a) => IntegerValue.Of(Find(run, (StringValue)self, a, "rfind", last: true)),
        ["index"] = (run, self, a) => Found(Find(run, (StringValue)self, a, "index", last: false)),
        ["rindex"] = (run, self, a) => Found(Find(run, (StringValue)self, a, "rindex", last: true)),
        ["count"] = (run, self, a) => CountOf(run, (StringValue)self, a),
        ["format"] = (run, self, a) => BraceFormat.Format(run, (StringValue)self, a),
        ["format_map"] = (run, self, a) => a.Bind("format_map", 1, "mapping")[0] is DictValue mapping
            ? BraceFormat.Format(run, (StringValue)self, new Arguments([], [.. mapping.Entries
                .Where(e => e.Key is StringValue).Select(e => new KeyValuePair<string, TemplateValue>(((StringValue)e.Key).Text, e.Value))]))
            : throw Error(TemplateErrorKind.Type, "format_map() argument must be a mapping"),
        ["zfill"] = (run, self, a) => ZeroFill(run, (StringValue)self, Integer(a.Bind("zfill", 1, "width")[0]!)),
        ["ljust"] = (run, self, a) => Justify(run, (StringValue)self, a, "ljust", static space => (0, space)),
        ["rjust"] = (run, self, a) => Justify(run, (StringValue)self, a, "rjust", static space => (space, 0)),
        ["center"] = (run, self, a) => Justify(run, (StringValue)self, a, "center", null),
        ["partition"] = (run, self, a) => Partition(run, (StringValue)self, a, last: false),
        ["rpartition"] = (run, self, a) => Partition(run, (StringValue)self, a, last: true),
        ["removeprefix"] = (run, self, a) =>
        {
            var s = (StringValue)self;
            string prefix = Text(a.Bind("removeprefix", 1, "prefix")[0]!).Text;
            return s.Text.StartsWith(prefix, StringComparison.Ordinal) ? s.Slice(prefix.Length, s.Text.Length - prefix.Length) : s;
        },
        ["removesuffix"] = (run, self, a) =>
        {
            var s = (StringValue)self;
            string suffix = Text(a.Bind("removesuffix", 1, "suffix")[0]!).Text;
            return s.Text.EndsWith(suffix, StringComparison.Ordinal) ? s.Slice(0, s.Text.Length - suffix.Length) : s;
        },
        ["expandtabs"] = (run, self, a) => ExpandTabs(run, (StringValue)self, a.Bind("expandtabs", 0, "tabsize")[0]),
        ["isalpha"] = AllRunes("isalpha", Rune.IsLetter),
        ["isdigit"] = AllRunes("isdigit", static r => Rune.IsDigit(r) || r.Value is 0xb2 or 0xb3 or 0xb9 or >= 0x2070 and <= 0x2089),
        ["isdecimal"] = AllRunes("isdecimal", Rune.IsDigit),
        ["isnumeric"] = AllRunes("isnumeric", Rune.IsNumber),
        ["isalnum"] = AllRunes("isalnum", static r => Rune.IsLetter(r) || Rune.IsNumber(r)),
        ["isspace"] = AllRunes("isspace", static r => r.IsBmp && PythonCharacters.IsSpace((char)r.Value)),
        ["isascii"] = (run, self, a) => BooleanValue.Of(Ascii.IsValid(((StringValue)self).Text)),
        ["islower"] = (run, self, a) => BooleanValue.Of(IsInCase((StringValue)self, Rune.IsUpper)),
        ["isupper"] = (run, self, a) => BooleanValue.Of(IsInCase((StringValue)self, Rune.IsLower)),
        ["istitle"] = (run, self, a) => BooleanValue.Of(((StringValue)self).Text is { Length: > 0 } t && t.EnumerateRunes().Some(LetterCase.IsCased) && LetterCase.Title(t) == t),
        ["isidentifier"] = (run, self, a) =>
        {
            string s = ((StringValue)self).Text;
            return BooleanValue.Of(s.Length > 0 && PythonCharacters.IsNameStart(s, 0) && Enumerable.Range(0, s.Length).All(i => char.IsLowSurrogate(s[i]) || PythonCharacters.IsNamePart(s, i)));
        },
    }.ToFrozenDictionary();

    public static StringValue Strip(Run run, StringValue value, TemplateValue? chars, bool start, bool end)
    {
        string text = value.Text;
        int from = 0;
        int to = text.Length;
        run.Step(to >> 6);
        string? set = chars is null or NoneValue ? null : Text(chars).Text;
        if (set is not null)
        {
            run.Step((long)set.Length * text.Length >> 10);
        }

        bool Drops(int at, int units) => set is null ? PythonCharacters.IsSpace(text[at]) : set.AsSpan().IndexOf(text.AsSpan(at, units)) >= 0;
        while (start && from < to)
        {
            int units = value.UnitsAt(from);
            if (!Drops(from, units))
            {
                break;
            }

            from += units;
        }

        while (end && to > from)
        {
            int units = to - 2 >= from && char.IsSurrogatePair(text, to - 2) ? 2 : 1;
            if (!Drops(to - units, units))
            {
                break;
            }

            to -= units;
        }

        return value.Slice(from, to - from);
    }

    /// <summary>Replaces at most <paramref name="count"/> occurrences; a negative count means all.</summary>
    public static StringValue Replace(Run run, StringValue value, StringValue old, StringValue with, BigInteger count)
    {
        string text = value.Text;
        Comparison.PaySearch(run, text.Length, old.Text.Length);
        if (count.IsZero || (old.Text.Length > 0 && !text.Contains(old.Text, StringComparison.Ordinal)))
        {
            return value;
        }

        var result = new TextBuilder(run);
        int from = 0;
        for (BigInteger left = count; !left.IsZero; left -= 1)
        {
            int at;
            if (old.Text.Length == 0)
            {
                if (from > text.Length)
                {
                    break;
                }

                result.Append(with);
                if (from < text.Length)
                {
                    int units = value.UnitsAt(from);
                    result.Append(value, from, units);
                    from += units;
                }
                else
                {
                    from++;
                }

                continue;
            }

            at = text.IndexOf(old.Text, from, StringComparison.Ordinal);
            if (at < 0)
            {
                break;
            }

            run.Step();
            result.Append(value, from, at - from);
            result.Append(with);
            from = at + old.Text.Length;
        }

        if (from < text.Length)
        {
            result.Append(value, from, text.Length - from);
        }

        return result.ToValue(value.IsMarkup);
    }

    public static List<TemplateValue> Lines(Run run, StringValue value, bool keepEnds)
    {
        string text = value.Text;
        run.Step(text.Length >> 4);
        var lines = new List<TemplateValue>();
        int from = 0;
        for (int i = 0; i < text.Length;)
        {
            int ending = PythonCharacters.LineBreakAt(text, i);
            if (ending == 0)
            {
                i++;
                continue;
            }

            lines.Add(Part(run, value, from, (keepEnds ? i + ending : i) - from));
            from = i += ending;
        }

        if (from < text.Length)
        {
            lines.Add(Part(run, value, from, text.Length - from));
        }

        return lines;
    }

    public static StringValue Center(Run run, StringValue value, BigInteger width, StringValue fill)
    {
        long space = Space(value, width);
        long left = (space / 2) + (space & (long)width & 1);
        return Pad(run, value, left, space - left, fill);
    }

    private static long Space(StringValue value, BigInteger width) => (long)BigInteger.Max(0, BigInteger.Min(width - value.Length, int.MaxValue));

    private static StringValue Pad(Run run, StringValue value, long left, long right, StringValue fill)
    {
        if (left + right == 0)
        {
            return value;
        }

        if (fill.Length != 1)
        {
            throw Error(TemplateErrorKind.Type, "The fill character must be exactly one character long");
        }

        var text = new TextBuilder(run);
        void Fill(long count)
        {
            if (fill.Text.Length == 1)
            {
                text.AppendRepeated(fill.Text[0], count, fill.Origin.HasInput);
                return;
            }

            for (; count > 0; count--)
            {
                text.Append(fill);
            }
        }

        Fill(left);
        text.Append(value);
        Fill(right);
        return text.ToValue(value.IsMarkup);
    }

    private static StringValue Justify(Run run, StringValue value, Arguments arguments, string name, Func<long, (long, long)>? sides)
    {
        TemplateValue?[] given = arguments.Bind(name, 1, "width", "fillchar");
        StringValue fill = given[1] is null ? StringValue.Of(" ") : Text(given[1]!);
        if (sides is null)
        {
            return Center(run, value, Integer(given[0]!), fill);
        }

        (long left, long right) = sides(Space(value, Integer(given[0]!)));
        return Pad(run, value, left, right, fill);
    }

    private static StringValue ZeroFill(Run run, StringValue value, BigInteger width)
    {
        int sign = value.Text.StartsWith('-') || value.Text.StartsWith('+') ? 1 : 0;
        var text = new TextBuilder(run);
        text.Append(value, 0, sign);
        text.AppendRepeated('0', Space(value, width));
        text.Append(value, sign, value.Text.Length - sign);
        return text.ToValue(value.IsMarkup);
    }

    private static StringValue ExpandTabs(Run run, StringValue value, TemplateValue? size)
    {
        BigInteger width = size is null ? 8 : Integer(size);
        var text = new TextBuilder(run);
        long column = 0;
        foreach (TemplateValue item in Lookup.Iterate(run, value))
        {
            var character = (StringValue)item;
            if (character.Text == "\t")
            {
                long spaces = width.Sign <= 0 ? 0 : (long)BigInteger.Min(width - (column % width), int.MaxValue);
                text.AppendRepeated(' ', spaces, character.Origin.HasInput);
                column += spaces;
            }
            else
            {
                text.Append(character);
                column = character.Text is "\n" or "\r" ? 0 : column + 1;
            }
        }

        return text.ToValue(value.IsMarkup);
    }

    private static ListValue Split(Run run, StringValue value, Arguments arguments, bool fromEnd)
    {
        TemplateValue?[] given = arguments.Bind("split", 0, "sep", "maxsplit");
        int most = (int)BigInteger.Min(Count(given[1]) is { Sign: >= 0 } n ? n : int.MaxValue, int.MaxValue);
        string? separator = given[0] is null or NoneValue ? null : Text(given[0]!).Text;
        if (separator is { Length: 0 })
        {
            throw Error(TemplateErrorKind.Value, "empty separator");
        }

        Comparison.PaySearch(run, value.Text.Length, separator?.Length ?? 1);
        var parts = new List<TemplateValue>();
        if (separator is null)
        {
            SplitAtSpace(run, value, most, fromEnd, parts);
        }
        else
        {
            SplitAt(run, value, separator, most, fromEnd, parts);
        }

        if (fromEnd)
        {
            parts.Reverse();
        }

        return new(parts);
    }

    private static void SplitAt(Run run, StringValue value, string separator, int most, bool fromEnd, List<TemplateValue> parts)
    {
        string text = value.Text;
        int from = 0;
        int to = text.Length;
        for (; most > 0; most--)
        {
            int at = fromEnd
                ? text.AsSpan(0, to).LastIndexOf(separator, StringComparison.Ordinal)
                : text.IndexOf(separator, from, StringComparison.Ordinal);
            if (at < 0)
            {
                break;
            }

            if (fromEnd)
            {
                parts.Add(Part(run, value, at + separator.Length, to - at - separator.Length));
                to = at;
            }
            else
            {
                parts.Add(Part(run, value, from, at - from));
                from = at + separator.Length;
            }
        }

        parts.Add(Part(run, value, from, to - from));
    }

    private static void SplitAtSpace(Run run, StringValue value, int most, bool fromEnd, List<TemplateValue> parts)
    {
        ReadOnlySpan<char> text = value.Text;
        int from = text.Length - PythonCharacters.TrimStart(text).Length;
        int to = PythonCharacters.TrimEnd(text).Length;
        if (!fromEnd)
        {
            // What is left when the count is used up keeps its trailing space.
            to = most == int.MaxValue ? to : text.Length;
        }
        else
        {
            from = most == int.MaxValue ? from : 0;
        }

        while (from < to)
        {
            int length = 0;
            if (most-- <= 0)
            {
                parts.Add(Part(run, value, from, to - from));
                return;
            }

            if (fromEnd)
            {
                while (length < to - from && !PythonCharacters.IsSpace(text[to - 1 - length]))
                {
                    length++;
                }

                if (length > 0)
                {
                    parts.Add(Part(run, value, to - length, length));
                }

                to = from + PythonCharacters.TrimEnd(text[from..(to - length)]).Length;
            }
            else
            {
                while (length < to - from && !PythonCharacters.IsSpace(text[from + length]))
                {
                    length++;
                }

                parts.Add(Part(run, value, from, length));
                from = to - PythonCharacters.TrimStart(text[(from + length)..to]).Length;
            }
        }
    }

    private static TupleValue Partition(Run run, StringValue value, Arguments arguments, bool last)
    {
        StringValue separator = Text(arguments.Bind("partition", 1, "sep")[0]!);
        string text = value.Text;
        if (separator.Text.Length == 0)
        {
            throw Error(TemplateErrorKind.Value, "empty separator");
        }

        Comparison.PaySearch(run, text.Length, separator.Text.Length);
        int at = last ? text.LastIndexOf(separator.Text, StringComparison.Ordinal) : text.IndexOf(separator.Text, StringComparison.Ordinal);
        if (at < 0)
        {
            return last ? new([StringValue.Empty, StringValue.Empty, value]) : new([value, StringValue.Empty, StringValue.Empty]);
        }

        int after = at + separator.Text.Length;
        return new([Part(run, value, 0, at), Part(run, value, at, separator.Text.Length), Part(run, value, after, text.Length - after)]);
    }

    private static BooleanValue Fits(Run run, StringValue value, Arguments arguments, string name, Func<string, string, bool> test)
    {
        TemplateValue?[] given = arguments.Bind(name, 1, "prefix", "start", "end");
        string text = ((StringValue)Lookup.Slice(run, value, given[1], given[2], null)).Text;
        IReadOnlyList<TemplateValue> candidates = given[0] is TupleValue tuple ? tuple.Items : [given[0]!];
        foreach (TemplateValue candidate in candidates)
        {
            run.Step(candidate.WalkCost);
            if (test(text, Text(candidate).Text))
            {
                return BooleanValue.True;
            }
        }

        return BooleanValue.False;
    }

    private static int Find(Run run, StringValue value, Arguments arguments, string name, bool last)
    {
        TemplateValue?[] given = arguments.Bind(name, 1, "sub", "start", "end");
        (int from, int to) = Window(value, given[1], given[2]);
        string part = Text(given[0]!).Text;
        if (from > to)
        {
            return -1;
        }

        Comparison.PaySearch(run, value.Text.Length, part.Length);
        ReadOnlySpan<char> window = value.Text.AsSpan(from, to - from);
        int at = last ? window.LastIndexOf(part, StringComparison.Ordinal) : window.IndexOf(part, StringComparison.Ordinal);
        return at < 0 ? -1 : value.CodePointPosition(from + at);
    }

    private static IntegerValue CountOf(Run run, StringValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("count", 1, "sub", "start", "end");
        (int from, int to) = Window(value, given[1], given[2]);
        string part = Text(given[0]!).Text;
        if (from > to)
        {
            return IntegerValue.Of(0);
        }

        Comparison.PaySearch(run, value.Text.Length, part.Length);
        ReadOnlySpan<char> window = value.Text.AsSpan(from, to - from);
        return part.Length > 0 ? IntegerValue.Of(window.Count(part)) : IntegerValue.Of(value.CodePointPosition(to) - value.CodePointPosition(from) + 1);
    }

    private static (int From, int To) Window(StringValue value, TemplateValue? start, TemplateValue? end)
    {
        int length = value.Length;
        int Position(TemplateValue? given, int otherwise)
        {
            if (given is null or NoneValue)
            {
                return otherwise;
            }

            BigInteger at = Integer(given);
            return (int)BigInteger.Max(0, BigInteger.Min(length + 1, at.Sign < 0 ? at + length : at));
        }

        int from = Position(start, 0);
        int to = Math.Min(Position(end, length), length);
        return from > length ? (1, 0) : (value.UnitPosition(from), value.UnitPosition(to));
    }

    private static IntegerValue Found(int at) => at >= 0 ? IntegerValue.Of(at) : throw Error(TemplateErrorKind.Value, "substring not found");

    private static Method Mapped(string name, Func<string, string> map) => (run, self, arguments) =>
    {
        arguments.Bind(name, 0);
        var value = (StringValue)self;
        run.PayText(value.Text.Length);
        run.Step(value.Text.Length >> 3);
        return value.Derive(map(value.Text));
    };

    private static Method AllRunes(string name, Func<Rune, bool> test) => (run, self, arguments) =>
    {
        arguments.Bind(name, 0);
        string text = ((StringValue)self).Text;
        run.Step(text.Length >> 3);
        return BooleanValue.Of(text.Length > 0 && text.EnumerateRunes().Every(test));
    };

    private static bool Every(this StringRuneEnumerator runes, Func<Rune, bool> test)
    {
        foreach (Rune rune in runes)
        {
            if (!test(rune))
            {
                return false;
            }
        }

        return true;
    }

    private static bool Some(this StringRuneEnumerator runes, Func<Rune, bool> test)
    {
        foreach (Rune rune in runes)
        {
            if (test(rune))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether there are cased characters and none of the other case.</summary>
    public static bool IsInCase(StringValue value, Func<Rune, bool> other)
    {
        bool any = false;
        foreach (Rune rune in value.Text.EnumerateRunes())
        {
            if (other(rune) || Rune.GetUnicodeCategory(rune) == UnicodeCategory.TitlecaseLetter)
            {
                return false;
            }

            any |= LetterCase.IsCased(rune);
        }

        return any;
    }

    private static StringValue Part(Run run, StringValue value, int start, int length)
    {
        run.PayText(length);
        run.Step();
        return value.Slice(start, length);
    }

    private static BigInteger Count(TemplateValue? value) => value is null or NoneValue ? -1 : Integer(value);

    public static BigInteger Integer(TemplateValue value) => value is UndefinedValue undefined
        ? throw undefined.Error()
        : ValueComparer.AsInteger(value) ?? throw Error(TemplateErrorKind.Type, $"'{value.TypeName}' object cannot be interpreted as an integer");

    public static StringValue Text(TemplateValue value) => value switch
    {
        StringValue s => s,
        UndefinedValue undefined => throw undefined.Error(),
        _ => throw Error(TemplateErrorKind.Type, $"a string is needed, not '{value.TypeName}'"),
    };

    private static TemplateException Error(TemplateErrorKind kind, string message) => new(kind, message);
}
