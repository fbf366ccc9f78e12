using System.Numerics;

namespace Antiphon.Text;

/// <summary>Attributes, items, slices, and walking over a value.</summary>
internal static class Lookup
{
    /// <summary><c>owner.name</c>: a method or attribute of the value first, then an entry of that name.</summary>
    public static TemplateValue Attribute(Run run, TemplateValue owner, string name)
    {
        if (owner is UndefinedValue undefined)
        {
            throw undefined.Error();
        }

        if (name.StartsWith('_'))
        {
            bool isPythons = name.StartsWith("__", StringComparison.Ordinal) && name.EndsWith("__", StringComparison.Ordinal);
            return (isPythons ? null : (owner as DictValue)?.Get(name)) ?? UndefinedValue.Unsafe(owner, name);
        }

        return OwnAttribute(owner, name) ?? (owner as DictValue)?.Get(name) ?? UndefinedValue.Attribute(owner, name);
    }

    /// <summary>What the type of the value defines under a name, or null. What would change the value is there but cannot be used.</summary>
    public static TemplateValue? OwnAttribute(TemplateValue owner, string name)
    {
        if (name.StartsWith('_'))
        {
            return UndefinedValue.Unsafe(owner, name);
        }

        if (Methods.Find(owner, name) is { } method)
        {
            return new FunctionValue(name, (run, arguments) => method(run, owner, arguments), "builtin_function_or_method");
        }

        if (Methods.Changes(owner, name))
        {
            return UndefinedValue.Unsafe(owner, name);
        }

        return owner switch
        {
            NamespaceValue ns => ns.Get(name),
            LoopValue loop => loop.Attribute(name),
            GroupValue group => name switch { "grouper" => group.Grouper, "list" => group.Members, _ => null },
            CyclerValue cycler when name == "current" => cycler.Current,
            IntegerValue or BooleanValue => name switch
            {
                "real" or "numerator" => IntegerValue.Of(ValueComparer.AsInteger(owner)!.Value),
                "imag" => IntegerValue.Of(0),
                "denominator" => IntegerValue.Of(1),
                _ => null,
            },
            FloatValue => name switch { "real" => owner, "imag" => new FloatValue(0), _ => null },
            MacroValue macro => name switch { "name" => StringValue.Of(macro.Name), _ => null },
            FunctionValue { Name: "dict" } when name == "fromkeys" => Globals.DictFromKeys,
            _ => null,
        };
    }

    /// <summary><c>owner[key]</c>: an entry or element first, then, for a string, an attribute.</summary>
    public static TemplateValue Item(Run run, TemplateValue owner, TemplateValue key)
    {
        if (owner is UndefinedValue undefined)
        {
            throw undefined.Error();
        }

        if (owner is DictValue dict)
        {
            run.PayWalk(key);
            TemplateValue? found = key is StringValue s ? dict.Get(s.Text) : IsHashable(key) ? dict.Get(key) : null;
            if (found is not null)
            {
                return found;
            }
        }
        else if (ValueComparer.AsInteger(key) is { } index && Element(run, owner, index) is { } element)
        {
            return element;
        }

        if (key is StringValue name)
        {
            return OwnAttribute(owner, name.Text) ?? UndefinedValue.Attribute(owner, name.Text);
        }

        return new UndefinedValue($"{owner.TypeName} object has no element {(key is IntegerValue ? Printing.Str(run, key) : key.TypeName)}");
    }

    public static TemplateValue Slice(Run run, TemplateValue owner, TemplateValue? start, TemplateValue? stop, TemplateValue? step)
    {
        int length = owner switch
        {
            UndefinedValue undefined => throw undefined.Error(),
            StringValue s => s.Length,
            SequenceValue sequence => sequence.Items.Count,
            RangeValue range => range.Count,
            _ => throw new TemplateException(TemplateErrorKind.Type, $"'{owner.TypeName}' object is not subscriptable"),
        };
        (int first, int stride, int count) = Resolve(length, start, stop, step);
        switch (owner)
        {
            case StringValue s when stride == 1:
                int from = s.UnitPosition(first);
                int to = s.UnitPosition(first + count);
                run.PayText(to - from);
                run.Step(s.IsFlat ? 1 : s.Length >> 4);
                return s.Slice(from, to - from);
            case StringValue s:
                IReadOnlyList<TemplateValue> characters = Iterate(run, s);
                var text = new TextBuilder(run);
                for (int i = 0; i < count; i++)
                {
                    text.Append((StringValue)characters[first + (i * stride)]);
                }

                return text.ToValue(s.IsMarkup);
            case RangeValue range:
                BigInteger begin = range.Start + (range.Step * first);
                return new RangeValue(begin, begin + (range.Step * stride * count), range.Step * stride, count);
            default:
                run.PayItems(count);
                IReadOnlyList<TemplateValue> items = ((SequenceValue)owner).Items;
                var part = new TemplateValue[count];
                for (int i = 0; i < count; i++)
                {
                    part[i] = items[first + (i * stride)];
                }

                return owner is ListValue ? new ListValue(part) : new TupleValue(part);
        }
    }

    /// <summary>The items that walking over a value meets. An undefined value has none.</summary>
    public static IReadOnlyList<TemplateValue> Iterate(Run run, TemplateValue value)
    {
        switch (value)
        {
            case UndefinedValue:
                return [];
            case SequenceValue sequence:
                return sequence.Items;
            case RangeValue range:
                return range;
            case DictViewValue view:
                run.PayItems(view.Items.Count);
                return view.Items;
            case DictValue dict:
                run.PayItems(dict.Count);
                return [.. dict.Entries.Select(entry => entry.Key)];
            case GeneratorValue generator:
                return generator.TakeAll();
            case StringValue s:
                run.PayItems(s.Length * 5L);
                var characters = new TemplateValue[s.Length];
                for (int i = 0, at = 0; i < characters.Length; i++)
                {
                    int units = s.UnitsAt(at);
                    characters[i] = s.Character(at, units);
                    at += units;
                }

                return characters;
            default:
                throw new TemplateException(TemplateErrorKind.Type, $"'{value.TypeName}' object is not iterable");
        }
    }

    private static TemplateValue? Element(Run run, TemplateValue owner, BigInteger index)
    {
        int length = owner switch
        {
            StringValue s => s.Length,
            SequenceValue sequence => sequence.Items.Count,
            RangeValue range => range.Count,
            _ => 0,
        };
        if (index < -length || index >= length)
        {
            return null;
        }

        int at = (int)index + (index.Sign < 0 ? length : 0);
        switch (owner)
        {
            case StringValue s:
                run.Step(s.IsFlat ? 1 : s.Length >> 4);
                int unit = s.UnitPosition(at);
                return s.Character(unit, s.UnitsAt(unit));
            case SequenceValue sequence:
                return sequence.Items[at];
            default:
                return ((RangeValue)owner)[at];
        }
    }

    /// <summary>Python's rules for the three parts of a slice.</summary>
    private static (int First, int Stride, int Count) Resolve(int length, TemplateValue? start, TemplateValue? stop, TemplateValue? step)
    {
        BigInteger stride = Bound(step) ?? 1;
        if (stride.IsZero)
        {
            throw new TemplateException(TemplateErrorKind.Value, "slice step cannot be zero");
        }

        bool back = stride.Sign < 0;
        int low = back ? -1 : 0;
        int high = back ? length - 1 : length;
        int Clamp(BigInteger? given, int otherwise)
        {
            if (given is not { } value)
            {
                return otherwise;
            }

            value += value.Sign < 0 ? length : 0;
            return (int)BigInteger.Max(low, BigInteger.Min(high, value));
        }

        int first = Clamp(Bound(start), back ? high : low);
        int last = Clamp(Bound(stop), back ? low : high);
        int pace = (int)BigInteger.Max(-length - 1, BigInteger.Min(length + 1, stride));
        int distance = back ? first - last : last - first;
        return (first, pace, distance <= 0 ? 0 : ((distance - 1) / Math.Abs(pace)) + 1);
    }

    private static BigInteger? Bound(TemplateValue? value) => value switch
    {
        null or NoneValue => null,
        UndefinedValue undefined => throw undefined.Error(),
        _ => ValueComparer.AsInteger(value) ?? throw new TemplateException(TemplateErrorKind.Type, "slice indices must be integers or None"),
    };

    private static bool IsHashable(TemplateValue value) => value switch
    {
        ListValue or DictValue => false,
        TupleValue tuple => tuple.Items.All(IsHashable),
        _ => true,
    };
}
