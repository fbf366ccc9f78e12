using System.Collections.Frozen;
using System.Numerics;

namespace Antiphon.Text;

/// <summary>The filters, by name. Those of texts are in <see cref="TextFilters"/>, those of lists in <see cref="ListFilters"/>.</summary>
internal static class Filters
{
    private static readonly FrozenDictionary<string, Filter> All =
        Own().Concat(TextFilters.All).Concat(ListFilters.All).ToFrozenDictionary(pair => pair.Key, pair => pair.Value);

    public static Filter? Find(string name) => All.GetValueOrDefault(name);

    private static Dictionary<string, Filter> Own() => new()
    {
        ["default"] = Default,
        ["d"] = Default,
        ["tojson"] = JsonWriting.Filter,
        ["string"] = static (run, value, a) =>
        {
            a.Bind("string", 0);
            return Printing.Str(run, value);
        },
        ["int"] = Int,
        ["float"] = Float,
        ["abs"] = static (run, value, a) => value switch
        {
            FloatValue f => new FloatValue(Math.Abs(f.Value)),
            UndefinedValue undefined => throw undefined.Error(),
            _ when ValueComparer.AsInteger(value) is { } i => IntegerValue.Of(BigInteger.Abs(i)),
            _ => throw Error($"bad operand type for abs(): '{value.TypeName}'"),
        },
        ["round"] = Round,
        ["attr"] = static (run, value, a) =>
        {
            string name = StringMethods.Text(a.Bind("attr", 1, "name")[0]!).Text;
            return value is UndefinedValue undefined ? throw undefined.Error()
                : Lookup.OwnAttribute(value, name) ?? UndefinedValue.Attribute(value, name);
        },
        ["items"] = static (run, value, a) =>
        {
            a.Bind("items", 0);
            return value switch
            {
                UndefinedValue => new GeneratorValue([]),
                DictValue dict => new GeneratorValue(Lookup.Iterate(run, new DictViewValue(dict, DictPart.Items))),
                _ => throw Error("Can only get item pairs from a mapping."),
            };
        },
        ["length"] = Length,
        ["count"] = Length,
        ["filesizeformat"] = FileSize,
    };

    public static int LengthOf(TemplateValue value) => value switch
    {
        UndefinedValue => 0,
        StringValue s => s.Length,
        SequenceValue sequence => sequence.Items.Count,
        DictValue dict => dict.Count,
        DictViewValue view => view.Items.Count,
        RangeValue range => range.Count,
        LoopValue loop => loop.Length,
        _ => throw Error($"object of type '{value.TypeName}' has no len()"),
    };

    private static IntegerValue Length(Run run, TemplateValue value, Arguments arguments)
    {
        arguments.Bind("length", 0);
        return IntegerValue.Of(LengthOf(value));
    }

    private static TemplateValue Default(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("default", 0, "default_value", "boolean");
        bool replaces = value is UndefinedValue || ((given[1]?.IsTrue ?? false) && !value.IsTrue);
        return replaces ? given[0] ?? StringValue.Empty : value;
    }

    private static TemplateValue Int(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("int", 0, "default", "base");
        TemplateValue otherwise = given[0] ?? IntegerValue.Of(0);
        switch (value)
        {
            case UndefinedValue undefined:
                throw undefined.Error();
            case StringValue s:
                BigInteger numberBase = given[1] is null ? 10 : StringMethods.Integer(given[1]!);
                run.Step(s.Text.Length);
                if (numberBase.IsZero || (numberBase >= 2 && numberBase <= 36))
                {
                    if (Numbers.ParseInteger(s.Text, (int)numberBase) is { } parsed)
                    {
                        return IntegerValue.Of(parsed);
                    }
                }

                return Numbers.ParseFloat(s.Text) is { } number && double.IsFinite(number) ? IntegerValue.Of(new BigInteger(number)) : otherwise;
            case FloatValue f:
                return double.IsFinite(f.Value) ? IntegerValue.Of(new BigInteger(f.Value)) : otherwise;
            default:
                return ValueComparer.AsInteger(value) is { } i ? IntegerValue.Of(i) : otherwise;
        }
    }

    private static TemplateValue Float(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue otherwise = arguments.Bind("float", 0, "default")[0] ?? new FloatValue(0);
        return value switch
        {
            UndefinedValue undefined => throw undefined.Error(),
            StringValue s => Numbers.ParseFloat(s.Text) is { } f ? new FloatValue(f) : otherwise,
            FloatValue => value,
            _ when ValueComparer.AsInteger(value) is { } i => double.IsFinite((double)i) ? new FloatValue((double)i) : otherwise,
            _ => otherwise,
        };
    }

    private static TemplateValue Round(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("round", 0, "precision", "method");
        BigInteger precision = given[0] is null ? 0 : StringMethods.Integer(given[0]!);
        int digits = (int)BigInteger.Max(-10_000, BigInteger.Min(10_000, precision));
        string method = given[1] is null ? "common" : StringMethods.Text(given[1]!).Text;
        if (method is not ("common" or "ceil" or "floor"))
        {
            throw new TemplateException(TemplateErrorKind.Value, "method must be common, ceil or floor");
        }

        if (value is not FloatValue && ValueComparer.AsInteger(value) is not { })
        {
            throw Error($"type {value.TypeName} doesn't define __round__ method");
        }

        run.Step(50);
        if (method == "common")
        {
            return value is FloatValue f
                ? new FloatValue(Numbers.Round(f.Value, digits))
                : IntegerValue.Of(Numbers.RoundInteger(ValueComparer.AsInteger(value)!.Value, digits));
        }

        double scale = Math.Pow(10, digits);
        double scaled = Arithmetic.ToFloat(value) * scale;
        return new FloatValue((method == "ceil" ? Math.Ceiling(scaled) : Math.Floor(scaled)) / scale);
    }

    private static StringValue FileSize(Run run, TemplateValue value, Arguments arguments)
    {
        bool binary = arguments.Bind("filesizeformat", 0, "binary")[0]?.IsTrue ?? false;
        double bytes = ((FloatValue)Float(run, value, Arguments.None)).Value;
        double unit = binary ? 1024 : 1000;
        if (bytes == 1)
        {
            return StringValue.Of("1 Byte");
        }

        if (bytes < unit)
        {
            return StringValue.Of($"{new BigInteger(bytes)} Bytes");
        }

        string[] names = binary
            ? ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
            : ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
        int at = 0;
        double size = bytes / unit;
        for (; size >= unit && at < names.Length - 1; at++)
        {
            size /= unit;
        }

        return StringValue.Of($"{Numbers.Fixed(size, 1)} {names[at]}");
    }

    private static TemplateException Error(string message) => new(TemplateErrorKind.Type, message);
}
