using System.Collections.Frozen;
using System.Text;

namespace Antiphon.Text;

/// <summary>The tests, by the name after <c>is</c>.</summary>
internal static class ValueTests
{
    private static readonly FrozenDictionary<string, Test> All = new Dictionary<string, Test>
    {
        ["defined"] = Plain(static v => v is not UndefinedValue),
        ["undefined"] = Plain(static v => v is UndefinedValue),
        ["none"] = Plain(static v => v is NoneValue),
        ["true"] = Plain(static v => v is BooleanValue { Value: true }),
        ["false"] = Plain(static v => v is BooleanValue { Value: false }),
        ["boolean"] = Plain(static v => v is BooleanValue),
        ["integer"] = Plain(static v => v is IntegerValue),
        ["float"] = Plain(static v => v is FloatValue),
        ["number"] = Plain(ValueComparer.IsNumber),
        ["string"] = Plain(static v => v is StringValue),
        ["mapping"] = Plain(static v => v is DictValue),
        ["sequence"] = Plain(static v => v is StringValue or SequenceValue or DictValue or RangeValue or UndefinedValue),
        ["iterable"] = Plain(static v => v is StringValue or SequenceValue or DictValue or RangeValue or UndefinedValue or DictViewValue or GeneratorValue or LoopValue),
        ["callable"] = Plain(static v => v is CallableValue or UndefinedValue),
        ["escaped"] = Plain(static v => v is StringValue { IsMarkup: true }),
        ["lower"] = static (run, value, a) => StringMethods.IsInCase(Text(run, value), Rune.IsUpper),
        ["upper"] = static (run, value, a) => StringMethods.IsInCase(Text(run, value), Rune.IsLower),
        ["odd"] = static (run, value, a) => Rest(run, value, IntegerValue.Of(2), 1),
        ["even"] = static (run, value, a) => Rest(run, value, IntegerValue.Of(2), 0),
        ["divisibleby"] = static (run, value, a) => Rest(run, value, One(a), 0),
        ["sameas"] = static (run, value, a) => IsSame(value, One(a)),
        ["in"] = Compared("in"),
        ["eq"] = Compared("=="),
        ["equalto"] = Compared("=="),
        ["=="] = Compared("=="),
        ["ne"] = Compared("!="),
        ["!="] = Compared("!="),
        ["lt"] = Compared("<"),
        ["lessthan"] = Compared("<"),
        ["<"] = Compared("<"),
        ["le"] = Compared("<="),
        ["<="] = Compared("<="),
        ["gt"] = Compared(">"),
        ["greaterthan"] = Compared(">"),
        [">"] = Compared(">"),
        ["ge"] = Compared(">="),
        [">="] = Compared(">="),
        ["filter"] = static (run, value, a) => value is StringValue s && Filters.Find(s.Text) is not null,
        ["test"] = static (run, value, a) => value is StringValue s && Find(s.Text) is not null,
    }.ToFrozenDictionary();

    public static Test? Find(string name) => All.GetValueOrDefault(name);

    private static Test Plain(Func<TemplateValue, bool> test) => (_, value, arguments) =>
    {
        if (arguments.Positional.Length + arguments.Named.Length > 0)
        {
            arguments.Bind("test", 0);
        }

        return test(value);
    };

    private static Test Compared(string op) => (run, value, arguments) => Comparison.Holds(run, op, value, One(arguments));

    private static TemplateValue One(Arguments arguments) => arguments.Bind("test", 1, "other")[0]!;

    private static StringValue Text(Run run, TemplateValue value)
    {
        StringValue text = Printing.Str(run, value);
        run.Step(text.Text.Length >> 3);
        return text;
    }

    private static bool Rest(Run run, TemplateValue value, TemplateValue divisor, int rest) =>
        ValueComparer.AreEqual(Arithmetic.Apply(run, "%", value, divisor), IntegerValue.Of(rest));

    private static bool IsSame(TemplateValue a, TemplateValue b) => ReferenceEquals(a, b)
        || ((a, b) is (IntegerValue, IntegerValue) or (StringValue, StringValue) && ValueComparer.AreEqual(a, b));
}
