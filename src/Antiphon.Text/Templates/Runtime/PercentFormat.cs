using System.Numerics;

namespace Antiphon.Text;

/// <summary><c>'%s and %5.1f' % values</c>.</summary>
internal static class PercentFormat
{
    public static StringValue Format(Run run, StringValue format, TemplateValue values)
    {
        IReadOnlyList<TemplateValue> items = values is TupleValue tuple ? tuple.Items : [values];
        var text = new TextBuilder(run);
        string source = format.Text;
        int used = 0;
        bool usedMapping = false;
        int at = 0;
        int literal = 0;
        char Next() => at < source.Length ? source[at++] : throw Error(TemplateErrorKind.Value, "incomplete format");
        TemplateValue Take() => used < items.Count ? items[used++] : throw Error(TemplateErrorKind.Type, "not enough arguments for format string");
        while ((at = source.IndexOf('%', at)) >= 0)
        {
            text.Append(format, literal, at - literal);
            at++;
            char c = Next();
            TemplateValue? named = null;
            if (c == '(')
            {
                int close = source.IndexOf(')', at);
                if (close < 0)
                {
                    throw Error(TemplateErrorKind.Value, "incomplete format key");
                }

                string key = source[at..close];
                if (values is not DictValue dict)
                {
                    throw Error(TemplateErrorKind.Type, "format requires a mapping");
                }

                named = dict.Get(key) ?? throw Error(TemplateErrorKind.Value, $"the format's key '{key}' is missing");
                usedMapping = true;
                at = close + 1;
                c = Next();
            }

            bool left = false;
            bool zeros = false;
            var layout = new FieldLayout();
            for (; c is '-' or '0' or '+' or ' ' or '#'; c = Next())
            {
                left |= c == '-';
                zeros |= c == '0';
                layout = c switch
                {
                    '+' => layout with { Sign = '+' },
                    ' ' when layout.Sign == '-' => layout with { Sign = ' ' },
                    '#' => layout with { Alternate = true },
                    _ => layout,
                };
            }

            long? Number()
            {
                if (c == '*')
                {
                    BigInteger given = StringMethods.Integer(Take());
                    c = Next();
                    return (long)BigInteger.Max(int.MinValue, BigInteger.Min(int.MaxValue, given));
                }

                long? number = null;
                for (; char.IsAsciiDigit(c); c = Next())
                {
                    number = Math.Min(int.MaxValue, ((number ?? 0) * 10) + (c - '0'));
                }

                return number;
            }

            long width = Number() ?? 0;
            left |= width < 0;
            int? precision = null;
            if (c == '.')
            {
                c = Next();
                precision = (int)Math.Max(0, Number() ?? 0);
            }

            while (c is 'h' or 'l' or 'L')
            {
                c = Next();
            }

            literal = at;
            layout = layout with { Width = Math.Abs(width), Precision = precision };
            if (c == '%')
            {
                text.Append("%");
                continue;
            }

            Write(run, text, format, layout, c, left, zeros, named ?? Take());
        }

        text.Append(format, literal, source.Length - literal);
        return used < items.Count && !usedMapping && values is not DictValue
            ? throw Error(TemplateErrorKind.Type, "not all arguments converted during string formatting")
            : text.ToValue(format.IsMarkup);
    }

    private static void Write(Run run, TextBuilder text, StringValue format, FieldLayout layout, char type, bool left, bool zeros, TemplateValue value)
    {
        layout = layout with { Align = left ? '<' : '>' };
        switch (type)
        {
            case 's' or 'r' or 'a':
                StringValue shown = type == 's' ? Printing.Str(run, value) : Represented(run, value);
                (layout with { Sign = '-' }).Write(run, text, Markup.Operand(run, format, shown));
                return;
            case 'c' when value is StringValue character:
                layout.Write(run, text, character.Length == 1 ? character : throw Error(TemplateErrorKind.Type, "%c requires int or char"));
                return;
            case 'd' or 'i' or 'u':
                BigInteger whole = value is FloatValue { Value: var f } && double.IsFinite(f)
                    ? new BigInteger(f)
                    : Real(value, type) is { } real && ValueComparer.AsInteger(real) is { } i ? i
                    : throw Error(TemplateErrorKind.Value, "the number is not finite");
                (value, type) = (IntegerValue.Of(whole), 'd');
                break;
            case 'x' or 'X' or 'o' or 'c':
                value = IntegerValue.Of(StringMethods.Integer(value));
                break;
            case 'e' or 'E' or 'f' or 'F' or 'g' or 'G':
                Real(value, type);
                break;
            default:
                throw Error(TemplateErrorKind.Value, $"unsupported format character '{type}'");
        }

        if (zeros && !left)
        {
            layout = layout with { Align = '=', Fill = StringValue.Of("0") };
        }

        (layout with { Type = type }).Write(run, text, value);
    }

    private static TemplateValue Real(TemplateValue value, char type) => value switch
    {
        UndefinedValue undefined => throw undefined.Error(),
        _ when ValueComparer.IsNumber(value) => value,
        _ => throw Error(TemplateErrorKind.Type, $"%{type} format: a real number is required, not {value.TypeName}"),
    };

    private static StringValue Represented(Run run, TemplateValue value)
    {
        var text = new TextBuilder(run);
        Printing.Repr(run, text, value);
        return text.ToValue();
    }

    private static TemplateException Error(TemplateErrorKind kind, string message) => new(kind, message);
}
