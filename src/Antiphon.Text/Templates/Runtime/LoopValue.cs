namespace Antiphon.Text;

/// <summary>The variable <c>loop</c>, which is also what moves a loop on. It looks ahead only where the template asks it to.</summary>
internal sealed class LoopValue : CallableValue
{
    private readonly ForStatement _statement;
    private readonly Frame _frame;
    private readonly Run _run;
    private readonly int _depth;
    private IReadOnlyList<TemplateValue> _items;
    private int _next;
    private bool _filtersRest;
    private TemplateValue? _previous;
    private TemplateValue? _ahead;
    private TemplateValue[]? _changed;

    public LoopValue(ForStatement statement, Frame frame, Run run, IReadOnlyList<TemplateValue> items, int depth)
    {
        (_statement, _frame, _run, _items, _depth) = (statement, frame, run, items, depth);
        _filtersRest = statement.Filter is not null;
    }

    /// <summary>The item at hand. Null only before the first.</summary>
    public TemplateValue Current { get; private set; } = null!;

    /// <summary>The number of the item at hand, counted from 1.</summary>
    public int Index { get; private set; }

    public int Length
    {
        get
        {
            FilterRest();
            return Index + (_ahead is null ? 0 : 1) + _items.Count - _next;
        }
    }

    internal override string TypeName => "LoopContext";

    public bool MoveNext()
    {
        TemplateValue? next = Peek();
        if (next is null)
        {
            return false;
        }

        _previous = Index > 0 ? Current : null;
        Current = next;
        _ahead = null;
        Index++;
        return true;
    }

    public TemplateValue? Attribute(string name) => name switch
    {
        "index" => IntegerValue.Of(Index),
        "index0" => IntegerValue.Of(Index - 1),
        "first" => BooleanValue.Of(Index == 1),
        "last" => BooleanValue.Of(Peek() is null),
        "length" => IntegerValue.Of(Length),
        "revindex" => IntegerValue.Of(Length - Index + 1),
        "revindex0" => IntegerValue.Of(Length - Index),
        "depth" => IntegerValue.Of(_depth + 1),
        "depth0" => IntegerValue.Of(_depth),
        "previtem" => _previous ?? new UndefinedValue("there is no previous item"),
        "nextitem" => Peek() ?? new UndefinedValue("there is no next item"),
        "cycle" => new FunctionValue("cycle", (_, arguments) => arguments.Positional.Length > 0
            ? arguments.Positional[(Index - 1) % arguments.Positional.Length]
            : throw new TemplateException(TemplateErrorKind.Type, "no items for cycling given")),
        "changed" => new FunctionValue("changed", (run, arguments) =>
        {
            bool same = _changed is not null && _changed.Length == arguments.Positional.Length;
            for (int i = 0; same && i < arguments.Positional.Length; i++)
            {
                run.PayWalk(arguments.Positional[i]);
                same = ValueComparer.AreEqual(_changed![i], arguments.Positional[i]);
            }

            _changed = arguments.Positional;
            return BooleanValue.Of(!same);
        }),
        _ => null,
    };

    /// <summary>Runs the loop's body over other items, for <c>recursive</c> loops, and yields what it prints.</summary>
    internal override TemplateValue Call(Run run, Arguments arguments)
    {
        if (!_statement.IsRecursive)
        {
            throw new TemplateException(TemplateErrorKind.Type, "the loop must have the 'recursive' marker to be called recursively");
        }

        TemplateValue source = arguments.Bind("loop", 1, "iterable")[0]!;
        run.EnterCall();
        TextBuilder outer = run.BeginCapture();
        _statement.Loop(_frame, run, source, _depth + 1);
        StringValue text = run.EndCapture(outer);
        run.LeaveCall();
        return text;
    }

    private TemplateValue? Peek()
    {
        while (_ahead is null && _next < _items.Count)
        {
            TemplateValue item = _items[_next++];
            if (!_filtersRest || _statement.Admits(_frame, _run, item))
            {
                _ahead = item;
            }
        }

        return _ahead;
    }

    private void FilterRest()
    {
        if (!_filtersRest)
        {
            return;
        }

        var rest = new List<TemplateValue>();
        for (; _next < _items.Count; _next++)
        {
            if (_statement.Admits(_frame, _run, _items[_next]))
            {
                rest.Add(_items[_next]);
            }
        }

        _run.PayItems(rest.Count);
        (_items, _next, _filtersRest) = (rest, 0, false);
    }
}
