namespace Antiphon.Text;

/// <summary>How a statement leaves: on to the next one, or out of the loop around it.</summary>
internal enum Flow
{
    Next,
    Break,
    Continue,
}

internal abstract class Statement
{
    public abstract Flow Execute(Frame frame, Run run);

    public static Flow ExecuteAll(Statement[] body, Frame frame, Run run)
    {
        foreach (Statement statement in body)
        {
            run.Step();
            Flow flow = statement.Execute(frame, run);
            if (flow != Flow.Next)
            {
                return flow;
            }
        }

        return Flow.Next;
    }
}

internal sealed class TextStatement(string text) : Statement
{
    public override Flow Execute(Frame frame, Run run)
    {
        run.Output.Append(text);
        return Flow.Next;
    }
}

internal sealed class PrintStatement(Expression expression) : Statement
{
    public override Flow Execute(Frame frame, Run run)
    {
        TemplateValue value = expression.Evaluate(frame, run);
        if (value is UndefinedValue)
        {
            return Flow.Next;
        }

        StringValue text = Printing.Str(run, value);
        run.Output.Append(run.AutoEscape ? Markup.Escape(run, text) : text);
        return Flow.Next;
    }
}

internal sealed class IfStatement(KeyValuePair<Expression, Statement[]>[] branches, Statement[] otherwise) : Statement
{
    public override Flow Execute(Frame frame, Run run)
    {
        foreach ((Expression condition, Statement[] body) in branches)
        {
            run.Step();
            if (condition.Evaluate(frame, run).IsTrue)
            {
                return ExecuteAll(body, frame, run);
            }
        }

        return ExecuteAll(otherwise, frame, run);
    }
}

internal sealed class BreakStatement(Flow flow) : Statement
{
    public override Flow Execute(Frame frame, Run run) => flow;
}

/// <summary>What is assigned to: a name, an attribute of a namespace, or several of these.</summary>
internal sealed class Target
{
    public string? Name { get; init; }

    /// <summary>For an attribute: the name that must hold a namespace.</summary>
    public NameExpression? Namespace { get; init; }

    public string? Attribute { get; init; }

    public Target[] Items { get; init; } = [];

    public int Slot { get; private set; }

    /// <summary>Gives the names their slots in the scope that the assignment belongs to.</summary>
    public void Bind(Scope scope)
    {
        if (Name is not null)
        {
            Slot = scope.Declare(Name);
        }

        foreach (Target item in Items)
        {
            item.Bind(scope);
        }
    }

    public void Assign(Frame frame, Run run, TemplateValue value)
    {
        if (Name is not null)
        {
            frame.Slots[Slot] = value;
            return;
        }

        if (Namespace is not null)
        {
            if (Namespace.Evaluate(frame, run) is not NamespaceValue ns)
            {
                throw new TemplateException(TemplateErrorKind.Type, "cannot assign attribute on non-namespace object");
            }

            run.PayItems(1);
            ns.Set(Attribute!, value);
            return;
        }

        IReadOnlyList<TemplateValue> values = Lookup.Iterate(run, value);
        if (values.Count != Items.Length)
        {
            throw new TemplateException(
                TemplateErrorKind.Value,
                values.Count > Items.Length
                    ? $"too many values to unpack (expected {Items.Length})"
                    : $"not enough values to unpack (expected {Items.Length}, got {values.Count})");
        }

        for (int i = 0; i < Items.Length; i++)
        {
            Items[i].Assign(frame, run, values[i]);
        }
    }
}

internal sealed class SetStatement(Target target, Expression value) : Statement
{
    public override Flow Execute(Frame frame, Run run)
    {
        target.Assign(frame, run, value.Evaluate(frame, run));
        return Flow.Next;
    }
}

/// <summary>A block whose output is caught: the value of a <c>set</c> block, or the input of a <c>filter</c> block, which then prints.</summary>
internal sealed class CaptureStatement(Scope scope, Statement[] body, Expression result, Target? target) : Statement
{
    public override Flow Execute(Frame frame, Run run)
    {
        TextBuilder outer = run.BeginCapture();
        Flow flow = ExecuteAll(body, scope.NewFrame(frame), run);
        StringValue captured = run.EndCapture(outer);
        if (flow != Flow.Next)
        {
            return flow;
        }

        run.Captured = captured;
        TemplateValue value = result.Evaluate(frame, run);
        if (target is not null)
        {
            target.Assign(frame, run, value);
        }
        else
        {
            run.Output.Append(Printing.Str(run, value));
        }

        return Flow.Next;
    }
}

/// <summary>A body with a scope of its own: <c>with</c>, <c>block</c>, <c>generation</c>, <c>autoescape</c>.</summary>
internal sealed class ScopeStatement(Scope scope, KeyValuePair<Target, Expression>[] assignments, Statement[] body, Expression? autoEscape = null) : Statement
{
    public override Flow Execute(Frame frame, Run run)
    {
        Frame inner = scope.NewFrame(frame);
        foreach ((Target target, Expression value) in assignments)
        {
            target.Assign(inner, run, value.Evaluate(frame, run));
        }

        if (autoEscape is null)
        {
            return ExecuteAll(body, inner, run);
        }

        bool before = run.AutoEscape;
        run.AutoEscape = autoEscape.Evaluate(frame, run).IsTrue;
        Flow flow = ExecuteAll(body, inner, run);
        run.AutoEscape = before;
        return flow;
    }
}

/// <summary>Tags that load other templates: there are none to load.</summary>
internal sealed class LoadStatement(string tag) : Statement
{
    public override Flow Execute(Frame frame, Run run) =>
        throw new TemplateException(TemplateErrorKind.Security, $"the tag '{tag}' would load another template, and a chat template stands alone");
}

internal sealed class ForStatement : Statement
{
    public required Expression Source { get; init; }

    public required Target Target { get; init; }

    public required Scope Scope { get; init; }

    public required int LoopSlot { get; init; }

    public required Statement[] Body { get; init; }

    /// <summary>The condition after <c>if</c>, with its own target in a scope of its own: it sees the items but not <c>loop</c>.</summary>
    public Expression? Filter { get; init; }

    public Target? FilterTarget { get; init; }

    public Scope? FilterScope { get; init; }

    public required Statement[] Otherwise { get; init; }

    public required Scope OtherwiseScope { get; init; }

    public required bool IsRecursive { get; init; }

    public override Flow Execute(Frame frame, Run run)
    {
        Loop(frame, run, Source.Evaluate(frame, run), depth: 0);
        return Flow.Next;
    }

    public void Loop(Frame frame, Run run, TemplateValue source, int depth)
    {
        var loop = new LoopValue(this, frame, run, Lookup.Iterate(run, source), depth);
        Frame inner = Scope.NewFrame(frame);
        bool any = false;
        while (loop.MoveNext())
        {
            any = true;
            run.Step();
            Array.Clear(inner.Slots);
            inner.Slots[LoopSlot] = loop;
            Target.Assign(inner, run, loop.Current);
            if (ExecuteAll(Body, inner, run) == Flow.Break)
            {
                return;
            }
        }

        if (!any && Otherwise.Length > 0)
        {
            ExecuteAll(Otherwise, OtherwiseScope.NewFrame(frame), run);
        }
    }

    /// <summary>Whether the loop's own condition lets an item in.</summary>
    public bool Admits(Frame frame, Run run, TemplateValue item)
    {
        if (Filter is null)
        {
            return true;
        }

        run.Step();
        Frame inner = FilterScope!.NewFrame(frame);
        FilterTarget!.Assign(inner, run, item);
        return Filter.Evaluate(inner, run).IsTrue;
    }
}

/// <summary>A parameter of a macro.</summary>
internal sealed record Parameter(string Name, int Slot, Expression? Default);

internal sealed class MacroDefinition
{
    public required string Name { get; init; }

    public required Parameter[] Parameters { get; init; }

    public required Scope Scope { get; init; }

    public required Statement[] Body { get; init; }

    /// <summary>Slots of <c>varargs</c>, <c>kwargs</c> and <c>caller</c>, or -1 where the body does not name them: then they are not accepted.</summary>
    public required int VarargsSlot { get; init; }

    public required int KwargsSlot { get; init; }

    public required int CallerSlot { get; init; }
}

internal sealed class MacroStatement(MacroDefinition definition, int slot) : Statement
{
    public override Flow Execute(Frame frame, Run run)
    {
        frame.Slots[slot] = new MacroValue(definition, frame);
        return Flow.Next;
    }
}

internal sealed class CallBlockStatement(CallExpression call, MacroDefinition body) : Statement
{
    public override Flow Execute(Frame frame, Run run)
    {
        TemplateValue result = call.Evaluate(frame, run, new MacroValue(body, frame));
        run.Output.Append(Printing.Str(run, result));
        return Flow.Next;
    }
}
