using System.Numerics;

namespace Antiphon.Text;

/// <summary>The operators, as Python defines them.</summary>
internal static class Arithmetic
{
    public static TemplateValue Apply(Run run, string op, TemplateValue a, TemplateValue b)
    {
        if (a is UndefinedValue ua)
        {
            throw ua.Error();
        }

        if (a is StringValue format && op == "%")
        {
            return PercentFormat.Format(run, format, b);
        }

        if (b is UndefinedValue ub)
        {
            throw ub.Error();
        }

        if (ValueComparer.IsNumber(a) && ValueComparer.IsNumber(b))
        {
            return a is FloatValue || b is FloatValue ? OnFloats(op, ToFloat(a), ToFloat(b)) : OnIntegers(run, op, a, b);
        }

        switch (op)
        {
            case "+":
                switch (a, b)
                {
                    case (StringValue x, StringValue y):
                        return Concat(run, x, y);
                    case (ListValue x, ListValue y):
                        return new ListValue(Joined(run, x, y));
                    case (TupleValue x, TupleValue y):
                        return new TupleValue(Joined(run, x, y));
                    case (StringValue or SequenceValue, _):
                        throw Error($"can only concatenate {a.TypeName} (not \"{b.TypeName}\") to {a.TypeName}");
                }

                break;
            case "*":
                if (ValueComparer.AsInteger(b) is { } times && a is StringValue or SequenceValue)
                {
                    return Repeat(run, a, times);
                }

                if (ValueComparer.AsInteger(a) is { } timesFirst && b is StringValue or SequenceValue)
                {
                    return Repeat(run, b, timesFirst);
                }

                break;
        }

        throw Error($"unsupported operand type(s) for {op}: '{a.TypeName}' and '{b.TypeName}'");
    }

    public static TemplateValue Sign(Run run, TemplateValue value, bool negative)
    {
        run.Step();
        return value switch
        {
            UndefinedValue undefined => throw undefined.Error(),
            FloatValue f => negative ? new FloatValue(-f.Value) : f,
            _ when ValueComparer.AsInteger(value) is { } i => IntegerValue.Of(negative ? -i : i),
            _ => throw Error($"bad operand type for unary {(negative ? '-' : '+')}: '{value.TypeName}'"),
        };
    }

    public static StringValue Concat(Run run, StringValue a, StringValue b)
    {
        bool markup = a.IsMarkup || b.IsMarkup;
        var text = new TextBuilder(run);
        text.Append(markup ? Markup.Escape(run, a) : a);
        text.Append(markup ? Markup.Escape(run, b) : b);
        return text.ToValue(markup);
    }

    public static double ToFloat(TemplateValue value) => value is FloatValue f ? f.Value : Numbers.ToDouble(ValueComparer.AsInteger(value)!.Value);

    private static TemplateValue[] Joined(Run run, SequenceValue a, SequenceValue b)
    {
        run.PayItems(a.Items.Count + (long)b.Items.Count);
        return [.. a.Items, .. b.Items];
    }

    private static TemplateValue Repeat(Run run, TemplateValue value, BigInteger times)
    {
        int unit = value is StringValue text ? text.Text.Length : ((SequenceValue)value).Items.Count;
        if (times.Sign <= 0 || unit == 0)
        {
            return value is StringValue ? StringValue.Empty : value is ListValue ? ListValue.Empty : new TupleValue([]);
        }

        if (times * unit > run.MaxOutputLength)
        {
            throw Run.Limit($"a repetition is longer than {run.MaxOutputLength}");
        }

        int count = (int)times;
        if (value is StringValue s)
        {
            run.PayText((long)count * unit);
            if (s.Origin.IsUniform)
            {
                var all = new System.Text.StringBuilder(count * unit);
                return new StringValue(all.Insert(0, s.Text, count).ToString(), s.Origin, s.IsMarkup);
            }

            var builder = new TextBuilder(run);
            for (int i = 0; i < count; i++)
            {
                builder.Append(s);
            }

            return builder.ToValue(s.IsMarkup);
        }

        run.PayItems((long)count * unit);
        IReadOnlyList<TemplateValue> items = ((SequenceValue)value).Items;
        var repeated = new TemplateValue[count * unit];
        for (int i = 0; i < repeated.Length; i++)
        {
            repeated[i] = items[i % unit];
        }

        return value is ListValue ? new ListValue(repeated) : new TupleValue(repeated);
    }

    private static TemplateValue OnIntegers(Run run, string op, TemplateValue a, TemplateValue b)
    {
        BigInteger x = ValueComparer.AsInteger(a)!.Value;
        BigInteger y = ValueComparer.AsInteger(b)!.Value;
        long bits = x.GetBitLength() + y.GetBitLength();
        if (bits > 128)
        {
            run.Step(op is "+" or "-" ? bits >> 9 : (bits >> 8) * (bits >> 8));
            run.PayText(bits >> 4);
        }

        switch (op)
        {
            case "+":
                return IntegerValue.Of(x + y);
            case "-":
                return IntegerValue.Of(x - y);
            case "*":
                return bits <= Numbers.MaxBits ? IntegerValue.Of(x * y) : throw TooLarge();
            case "/":
                return y.IsZero ? throw ByZero("division by zero") : new FloatValue(Divide(x, y));
            case "//" or "%":
                if (y.IsZero)
                {
                    throw ByZero("integer modulo by zero");
                }

                BigInteger quotient = BigInteger.DivRem(x, y, out BigInteger rest);
                if (!rest.IsZero && (rest.Sign < 0) != (y.Sign < 0))
                {
                    quotient -= 1;
                    rest += y;
                }

                return IntegerValue.Of(op == "%" ? rest : quotient);
            default:
                if (y.Sign < 0)
                {
                    return OnFloats("**", Numbers.ToDouble(x), Numbers.ToDouble(y));
                }

                if (!x.IsZero && !BigInteger.Abs(x).IsOne && (x.GetBitLength() - 1) * y > Numbers.MaxPowerBits)
                {
                    throw TooLarge();
                }

                BigInteger power = BigInteger.Abs(x) <= 1
                    ? (y.IsZero ? BigInteger.One : x.Sign < 0 && y.IsEven ? BigInteger.One : x)
                    : BigInteger.Pow(x, (int)y);
                return IntegerValue.Of(power);
        }
    }

    /// <summary>The quotient, also of integers that are too large for a float.</summary>
    private static double Divide(BigInteger x, BigInteger y)
    {
        if (x.GetBitLength() <= 53 && y.GetBitLength() <= 53)
        {
            return (double)x / (double)y;
        }

        // Scaled so that the quotient has 64 bits or more, whose rounding to a float is then right; a rest makes the last bit odd.
        int shift = (int)Math.Max(0, 66 - (x.GetBitLength() - y.GetBitLength()));
        BigInteger quotient = BigInteger.DivRem(BigInteger.Abs(x) << shift, BigInteger.Abs(y), out BigInteger rest);
        if (!rest.IsZero)
        {
            quotient |= 1;
        }

        double result = Math.ScaleB((double)quotient, -shift);
        if (double.IsInfinity(result))
        {
            throw new TemplateException(TemplateErrorKind.Value, "integer division result too large for a float");
        }

        return x.Sign * y.Sign < 0 ? -result : result;
    }

    private static FloatValue OnFloats(string op, double x, double y)
    {
        switch (op)
        {
            case "+":
                return new(x + y);
            case "-":
                return new(x - y);
            case "*":
                return new(x * y);
            case "/":
                return y == 0 ? throw ByZero("float division by zero") : new(x / y);
            case "%":
                return y == 0 ? throw ByZero("float modulo by zero") : new(Modulo(x, y));
            case "//":
                if (y == 0)
                {
                    throw ByZero("float floor division by zero");
                }

                double rest = Modulo(x, y);
                double quotient = (x - rest) / y;
                return new(quotient == 0 ? Math.CopySign(0, x / y) : Math.Round(quotient));
            default:
                if (x == 0 && y < 0)
                {
                    throw ByZero("0.0 cannot be raised to a negative power");
                }

                if (x < 0 && double.IsFinite(x) && double.IsFinite(y) && y != Math.Floor(y))
                {
                    throw new TemplateException(TemplateErrorKind.Value, "the power is a complex number");
                }

                double power = Math.Pow(x, y);
                return double.IsInfinity(power) && double.IsFinite(x) && double.IsFinite(y) ? throw TooLarge() : new(power);
        }
    }

    private static double Modulo(double x, double y)
    {
        double rest = x % y;
        return rest == 0 ? Math.CopySign(0, y) : (rest < 0) != (y < 0) ? rest + y : rest;
    }

    private static TemplateException Error(string message) => new(TemplateErrorKind.Type, message);

    private static TemplateException ByZero(string message) => new(TemplateErrorKind.Value, message);

    private static TemplateException TooLarge() => Run.Limit("the result is too large a number");
}
