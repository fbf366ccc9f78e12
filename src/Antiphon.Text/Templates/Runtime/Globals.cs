using System.Collections.Frozen;
using System.Numerics;

namespace Antiphon.Text;

/// <summary>The functions that every template finds.</summary>
internal static class Globals
{
    /// <summary>The longest <c>range</c>.</summary>
    public const int MaxRange = 100_000;

    public static readonly FunctionValue DictFromKeys = new("fromkeys", static (run, arguments) =>
    {
        TemplateValue?[] given = arguments.Bind("fromkeys", 1, "iterable", "value");
        var dict = new DictValue();
        foreach (TemplateValue key in Lookup.Iterate(run, given[0]!))
        {
            run.PayItems(2);
            run.PayWalk(key);
            dict.Set(key, given[1] ?? NoneValue.Instance);
        }

        return dict;
    });

    private static readonly FrozenDictionary<string, TemplateValue> All = new Dictionary<string, TemplateValue>
    {
        ["range"] = new FunctionValue("range", Range, "type"),
        ["dict"] = new FunctionValue("dict", Dict, "type"),
        ["namespace"] = new FunctionValue("namespace", Namespace, "type"),
        ["joiner"] = new FunctionValue("joiner", static (_, arguments) => new JoinerValue(arguments.Bind("joiner", 0, "sep")[0] ?? StringValue.Of(", ")), "type"),
        ["cycler"] = new FunctionValue("cycler", static (_, arguments) => arguments.Positional.Length > 0
            ? new CyclerValue(arguments.Positional)
            : throw Error(TemplateErrorKind.Type, "at least one item has to be provided"), "type"),
        ["raise_exception"] = new FunctionValue("raise_exception", static (run, arguments) =>
            throw Error(TemplateErrorKind.RaisedByTemplate, Printing.Str(run, arguments.Bind("raise_exception", 1, "message")[0]!).Text)),
        ["strftime_now"] = new FunctionValue("strftime_now", static (run, arguments) =>
            TimeFormat.Format(run, StringMethods.Text(arguments.Bind("strftime_now", 1, "format")[0]!), run.Clock ?? DateTime.Now)),
        ["self"] = SelfValue.Instance,
    }.ToFrozenDictionary();

    public static TemplateValue? Find(string name) => All.GetValueOrDefault(name);

    private static RangeValue Range(Run run, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("range", 1, "start", "stop", "step");
        BigInteger first = StringMethods.Integer(given[0]!);
        BigInteger start = given[1] is null ? 0 : first;
        BigInteger stop = given[1] is null ? first : StringMethods.Integer(given[1]!);
        BigInteger step = given[2] is null ? 1 : StringMethods.Integer(given[2]!);
        if (step.IsZero)
        {
            throw Error(TemplateErrorKind.Value, "range() arg 3 must not be zero");
        }

        BigInteger distance = step.Sign > 0 ? stop - start : start - stop;
        BigInteger count = distance.Sign <= 0 ? 0 : ((distance - 1) / BigInteger.Abs(step)) + 1;
        return count <= MaxRange
            ? new RangeValue(start, stop, step, (int)count)
            : throw Run.Limit($"Range too big. The sandbox blocks ranges larger than MAX_RANGE ({MaxRange}).");
    }

    private static DictValue Dict(Run run, Arguments arguments)
    {
        var dict = new DictValue();
        if (arguments.Positional.Length > 1)
        {
            throw Error(TemplateErrorKind.Type, $"dict expected at most 1 argument, got {arguments.Positional.Length}");
        }

        foreach ((TemplateValue key, TemplateValue value) in arguments.Positional.Length == 0 ? [] : Pairs(run, arguments.Positional[0]))
        {
            run.PayItems(2);
            run.PayWalk(key);
            dict.Set(key, value);
        }

        foreach ((string name, TemplateValue value) in arguments.Named)
        {
            dict.Set(StringValue.Of(name), value);
        }

        return dict;
    }

    private static NamespaceValue Namespace(Run run, Arguments arguments)
    {
        var ns = new NamespaceValue();
        foreach ((TemplateValue key, TemplateValue value) in Dict(run, arguments).Entries)
        {
            ns.Set(StringMethods.Text(key).Text, value);
        }

        return ns;
    }

    private static IEnumerable<KeyValuePair<TemplateValue, TemplateValue>> Pairs(Run run, TemplateValue value)
    {
        if (value is DictValue dict)
        {
            return dict.Entries;
        }

        return Lookup.Iterate(run, value).Select(item => Lookup.Iterate(run, item) is { Count: 2 } pair
            ? new KeyValuePair<TemplateValue, TemplateValue>(pair[0], pair[1])
            : throw Error(TemplateErrorKind.Value, "a dictionary is made of pairs"));
    }

    private static TemplateException Error(TemplateErrorKind kind, string message) => new(kind, message);
}
