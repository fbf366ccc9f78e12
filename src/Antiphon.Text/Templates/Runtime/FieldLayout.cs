using System.Numerics;

namespace Antiphon.Text;

/// <summary>How a value is laid out in a field: the part of <c>%5.1f</c> and <c>{:&gt;8,}</c> that both notations share.</summary>
internal sealed record FieldLayout
{
    /// <summary>The most digits after the point that are made: each takes work with large integers.</summary>
    public const int MaxDigits = 4300;

    public StringValue Fill { get; init; } = StringValue.Of(" ");

    /// <summary>&lt;, &gt;, ^ or = (between sign and digits); a space for the type's own.</summary>
    public char Align { get; init; } = ' ';

    /// <summary>Minus only, plus, or a space in its place.</summary>
    public char Sign { get; init; } = '-';

    /// <summary>Whether <c>0x</c> and the like stand in front.</summary>
    public bool Alternate { get; init; }

    public long Width { get; init; }

    /// <summary>A comma, an underscore, or none.</summary>
    public char Grouping { get; init; }

    public int? Precision { get; init; }

    public char Type { get; init; }

    public void Write(Run run, TextBuilder text, TemplateValue value)
    {
        if (value is StringValue s)
        {
            if (Align == '=' || Grouping != 0 || Sign != '-')
            {
                throw Error("'=' alignment, sign and grouping do not go with strings");
            }

            int length = Math.Min(Precision ?? s.Length, s.Length);
            StringValue shown = s.Slice(0, s.UnitPosition(length));
            Pad(text, shown, length, Align == ' ' ? '<' : Align);
            return;
        }

        (string sign, string digits) = Digits(run, value);
        StringValue number = StringValue.Of(sign + digits);
        char align = Align == ' ' ? '>' : Align;
        if (align == '=')
        {
            text.Append(sign);
            for (long left = Width - number.Length; left > 0; left--)
            {
                if (Fill.Text.Length == 1)
                {
                    text.AppendRepeated(Fill.Text[0], left, Fill.Origin.HasInput);
                    break;
                }

                text.Append(Fill);
            }

            text.Append(digits);
            return;
        }

        Pad(text, number, number.Length, align);
    }

    private void Pad(TextBuilder text, StringValue value, int length, char align)
    {
        long space = Math.Max(0, Width - length);
        long left = align switch { '<' => 0, '>' => space, _ => space / 2 };
        Repeat(text, left);
        text.Append(value);
        Repeat(text, space - left);
    }

    private void Repeat(TextBuilder text, long count)
    {
        if (Fill.Text.Length == 1)
        {
            text.AppendRepeated(Fill.Text[0], count, Fill.Origin.HasInput);
            return;
        }

        for (; count > 0; count--)
        {
            text.Append(Fill);
        }
    }

    private (string Sign, string Digits) Digits(Run run, TemplateValue value)
    {
        if (Precision > MaxDigits)
        {
            throw Run.Limit($"a number is written with more than {MaxDigits} digits");
        }

        run.Step(1 + ((Precision ?? 0) >> 2));
        char type = Type;
        if (value is not FloatValue && type is '\0' or 'd' or 'n' or 'b' or 'o' or 'x' or 'X' or 'c')
        {
            BigInteger i = ValueComparer.AsInteger(value)!.Value;
            string prefix = Alternate ? type switch { 'x' => "0x", 'X' => "0X", 'o' => "0o", 'b' => "0b", _ => "" } : "";
            string digits = type switch
            {
                'x' => InBase(i, 4).ToLowerInvariant(),
                'X' => InBase(i, 4),
                'o' => InBase(i, 3),
                'b' => InBase(i, 1),
                'c' => i.Sign >= 0 && i < 0x110000 && (i < 0xd800 || i >= 0xe000)
                    ? char.ConvertFromUtf32((int)i)
                    : throw Error("the number is no character"),
                _ => Numbers.Text(BigInteger.Abs(i)).PadLeft(Precision ?? 0, '0'),
            };
            return (SignOf(i.Sign < 0) + prefix, Group(digits, type is 'x' or 'X' or 'o' or 'b' ? 4 : 3));
        }

        double number = value switch
        {
            FloatValue f => f.Value,
            _ when ValueComparer.AsInteger(value) is { } i => Numbers.ToDouble(i),
            _ => throw Error($"unsupported format for {value.TypeName}"),
        };
        bool negative = double.IsNegative(number) && !double.IsNaN(number);
        number = Math.Abs(number);
        string text = !double.IsFinite(number) ? (double.IsNaN(number) ? "nan" : "inf") : char.ToLowerInvariant(type) switch
        {
            'f' => Numbers.Fixed(number, Precision ?? 6),
            'e' => Numbers.Exponential(number, Precision ?? 6),
            'g' or 'n' => Numbers.General(number, Precision ?? 6),
            '%' => Numbers.Fixed(number * 100, Precision ?? 6) + "%",
            '\0' => Precision is { } p ? WithPoint(Numbers.General(number, p)) : Numbers.Text(number),
            _ => throw Error($"Unknown format code '{type}' for object of type '{value.TypeName}'"),
        };
        return (SignOf(negative), Group(char.IsUpper(type) ? text.ToUpperInvariant() : text, 3));
    }

    private static string WithPoint(string text) => text.AsSpan().ContainsAny('.', 'e') ? text : text + ".0";

    private string SignOf(bool negative) => negative ? "-" : Sign switch { '+' => "+", ' ' => " ", _ => "" };

    private static string InBase(BigInteger value, int bits)
    {
        value = BigInteger.Abs(value);
        if (value.IsZero)
        {
            return "0";
        }

        var digits = new char[(value.GetBitLength() + bits - 1) / bits];
        byte[] bytes = value.ToByteArray();
        for (int i = 0; i < digits.Length; i++)
        {
            int digit = 0;
            for (int bit = 0; bit < bits; bit++)
            {
                int at = (i * bits) + bit;
                digit |= (at >> 3 < bytes.Length && (bytes[at >> 3] >> (at & 7) & 1) != 0 ? 1 : 0) << bit;
            }

            digits[^(i + 1)] = "0123456789ABCDEF"[digit];
        }

        return new string(digits);
    }

    private string Group(string digits, int size)
    {
        if (Grouping == 0)
        {
            return digits;
        }

        int whole = 0;
        while (whole < digits.Length && char.IsAsciiLetterOrDigit(digits[whole]) && digits[whole] is not 'e')
        {
            whole++;
        }

        var grouped = new System.Text.StringBuilder();
        for (int i = 0; i < whole; i++)
        {
            if (i > 0 && (whole - i) % size == 0)
            {
                grouped.Append(Grouping);
            }

            grouped.Append(digits[i]);
        }

        return grouped.Append(digits, whole, digits.Length - whole).ToString();
    }

    private static TemplateException Error(string message) => new(TemplateErrorKind.Value, message);
}
