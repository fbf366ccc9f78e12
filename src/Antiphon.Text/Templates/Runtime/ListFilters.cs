using System.Numerics;

namespace Antiphon.Text;

/// <summary>Filters that work on the items of a value. Those that are lazy in Python are not here: an item's error comes also when nobody asks for the item.</summary>
internal static class ListFilters
{
    public static IReadOnlyDictionary<string, Filter> All { get; } = new Dictionary<string, Filter>
    {
        ["list"] = static (run, value, a) =>
        {
            a.Bind("list", 0);
            IReadOnlyList<TemplateValue> items = Lookup.Iterate(run, value);
            run.PayItems(items.Count * 3L);
            return new ListValue([.. items]);
        },
        ["first"] = static (run, value, a) =>
        {
            a.Bind("first", 0);
            TemplateValue? first = value is GeneratorValue generator ? generator.TakeFirst()
                : value is StringValue { Text.Length: > 0 } s ? s.Character(0, s.UnitsAt(0))
                : Lookup.Iterate(run, value) is { Count: > 0 } items ? items[0]
                : null;
            return first ?? new UndefinedValue("No first item, sequence was empty.");
        },
        ["last"] = static (run, value, a) =>
        {
            a.Bind("last", 0);
            return value is GeneratorValue ? throw Error("'generator' object is not reversible")
                : Lookup.Iterate(run, value) is { Count: > 0 } items ? items[^1]
                : new UndefinedValue("No last item, sequence was empty.");
        },
        ["join"] = Join,
        ["map"] = Map,
        ["select"] = static (run, value, a) => Choose(run, value, a, keeps: true, byAttribute: false),
        ["reject"] = static (run, value, a) => Choose(run, value, a, keeps: false, byAttribute: false),
        ["selectattr"] = static (run, value, a) => Choose(run, value, a, keeps: true, byAttribute: true),
        ["rejectattr"] = static (run, value, a) => Choose(run, value, a, keeps: false, byAttribute: true),
        ["sort"] = Sort,
        ["dictsort"] = DictSort,
        ["groupby"] = GroupBy,
        ["unique"] = Unique,
        ["reverse"] = Reverse,
        ["min"] = static (run, value, a) => Extreme(run, value, a, "min"),
        ["max"] = static (run, value, a) => Extreme(run, value, a, "max"),
        ["sum"] = static (run, value, a) =>
        {
            TemplateValue?[] given = a.Bind("sum", 0, "attribute", "start");
            TemplateValue sum = given[1] ?? IntegerValue.Of(0);
            foreach (TemplateValue item in Lookup.Iterate(run, value))
            {
                run.Step();
                sum = Arithmetic.Apply(run, "+", sum, given[0] is null or NoneValue ? item : Get(run, item, given[0]!, null));
            }

            return sum;
        },
        ["batch"] = Batch,
        ["slice"] = Slice,
    };

    /// <summary>An attribute by its path: names and numbers that dots part.</summary>
    private static TemplateValue Get(Run run, TemplateValue item, TemplateValue path, TemplateValue? otherwise)
    {
        if (path is not StringValue s)
        {
            return OrElse(Lookup.Item(run, item, path), otherwise);
        }

        foreach (string part in s.Text.Split('.'))
        {
            run.Step();
            TemplateValue key = part.Length is > 0 and < 10 && part.All(char.IsAsciiDigit)
                ? IntegerValue.Of(int.Parse(part, System.Globalization.CultureInfo.InvariantCulture))
                : StringValue.Of(part);
            item = OrElse(Lookup.Item(run, item, key), otherwise);
        }

        return item;
    }

    private static TemplateValue OrElse(TemplateValue value, TemplateValue? otherwise) =>
        value is UndefinedValue && otherwise is not null and not NoneValue ? otherwise : value;

    /// <summary>What items are compared by: an attribute if one is named; texts without regard to case unless asked.</summary>
    private static Func<TemplateValue, TemplateValue> Key(Run run, TemplateValue? attribute, bool caseSensitive, TemplateValue? otherwise = null)
    {
        TemplateValue Fold(TemplateValue value)
        {
            if (caseSensitive || value is not StringValue s)
            {
                return value;
            }

            run.PayText(s.Text.Length);
            return s.Derive(LetterCase.Lower(s.Text));
        }

        if (attribute is null or NoneValue)
        {
            return Fold;
        }

        return item => Fold(Get(run, item, attribute, otherwise));
    }

    private static StringValue Join(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("join", 0, "d", "attribute");
        StringValue separator = given[0] is null ? StringValue.Empty : Printing.Str(run, given[0]!);
        var text = new TextBuilder(run);
        bool any = false;
        foreach (TemplateValue item in Lookup.Iterate(run, value))
        {
            run.Step();
            if (any)
            {
                text.Append(separator);
            }

            any = true;
            text.Append(Printing.Str(run, given[1] is null or NoneValue ? item : Get(run, item, given[1]!, null)));
        }

        return text.ToValue();
    }

    private static GeneratorValue Map(Run run, TemplateValue value, Arguments arguments)
    {
        Func<TemplateValue, TemplateValue> map;
        if (arguments.Positional.Length == 0)
        {
            TemplateValue?[] given = arguments.Bind("map", 1, "attribute", "default");
            map = item => Get(run, item, given[0]!, given[1]);
        }
        else
        {
            string name = StringMethods.Text(arguments.Positional[0]).Text;
            Filter filter = Filters.Find(name) ?? throw Error($"No filter named '{name}'.");
            Arguments rest = arguments.Skip(1);
            map = item => filter(run, item, rest);
        }

        if (!value.IsTrue)
        {
            return new([]);
        }

        // A map may map its items with another map, and so on: that is a call like any other.
        run.EnterCall();
        IReadOnlyList<TemplateValue> items = Lookup.Iterate(run, value);
        run.PayItems(items.Count);
        var mapped = new TemplateValue[items.Count];
        for (int i = 0; i < mapped.Length; i++)
        {
            mapped[i] = map(items[i]);
        }

        run.LeaveCall();
        return new(mapped);
    }

    private static GeneratorValue Choose(Run run, TemplateValue value, Arguments arguments, bool keeps, bool byAttribute)
    {
        TemplateValue? attribute = null;
        if (byAttribute)
        {
            attribute = arguments.Positional.Length > 0 ? arguments.Positional[0] : throw Error("Missing parameter for attribute name");
            arguments = arguments.Skip(1);
        }

        Func<TemplateValue, bool> test = static item => item.IsTrue;
        if (arguments.Positional.Length > 0)
        {
            string name = StringMethods.Text(arguments.Positional[0]).Text;
            Test found = ValueTests.Find(name) ?? throw Error($"No test named '{name}'.");
            Arguments rest = arguments.Skip(1);
            test = item => found(run, item, rest);
        }

        // As in Jinja, what is false has no items to choose from, also when it could not be walked over.
        var chosen = new List<TemplateValue>();
        if (!value.IsTrue)
        {
            return new(chosen);
        }

        foreach (TemplateValue item in Lookup.Iterate(run, value))
        {
            run.Step();
            if (test(attribute is null ? item : Get(run, item, attribute, null)) == keeps)
            {
                chosen.Add(item);
            }
        }

        run.PayItems(chosen.Count);
        return new(chosen);
    }

    private static ListValue Sort(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("sort", 0, "reverse", "case_sensitive", "attribute");
        bool caseSensitive = given[1]?.IsTrue ?? false;
        Func<TemplateValue, TemplateValue> key;
        if (given[2] is StringValue paths && paths.Text.Contains(',', StringComparison.Ordinal))
        {
            Func<TemplateValue, TemplateValue>[] keys = [.. paths.Text.Split(',').Select(path => Key(run, StringValue.Of(path), caseSensitive))];
            key = item => new TupleValue([.. keys.Select(one => one(item))]);
        }
        else
        {
            key = Key(run, given[2], caseSensitive);
        }

        return new(Sorting.Sort(run, Lookup.Iterate(run, value), key, given[0]?.IsTrue ?? false));
    }

    private static ListValue DictSort(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("dictsort", 0, "case_sensitive", "by", "reverse");
        string by = given[1] is null ? "key" : StringMethods.Text(given[1]!).Text;
        if (by is not ("key" or "value"))
        {
            throw new TemplateException(TemplateErrorKind.Value, "You can only sort by either \"key\" or \"value\"");
        }

        DictValue dict = value as DictValue ?? throw (value is UndefinedValue undefined ? undefined.Error() : Error($"'{value.TypeName}' object has no attribute 'items'"));
        Func<TemplateValue, TemplateValue> key = Key(run, IntegerValue.Of(by == "key" ? 0 : 1), given[0]?.IsTrue ?? false);
        return new(Sorting.Sort(run, new DictViewValue(dict, DictPart.Items).Items, key, given[2]?.IsTrue ?? false));
    }

    private static ListValue GroupBy(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("groupby", 1, "attribute", "default", "case_sensitive");
        Func<TemplateValue, TemplateValue> key = Key(run, given[0], given[2]?.IsTrue ?? false, given[1]);
        List<TemplateValue> sorted = Sorting.Sort(run, Lookup.Iterate(run, value), key);
        var groups = new List<TemplateValue>();
        for (int from = 0; from < sorted.Count;)
        {
            TemplateValue name = key(sorted[from]);
            int to = from + 1;
            while (to < sorted.Count && Comparison.AreEqual(run, key(sorted[to]), name))
            {
                to++;
            }

            // The group is named by its first item as it is, not by the folded form that was compared.
            run.PayItems(to - from + 4);
            groups.Add(new GroupValue(Get(run, sorted[from], given[0]!, given[1]), new ListValue(sorted[from..to])));
            from = to;
        }

        return new(groups);
    }

    private static GeneratorValue Unique(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("unique", 0, "case_sensitive", "attribute");
        Func<TemplateValue, TemplateValue> key = Key(run, given[1], given[0]?.IsTrue ?? false);
        var seen = new HashSet<TemplateValue>(ValueComparer.Instance);
        var unique = new List<TemplateValue>();
        foreach (TemplateValue item in Lookup.Iterate(run, value))
        {
            run.PayItems(3);
            TemplateValue k = key(item);
            run.PayWalk(k);
            if (seen.Add(k))
            {
                unique.Add(item);
            }
        }

        return new(unique);
    }

    private static TemplateValue Reverse(Run run, TemplateValue value, Arguments arguments)
    {
        arguments.Bind("reverse", 0);
        if (value is StringValue s)
        {
            return Lookup.Slice(run, s, null, null, IntegerValue.Of(-1));
        }

        IReadOnlyList<TemplateValue> items = Lookup.Iterate(run, value);
        run.PayItems(items.Count * 3L);
        return new GeneratorValue([.. items.Reverse()]);
    }

    private static TemplateValue Extreme(Run run, TemplateValue value, Arguments arguments, string name)
    {
        TemplateValue?[] given = arguments.Bind(name, 0, "case_sensitive", "attribute");
        Func<TemplateValue, TemplateValue> key = Key(run, given[1], given[0]?.IsTrue ?? false);
        TemplateValue? best = null;
        TemplateValue? bestKey = null;
        foreach (TemplateValue item in Lookup.Iterate(run, value))
        {
            TemplateValue k = key(item);
            if (bestKey is null || (name == "min" ? Sorting.Less(run, k, bestKey) : Sorting.Less(run, bestKey, k)))
            {
                (best, bestKey) = (item, k);
            }
        }

        return best ?? new UndefinedValue("No aggregated item, sequence was empty.");
    }

    private static GeneratorValue Batch(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("batch", 1, "linecount", "fill_with");
        BigInteger size = StringMethods.Integer(given[0]!);
        IReadOnlyList<TemplateValue> items = Lookup.Iterate(run, value);
        var batches = new List<TemplateValue>();
        var batch = new List<TemplateValue>();
        foreach (TemplateValue item in items)
        {
            run.PayItems(4);
            if (batch.Count == size)
            {
                batches.Add(new ListValue(batch));
                batch = [];
            }

            batch.Add(item);
        }

        if (batch.Count > 0)
        {
            if (given[1] is { } fill and not NoneValue && batch.Count < size)
            {
                Fill(run, batch, size - batch.Count, fill);
            }

            batches.Add(new ListValue(batch));
        }

        return new(batches);
    }

    private static GeneratorValue Slice(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("slice", 1, "slices", "fill_with");
        IReadOnlyList<TemplateValue> items = Lookup.Iterate(run, value);
        BigInteger wanted = StringMethods.Integer(given[0]!);
        if (wanted.Sign <= 0)
        {
            throw new TemplateException(TemplateErrorKind.Value, "the number of slices must be positive");
        }

        if (wanted > run.MaxOutputLength)
        {
            throw Run.Limit("there are too many slices");
        }

        int count = (int)wanted;
        run.PayItems(count * 4L);
        run.PayItems(items.Count);
        int size = items.Count / count;
        int longer = items.Count % count;
        var slices = new List<TemplateValue>();
        int from = 0;
        for (int i = 0; i < count; i++)
        {
            int to = from + size + (i < longer ? 1 : 0);
            var slice = new List<TemplateValue>();
            for (; from < to; from++)
            {
                slice.Add(items[from]);
            }

            if (given[1] is { } fill and not NoneValue && i >= longer && longer > 0)
            {
                slice.Add(fill);
            }

            slices.Add(new ListValue(slice));
        }

        return new(slices);
    }

    private static void Fill(Run run, List<TemplateValue> list, BigInteger count, TemplateValue fill)
    {
        if (count > run.MaxOutputLength)
        {
            throw Run.Limit("a list is filled up to too many items");
        }

        run.PayItems((long)count);
        for (int left = (int)count; left > 0; left--)
        {
            list.Add(fill);
        }
    }

    private static TemplateException Error(string message) => new(TemplateErrorKind.Type, message);
}
