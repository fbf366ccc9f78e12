using System.Globalization;
using System.Numerics;
using System.Text;

namespace Antiphon.Text;

/// <summary>Filters that make a text of a text.</summary>
internal static class TextFilters
{
    public static IReadOnlyDictionary<string, Filter> All { get; } = new Dictionary<string, Filter>
    {
        ["upper"] = OfMethod("upper"),
        ["lower"] = OfMethod("lower"),
        ["capitalize"] = OfMethod("capitalize"),
        ["trim"] = static (run, value, a) => StringMethods.Strip(run, Printing.Str(run, value), a.Bind("trim", 0, "chars")[0], start: true, end: true),
        ["title"] = Title,
        ["center"] = static (run, value, a) =>
            StringMethods.Center(run, Printing.Str(run, value), a.Bind("center", 0, "width")[0] is { } w ? StringMethods.Integer(w) : 80, StringValue.Of(" ")),
        ["replace"] = static (run, value, a) =>
        {
            TemplateValue?[] given = a.Bind("replace", 2, "s_old", "s_new", "count");
            BigInteger count = given[2] is null or NoneValue ? -1 : StringMethods.Integer(given[2]!);
            return StringMethods.Replace(
                run, Printing.Str(run, value).AsPlain(), Printing.Str(run, given[0]!).AsPlain(), Printing.Str(run, given[1]!).AsPlain(), count);
        },
        ["safe"] = static (run, value, a) => Printing.Str(run, value).AsMarkup(),
        ["escape"] = static (run, value, a) => Markup.Escape(run, Printing.Str(run, value)),
        ["e"] = static (run, value, a) => Markup.Escape(run, Printing.Str(run, value)),
        ["forceescape"] = static (run, value, a) => Markup.Escape(run, Printing.Str(run, value), force: true),
        ["format"] = static (run, value, a) =>
        {
            StringValue format = Printing.Str(run, value);
            if (a.Named.Length == 0)
            {
                return PercentFormat.Format(run, format, new TupleValue(a.Positional));
            }

            var dict = new DictValue();
            foreach ((string name, TemplateValue item) in a.Named)
            {
                dict.Set(StringValue.Of(name), item);
            }

            return a.Positional.Length == 0
                ? PercentFormat.Format(run, format, dict)
                : throw new TemplateException(TemplateErrorKind.Type, "can't handle positional and keyword arguments at the same time");
        },
        ["indent"] = Indent,
        ["truncate"] = Truncate,
        ["wordwrap"] = WordWrap,
        ["wordcount"] = static (run, value, a) => IntegerValue.Of(CountWords(run, Printing.Str(run, value).Text)),
        ["striptags"] = StripTags,
        ["urlencode"] = UrlEncode,
    };

    private static Filter OfMethod(string name)
    {
        Method method = StringMethods.All[name];
        return (run, value, arguments) => method(run, Printing.Str(run, value), arguments);
    }

    private static StringValue Title(Run run, TemplateValue value, Arguments arguments)
    {
        arguments.Bind("title", 0);
        StringValue s = Printing.Str(run, value);
        run.PayText(s.Text.Length * 2L);
        var title = new StringBuilder(s.Text.Length);
        int from = 0;
        while (from < s.Text.Length)
        {
            int to = from;
            static bool Parts(char c) => c is '-' or '(' or '{' or '[' or '<' || PythonCharacters.IsSpace(c);
            bool parts = Parts(s.Text[from]);
            while (to < s.Text.Length && Parts(s.Text[to]) == parts)
            {
                to++;
            }

            int first = s.UnitsAt(from);
            title.Append(parts ? s.Text[from..to] : LetterCase.Upper(s.Text.Substring(from, first)) + LetterCase.Lower(s.Text[(from + first)..to]));
            from = to;
        }

        return s.Derive(title.ToString());
    }

    private static StringValue Indent(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("indent", 0, "width", "first", "blank");
        StringValue s = StringMethods.Text(value is UndefinedValue ? StringValue.Empty : value);
        StringValue indentation;
        if (given[0] is StringValue text)
        {
            indentation = text;
        }
        else
        {
            var spaces = new TextBuilder(run);
            spaces.AppendRepeated(' ', given[0] is null ? 4 : (long)BigInteger.Max(0, BigInteger.Min(StringMethods.Integer(given[0]!), int.MaxValue)));
            indentation = spaces.ToValue();
        }

        bool first = given[1]?.IsTrue ?? false;
        bool blank = given[2]?.IsTrue ?? false;
        var withEnd = new TextBuilder(run);
        withEnd.Append(s);
        withEnd.Append("\n");
        List<TemplateValue> lines = StringMethods.Lines(run, withEnd.ToValue(), keepEnds: false);
        var result = new TextBuilder(run);
        for (int i = 0; i < lines.Count; i++)
        {
            var line = (StringValue)lines[i];
            result.Append(i > 0 ? "\n" : "");
            if (i == 0 ? first : blank || line.Text.Length > 0)
            {
                result.Append(indentation);
            }

            result.Append(line);
        }

        return result.ToValue(s.IsMarkup);
    }

    private static StringValue Truncate(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("truncate", 0, "length", "killwords", "end", "leeway");
        StringValue s = Printing.Str(run, value);
        StringValue end = given[2] is null ? StringValue.Of("...") : StringMethods.Text(given[2]!);
        BigInteger length = given[0] is null ? 255 : StringMethods.Integer(given[0]!);
        BigInteger leeway = given[3] is null or NoneValue ? 5 : StringMethods.Integer(given[3]!);
        if (length < end.Length || leeway.Sign < 0)
        {
            throw new TemplateException(TemplateErrorKind.Value, "expected a length of at least that of the end, and a leeway of 0 or more");
        }

        if (s.Length <= length + leeway)
        {
            return s;
        }

        StringValue kept = s.Slice(0, s.UnitPosition((int)length - end.Length));
        if (!(given[1]?.IsTrue ?? false))
        {
            int space = kept.Text.LastIndexOf(' ');
            kept = space < 0 ? kept : kept.Slice(0, space);
        }

        return Arithmetic.Concat(run, kept, end);
    }

    private static StringValue WordWrap(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("wordwrap", 0, "width", "break_long_words", "wrapstring", "break_on_hyphens");
        StringValue s = Printing.Str(run, value);
        BigInteger width = given[0] is null ? 79 : StringMethods.Integer(given[0]!);
        if (width.Sign <= 0)
        {
            throw new TemplateException(TemplateErrorKind.Value, $"invalid width {Printing.Str(run, given[0]!).Text} (must be > 0)");
        }

        StringValue wrap = given[2] is null or NoneValue ? StringValue.Of("\n") : StringMethods.Text(given[2]!);
        bool breaksLong = given[1]?.IsTrue ?? true;
        bool breaksHyphens = given[3]?.IsTrue ?? true;
        var result = new TextBuilder(run);
        bool any = false;
        foreach (TemplateValue line in StringMethods.Lines(run, s, keepEnds: false))
        {
            List<StringValue> pieces = Wrap(run, (StringValue)line, (int)BigInteger.Min(width, int.MaxValue), breaksLong, breaksHyphens);
            if (pieces.Count == 0)
            {
                pieces.Add(StringValue.Empty);
            }

            foreach (StringValue piece in pieces)
            {
                if (any)
                {
                    result.Append(wrap);
                }

                any = true;
                result.Append(piece);
            }
        }

        return result.ToValue();
    }

    /// <summary>Lines of at most a width, broken between words; space where a line breaks is dropped.</summary>
    private static List<StringValue> Wrap(Run run, StringValue line, int width, bool breaksLong, bool breaksHyphens)
    {
        string text = line.Text;
        var lines = new List<StringValue>();
        int lineStart = 0;
        int lineEnd = 0;
        int at = 0;
        int chunk = 0;
        void Finish()
        {
            int end = lineStart + PythonCharacters.TrimEnd(text.AsSpan(lineStart, lineEnd - lineStart)).Length;
            if (end > lineStart)
            {
                run.PayItems(4);
                lines.Add(line.Slice(lineStart, end - lineStart));
            }
        }

        while (at < text.Length)
        {
            run.Step();
            bool space = PythonCharacters.IsSpace(text[at]);
            bool isCut = chunk > at;
            chunk = Math.Max(chunk, at);
            while (!isCut && chunk < text.Length && PythonCharacters.IsSpace(text[chunk]) == space)
            {
                chunk++;
                if (breaksHyphens && !space && text[chunk - 1] == '-' && chunk - at > 1 && char.IsLetter(text[chunk - 2])
                    && chunk + 1 < text.Length && char.IsLetter(text[chunk]) && char.IsLetter(text[chunk + 1]))
                {
                    break;
                }
            }

            if (space && lineEnd == lineStart && lines.Count > 0)
            {
                lineStart = lineEnd = at = chunk;
                continue;
            }

            if (chunk - lineStart <= width)
            {
                lineEnd = at = chunk;
                continue;
            }

            bool isLong = chunk - at > width;
            if (isLong && breaksLong && (!space || lineEnd == lineStart) && width - (lineEnd - lineStart) > 0)
            {
                lineEnd = at = lineStart + width;
            }
            else if (lineEnd == lineStart)
            {
                lineEnd = at = chunk;
            }

            Finish();
            lineStart = lineEnd = at;
        }

        Finish();
        return lines;
    }

    private static int CountWords(Run run, string text)
    {
        run.Step(text.Length >> 2);
        int words = 0;
        bool inWord = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool isWord = rune.Value == '_' || Rune.IsLetterOrDigit(rune) || Rune.IsNumber(rune);
            words += isWord && !inWord ? 1 : 0;
            inWord = isWord;
        }

        return words;
    }

    private static StringValue StripTags(Run run, TemplateValue value, Arguments arguments)
    {
        arguments.Bind("striptags", 0);
        StringValue s = Printing.Str(run, value);
        run.PayText(s.Text.Length * 3L);
        run.Step(s.Text.Length);
        var kept = new StringBuilder();
        for (int at = 0; at < s.Text.Length;)
        {
            int open = s.Text.IndexOf('<', at);
            bool comment = open >= 0 && string.CompareOrdinal(s.Text, open, "<!--", 0, 4) == 0;
            int close = open < 0 ? -1 : comment ? s.Text.IndexOf("-->", open, StringComparison.Ordinal) : s.Text.IndexOf('>', open);
            if (close < 0)
            {
                kept.Append(s.Text, at, s.Text.Length - at);
                break;
            }

            kept.Append(s.Text, at, open - at);
            at = close + (comment ? 3 : 1);
        }

        string[] words = kept.ToString().Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        return s.AsPlain().Derive(System.Net.WebUtility.HtmlDecode(string.Join(' ', words)));
    }

    private static StringValue UrlEncode(Run run, TemplateValue value, Arguments arguments)
    {
        arguments.Bind("urlencode", 0);
        var text = new TextBuilder(run);
        if (value is StringValue or UndefinedValue || value is not (DictValue or SequenceValue))
        {
            Quote(text, Printing.Str(run, value), inQuery: false);
            return text.ToValue();
        }

        IReadOnlyList<TemplateValue> pairs = value is DictValue dict ? new DictViewValue(dict, DictPart.Items).Items : ((SequenceValue)value).Items;
        bool any = false;
        foreach (TemplateValue item in pairs)
        {
            if (Lookup.Iterate(run, item) is not [{ } key, { } content])
            {
                throw new TemplateException(TemplateErrorKind.Value, "urlencode needs pairs");
            }

            text.Append(any ? "&" : "");
            any = true;
            Quote(text, Printing.Str(run, key), inQuery: true);
            text.Append("=");
            Quote(text, Printing.Str(run, content), inQuery: true);
        }

        return text.ToValue();
    }

    private static void Quote(TextBuilder text, StringValue value, bool inQuery)
    {
        Span<byte> bytes = stackalloc byte[4];
        int at = 0;
        foreach (Rune rune in value.Text.EnumerateRunes())
        {
            bool isInput = value.Origin.IsInputAt(at);
            at += rune.Utf16SequenceLength;
            if (rune.IsAscii && (char.IsAsciiLetterOrDigit((char)rune.Value) || (char)rune.Value is '_' or '.' or '-' or '~' || (rune.Value == '/' && !inQuery)))
            {
                text.Append([(char)rune.Value], isInput);
            }
            else if (rune.Value == ' ' && inQuery)
            {
                text.Append("+", isInput);
            }
            else
            {
                foreach (byte b in bytes[..rune.EncodeToUtf8(bytes)])
                {
                    text.Append("%" + b.ToString("X2", CultureInfo.InvariantCulture), isInput);
                }
            }
        }
    }
}
