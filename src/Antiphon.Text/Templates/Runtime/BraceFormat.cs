using System.Numerics;

namespace Antiphon.Text;

/// <summary><c>'{} {name:&gt;5}'.format(…)</c>. Attributes and items inside a field go through the sandbox like any others.</summary>
internal sealed class BraceFormat
{
    private readonly Run _run;
    private readonly StringValue _format;
    private readonly Arguments _arguments;
    private int _nextField;
    private bool? _automatic;

    private BraceFormat(Run run, StringValue format, Arguments arguments) => (_run, _format, _arguments) = (run, format, arguments);

    public static StringValue Format(Run run, StringValue format, Arguments arguments)
    {
        var text = new TextBuilder(run);
        new BraceFormat(run, format, arguments).Write(text, 0, format.Text.Length, nested: false);
        return text.ToValue(format.IsMarkup);
    }

    private void Write(TextBuilder text, int from, int to, bool nested)
    {
        string source = _format.Text;
        int literal = from;
        for (int at = from; at < to; at++)
        {
            char c = source[at];
            if (c is not ('{' or '}'))
            {
                continue;
            }

            text.Append(_format, literal, at - literal);
            if (!nested && at + 1 < to && source[at + 1] == c)
            {
                text.Append(_format, at, 1);
                at++;
            }
            else if (c == '}')
            {
                throw Error("Single '}' encountered in format string");
            }
            else
            {
                int end = FieldEnd(at + 1, to);
                WriteField(text, at + 1, end, nested);
                at = end;
            }

            literal = at + 1;
        }

        text.Append(_format, literal, to - literal);
    }

    /// <summary>Where the brace that closes a field stands; one field may stand inside another's layout.</summary>
    private int FieldEnd(int from, int to)
    {
        int depth = 1;
        for (int at = from; at < to; at++)
        {
            char c = _format.Text[at];
            depth += c == '{' ? 1 : c == '}' ? -1 : 0;
            if (depth == 0)
            {
                return at;
            }
        }

        throw Error("expected '}' before end of string");
    }

    private void WriteField(TextBuilder text, int from, int to, bool nested)
    {
        _run.Step();
        string source = _format.Text;
        int nameEnd = from;
        bool inBrackets = false;
        while (nameEnd < to && (inBrackets || source[nameEnd] is not (':' or '!')))
        {
            inBrackets = source[nameEnd] == '[' || (inBrackets && source[nameEnd] != ']');
            nameEnd++;
        }

        TemplateValue value = Value(source[from..nameEnd]);
        int at = nameEnd;
        if (at < to && source[at] == '!')
        {
            char conversion = at + 1 < to ? source[at + 1] : ' ';
            var converted = new TextBuilder(_run);
            switch (conversion)
            {
                case 's':
                    value = Printing.Str(_run, value);
                    break;
                case 'r' or 'a':
                    Printing.Repr(_run, converted, value);
                    value = converted.ToValue();
                    break;
                default:
                    throw Error("unknown conversion after '!'");
            }

            at += 2;
        }

        if (at < to && source[at] != ':')
        {
            throw Error("expected ':' after conversion specifier");
        }

        var layout = StringValue.Empty;
        if (at < to)
        {
            if (nested)
            {
                throw Error("Max string recursion exceeded");
            }

            var spec = new TextBuilder(_run);
            Write(spec, at + 1, to, nested: true);
            layout = spec.ToValue();
        }

        if (layout.Text.Length == 0)
        {
            text.Append(Markup.Operand(_run, _format, Printing.Str(_run, value)));
            return;
        }

        if (value is not StringValue && !ValueComparer.IsNumber(value))
        {
            throw value is UndefinedValue undefined
                ? undefined.Error()
                : new TemplateException(TemplateErrorKind.Type, $"unsupported format string passed to {value.TypeName}.__format__");
        }

        value = value is StringValue s ? Markup.Operand(_run, _format, s) : value;
        FieldLayout field = Layout(layout);
        if (value is BooleanValue && field.Type is '\0')
        {
            value = Printing.Str(_run, value);
        }

        if (value is StringValue ? field.Type is not ('\0' or 's') : field.Type == 's')
        {
            throw Error($"Unknown format code '{field.Type}' for object of type '{value.TypeName}'");
        }

        field.Write(_run, text, value);
    }

    private TemplateValue Value(string name)
    {
        int at = name.AsSpan().IndexOfAny('.', '[');
        string first = at < 0 ? name : name[..at];
        TemplateValue value;
        bool isNumber = first.Length > 0 && first.Length < 10 && first.All(char.IsAsciiDigit);
        if (first.Length == 0 || isNumber)
        {
            if ((_automatic ??= first.Length == 0) != (first.Length == 0))
            {
                throw Error(first.Length == 0
                    ? "cannot switch from manual field specification to automatic field numbering"
                    : "cannot switch from automatic field numbering to manual field specification");
            }

            int index = isNumber ? int.Parse(first, System.Globalization.CultureInfo.InvariantCulture) : _nextField++;
            value = index < _arguments.Positional.Length ? _arguments.Positional[index] : throw Error("Replacement index out of range for positional args tuple");
        }
        else
        {
            value = Array.Find(_arguments.Named, n => n.Key == first).Value ?? throw Error($"the format's key '{first}' is missing");
        }

        while (at >= 0 && at < name.Length)
        {
            _run.Step();
            if (name[at] == '.')
            {
                int end = name.AsSpan(at + 1).IndexOfAny('.', '[');
                end = end < 0 ? name.Length : at + 1 + end;
                value = Lookup.Attribute(_run, value, name[(at + 1)..end]);
                at = end;
                continue;
            }

            int close = name.IndexOf(']', at);
            if (name[at] != '[' || close < 0)
            {
                throw Error("Missing ']' in format string");
            }

            string key = name[(at + 1)..close];
            value = Lookup.Item(_run, value, key.Length is > 0 and < 10 && key.All(char.IsAsciiDigit)
                ? IntegerValue.Of(int.Parse(key, System.Globalization.CultureInfo.InvariantCulture))
                : StringValue.Of(key));
            at = close + 1;
        }

        return value;
    }

    /// <summary>[[fill]align][sign][z][#][0][width][grouping][.precision][type].</summary>
    private static FieldLayout Layout(StringValue spec)
    {
        string s = spec.Text;
        int at = 0;
        static bool IsAlign(char c) => c is '<' or '>' or '^' or '=';
        var layout = new FieldLayout();
        int fill = spec.UnitsAt(0);
        if (fill < s.Length && IsAlign(s[fill]))
        {
            layout = layout with { Fill = spec.Slice(0, fill), Align = s[fill] };
            at = fill + 1;
        }
        else if (IsAlign(s[0]))
        {
            layout = layout with { Align = s[at++] };
        }

        if (at < s.Length && s[at] is '+' or '-' or ' ')
        {
            layout = layout with { Sign = s[at++] };
        }

        at += at < s.Length && s[at] == 'z' ? 1 : 0;
        if (at < s.Length && s[at] == '#')
        {
            layout = layout with { Alternate = true };
            at++;
        }

        if (at < s.Length && s[at] == '0' && layout.Align == ' ')
        {
            layout = layout with { Fill = StringValue.Of("0"), Align = '=' };
            at++;
        }

        long? Number()
        {
            long? number = null;
            for (; at < s.Length && char.IsAsciiDigit(s[at]); at++)
            {
                number = Math.Min(int.MaxValue, ((number ?? 0) * 10) + (s[at] - '0'));
            }

            return number;
        }

        layout = layout with { Width = Number() ?? 0 };
        if (at < s.Length && s[at] is ',' or '_')
        {
            layout = layout with { Grouping = s[at++] };
        }

        if (at < s.Length && s[at] == '.')
        {
            at++;
            layout = layout with { Precision = (int)(Number() ?? throw Error("Format specifier missing precision")) };
        }

        if (at < s.Length)
        {
            layout = layout with { Type = s[at++] };
        }

        return at == s.Length ? layout : throw Error("Invalid format specifier");
    }

    private static TemplateException Error(string message) => new(TemplateErrorKind.Value, message);
}
