using System.Collections.Frozen;
using System.Numerics;

namespace Antiphon.Text;

/// <summary>The methods of lists, dictionaries and the like; those of strings are in <see cref="StringMethods"/>.</summary>
internal static class Methods
{
    private static readonly FrozenDictionary<string, Method> OfDict = new Dictionary<string, Method>
    {
        ["get"] = (run, self, arguments) =>
        {
            TemplateValue?[] given = arguments.Bind("get", 1, "key", "default");
            run.PayWalk(given[0]!);
            return ((DictValue)self).Get(given[0]!) ?? given[1] ?? NoneValue.Instance;
        },
        ["keys"] = (_, self, arguments) => View(self, arguments, DictPart.Keys),
        ["values"] = (_, self, arguments) => View(self, arguments, DictPart.Values),
        ["items"] = (_, self, arguments) => View(self, arguments, DictPart.Items),
        ["copy"] = (_, self, arguments) =>
        {
            arguments.Bind("copy", 0);
            return self;
        },
    }.ToFrozenDictionary();

    private static readonly FrozenDictionary<string, Method> OfSequence = new Dictionary<string, Method>
    {
        ["index"] = (run, self, arguments) =>
        {
            IReadOnlyList<TemplateValue> items = Lookup.Iterate(run, self);
            TemplateValue wanted = arguments.Bind("index", 1, "value")[0]!;
            for (int i = 0; i < items.Count; i++)
            {
                if (Comparison.AreEqual(run, items[i], wanted))
                {
                    return IntegerValue.Of(i);
                }
            }

            throw new TemplateException(TemplateErrorKind.Value, "the value is not in the list");
        },
        ["copy"] = (_, self, arguments) =>
        {
            arguments.Bind("copy", 0);
            return self;
        },
        ["count"] = (run, self, arguments) =>
        {
            TemplateValue wanted = arguments.Bind("count", 1, "value")[0]!;
            return IntegerValue.Of(Lookup.Iterate(run, self).Count(item => Comparison.AreEqual(run, item, wanted)));
        },
    }.ToFrozenDictionary();

    private static readonly FrozenDictionary<string, Method> OfNumber = new Dictionary<string, Method>
    {
        ["bit_length"] = (_, self, arguments) => Integer(self, arguments, "bit_length", i => BigInteger.Abs(i).GetBitLength()),
        ["conjugate"] = (_, self, _) => self,
        ["is_integer"] = (_, self, _) => BooleanValue.Of(self is not FloatValue f || f.Value == Math.Floor(f.Value)),
    }.ToFrozenDictionary();

    private static readonly FrozenDictionary<string, Method> OfCycler = new Dictionary<string, Method>
    {
        ["next"] = (_, self, _) => ((CyclerValue)self).Next(),
        ["reset"] = (_, self, _) =>
        {
            ((CyclerValue)self).Reset();
            return NoneValue.Instance;
        },
    }.ToFrozenDictionary();

    public static Method? Find(TemplateValue owner, string name) => (owner switch
    {
        StringValue => StringMethods.All,
        DictValue => OfDict,
        SequenceValue or RangeValue => OfSequence,
        IntegerValue or FloatValue or BooleanValue => OfNumber,
        CyclerValue => OfCycler,
        _ => null,
    })?.GetValueOrDefault(name);

    /// <summary>Whether the type has a method of this name that would change the value: the sandbox refuses those.</summary>
    public static bool Changes(TemplateValue owner, string name) => owner switch
    {
        ListValue => name is "append" or "clear" or "extend" or "insert" or "pop" or "remove" or "reverse" or "sort",
        DictValue => name is "clear" or "pop" or "popitem" or "setdefault" or "update",
        _ => false,
    };

    private static DictViewValue View(TemplateValue self, Arguments arguments, DictPart part)
    {
        arguments.Bind("view", 0);
        return new((DictValue)self, part);
    }

    private static IntegerValue Integer(TemplateValue self, Arguments arguments, string name, Func<BigInteger, BigInteger> compute)
    {
        arguments.Bind(name, 0);
        return IntegerValue.Of(compute(ValueComparer.AsInteger(self) ?? 0));
    }
}
