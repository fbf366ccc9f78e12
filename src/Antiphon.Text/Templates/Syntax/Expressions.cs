namespace Antiphon.Text;

/// <summary>An expression. Its height bounds how deep its evaluation recurses.</summary>
internal abstract class Expression
{
    public int Height { get; set; } = 1;

    public int Line { get; set; }

    public abstract TemplateValue Evaluate(Frame frame, Run run);

    protected static TemplateException Fail(TemplateErrorKind kind, string message) => new(kind, message);
}

internal sealed class ConstantExpression(TemplateValue value) : Expression
{
    public TemplateValue Value => value;

    public override TemplateValue Evaluate(Frame frame, Run run) => value;
}

/// <summary>A name: the innermost frame that has assigned it holds its value, else the variables of the render, else the globals.</summary>
internal sealed class NameExpression(string name, Scope scope) : Expression
{
    private (int Hops, int Slot)[] _places = [];
    private UndefinedValue? _undefined;

    public string Name => name;

    /// <summary>Finds the frames that may hold the name. Once the whole template is parsed: a scope may assign a name after its use.</summary>
    public void Resolve()
    {
        var places = new List<(int, int)>();
        int hops = 0;
        for (Scope? s = scope; s is not null; s = s.Parent, hops++)
        {
            int slot = s.Find(name);
            if (slot >= 0)
            {
                places.Add((hops, slot));
            }
        }

        _places = [.. places];
    }

    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        run.Step();
        int passed = 0;
        foreach ((int hops, int slot) in _places)
        {
            for (; passed < hops; passed++)
            {
                frame = frame.Parent!;
            }

            if (frame.Slots[slot] is { } value)
            {
                return value;
            }
        }

        return run.Variables.TryGetValue(name, out TemplateValue? variable) ? variable
            : Globals.Find(name) ?? (_undefined ??= UndefinedValue.Name(name));
    }
}

internal sealed class ListExpression(Expression[] items, bool isTuple) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        run.PayItems(items.Length);
        var values = new TemplateValue[items.Length];
        for (int i = 0; i < items.Length; i++)
        {
            values[i] = items[i].Evaluate(frame, run);
        }

        return isTuple ? new TupleValue(values) : new ListValue(values);
    }
}

internal sealed class DictExpression(KeyValuePair<Expression, Expression>[] entries) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        run.PayItems(entries.Length * 2L);
        var dict = new DictValue();
        foreach ((Expression key, Expression value) in entries)
        {
            TemplateValue k = key.Evaluate(frame, run);
            run.PayWalk(k);
            dict.Set(k, value.Evaluate(frame, run));
        }

        return dict;
    }
}

internal sealed class AttributeExpression(Expression target, string name) : Expression
{
    public Expression Target => target;

    public string Name => name;

    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        run.Step();
        return Lookup.Attribute(run, target.Evaluate(frame, run), name);
    }
}

internal sealed class ItemExpression(Expression target, Expression index) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        run.Step();
        TemplateValue value = target.Evaluate(frame, run);
        return Lookup.Item(run, value, index.Evaluate(frame, run));
    }
}

internal sealed class SliceExpression(Expression target, Expression? start, Expression? stop, Expression? step) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        run.Step();
        TemplateValue value = target.Evaluate(frame, run);
        return Lookup.Slice(run, value, start?.Evaluate(frame, run), stop?.Evaluate(frame, run), step?.Evaluate(frame, run));
    }
}

internal sealed class NotExpression(Expression operand) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run) => BooleanValue.Of(!operand.Evaluate(frame, run).IsTrue);
}

internal sealed class SignExpression(Expression operand, bool negative) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run) => Arithmetic.Sign(run, operand.Evaluate(frame, run), negative);
}

/// <summary>A chain of <c>and</c> or of <c>or</c>: yields the operand that decides.</summary>
internal sealed class LogicExpression(Expression[] operands, bool isOr) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        TemplateValue value = operands[0].Evaluate(frame, run);
        for (int i = 1; i < operands.Length && value.IsTrue != isOr; i++)
        {
            run.Step();
            value = operands[i].Evaluate(frame, run);
        }

        return value;
    }
}

/// <summary>Operators of one precedence in a row, from the left.</summary>
internal sealed class ChainExpression(Expression first, KeyValuePair<string, Expression>[] rest) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        TemplateValue value = first.Evaluate(frame, run);
        foreach ((string op, Expression operand) in rest)
        {
            run.Step();
            value = Arithmetic.Apply(run, op, value, operand.Evaluate(frame, run));
        }

        return value;
    }
}

/// <summary><c>a ~ b ~ c</c>.</summary>
internal sealed class JoinExpression(Expression[] operands) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        var values = new StringValue[operands.Length];
        bool escapes = false;
        for (int i = 0; i < operands.Length; i++)
        {
            run.Step();
            values[i] = Printing.Str(run, operands[i].Evaluate(frame, run));
            escapes |= run.AutoEscape && values[i].IsMarkup;
        }

        var text = new TextBuilder(run);
        foreach (StringValue value in values)
        {
            text.Append(escapes ? Markup.Escape(run, value) : value);
        }

        return text.ToValue(escapes);
    }
}

/// <summary>Comparisons in a row: each must hold.</summary>
internal sealed class CompareExpression(Expression first, KeyValuePair<string, Expression>[] rest) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        TemplateValue left = first.Evaluate(frame, run);
        foreach ((string op, Expression operand) in rest)
        {
            run.Step();
            TemplateValue right = operand.Evaluate(frame, run);
            if (!Comparison.Holds(run, op, left, right))
            {
                return BooleanValue.False;
            }

            left = right;
        }

        return BooleanValue.True;
    }
}

internal sealed class ConditionalExpression(Expression condition, Expression then, Expression? otherwise) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        run.Step();
        return condition.Evaluate(frame, run).IsTrue ? then.Evaluate(frame, run)
            : otherwise?.Evaluate(frame, run) ?? UndefinedValue.Plain;
    }
}

/// <summary>What a filter block or a filtered <c>set</c> block has captured: the input of its first filter.</summary>
internal sealed class CapturedExpression : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run) => run.Captured;
}

/// <summary>The arguments of a call as written.</summary>
internal sealed class ArgumentList(
    Expression[] positional, KeyValuePair<string, Expression>[] named, Expression? spread, Expression? namedSpread)
{
    public static readonly ArgumentList Empty = new([], [], null, null);

    public int Height { get; } = new[] { spread, namedSpread }.Concat(positional).Concat(named.Select(n => n.Value)).Max(e => e?.Height ?? 0);

    public Arguments Evaluate(Frame frame, Run run)
    {
        if (positional.Length == 0 && named.Length == 0 && spread is null && namedSpread is null)
        {
            return Arguments.None;
        }

        var values = new TemplateValue[positional.Length];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = positional[i].Evaluate(frame, run);
        }

        if (spread is not null)
        {
            IReadOnlyList<TemplateValue> more = Lookup.Iterate(run, spread.Evaluate(frame, run));
            run.PayItems(more.Count);
            values = [.. values, .. more];
        }

        var names = new KeyValuePair<string, TemplateValue>[named.Length];
        for (int i = 0; i < names.Length; i++)
        {
            names[i] = new(named[i].Key, named[i].Value.Evaluate(frame, run));
        }

        if (namedSpread is not null)
        {
            if (namedSpread.Evaluate(frame, run) is not DictValue dict)
            {
                throw new TemplateException(TemplateErrorKind.Type, "argument after ** must be a mapping");
            }

            run.PayItems(dict.Count);
            names = [.. names, .. dict.Entries.Select(e => new KeyValuePair<string, TemplateValue>(
                (e.Key as StringValue)?.Text ?? throw new TemplateException(TemplateErrorKind.Type, "keywords must be strings"), e.Value))];
            if (names.Length > 64 || names.Select(n => n.Key).Distinct().Count() != names.Length)
            {
                throw new TemplateException(TemplateErrorKind.Type, "a call has the same keyword twice, or more than 64");
            }
        }

        return new(values, names);
    }
}

internal sealed class CallExpression(Expression callee, ArgumentList arguments) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run) => Evaluate(frame, run, null);

    /// <summary>Calls with <c>caller</c> as one more named argument (a call block).</summary>
    public TemplateValue Evaluate(Frame frame, Run run, CallableValue? caller)
    {
        run.Step();
        TemplateValue target;
        if (callee is AttributeExpression attribute)
        {
            // The usual case, a method of a value, needs no bound method in between.
            TemplateValue owner = attribute.Target.Evaluate(frame, run);
            if (caller is null && Methods.Find(owner, attribute.Name) is { } method)
            {
                return method(run, owner, arguments.Evaluate(frame, run));
            }

            target = Lookup.Attribute(run, owner, attribute.Name);
        }
        else
        {
            target = callee.Evaluate(frame, run);
        }

        switch (target)
        {
            case CallableValue callable:
                Arguments values = arguments.Evaluate(frame, run);
                return callable.Call(run, caller is null ? values : new(values.Positional, [.. values.Named, new("caller", caller)]));
            case UndefinedValue undefined:
                throw undefined.Error();
            default:
                throw Fail(TemplateErrorKind.Type, $"'{target.TypeName}' object is not callable");
        }
    }
}

internal sealed class FilterExpression(Expression input, string name, Filter? filter, ArgumentList arguments) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        run.Step();
        TemplateValue value = input.Evaluate(frame, run);
        return filter is not null
            ? filter(run, value, arguments.Evaluate(frame, run))
            : throw Fail(TemplateErrorKind.Syntax, $"No filter named '{name}' found.");
    }
}

internal sealed class TestExpression(Expression input, string name, Test? test, ArgumentList arguments) : Expression
{
    public override TemplateValue Evaluate(Frame frame, Run run)
    {
        run.Step();
        TemplateValue value = input.Evaluate(frame, run);
        return test is not null
            ? BooleanValue.Of(test(run, value, arguments.Evaluate(frame, run)))
            : throw Fail(TemplateErrorKind.Syntax, $"No test named '{name}' found.");
    }
}

/// <summary>A filter: the value before the bar, and the arguments after its name.</summary>
internal delegate TemplateValue Filter(Run run, TemplateValue value, Arguments arguments);

/// <summary>A test: the value before <c>is</c>, and the arguments after its name.</summary>
internal delegate bool Test(Run run, TemplateValue value, Arguments arguments);

/// <summary>A method of a value.</summary>
internal delegate TemplateValue Method(Run run, TemplateValue self, Arguments arguments);
