using System.Collections;
using System.Numerics;

namespace Antiphon.Text;

/// <summary>What holds other values in order. The nesting is bounded when it is made, so that walks over it may recurse.</summary>
internal abstract class SequenceValue : TemplateValue
{
    /// <summary>The deepest nesting of lists and dictionaries in a value.</summary>
    public const int MaxNesting = 150;

    protected SequenceValue(IReadOnlyList<TemplateValue> items)
    {
        Items = items;
        int nesting = 0;
        long cost = 1;
        for (int i = 0; i < items.Count; i++)
        {
            nesting = Math.Max(nesting, items[i].Nesting);
            cost = Add(cost, items[i].WalkCost);
        }

        Nesting = Deeper(nesting);
        WalkCost = cost;
    }

    public IReadOnlyList<TemplateValue> Items { get; }

    internal override bool IsTrue => Items.Count > 0;

    internal override int Nesting { get; }

    internal override long WalkCost { get; }

    public static int Deeper(int nesting) => nesting < MaxNesting
        ? nesting + 1
        : throw new TemplateException(TemplateErrorKind.Limit, $"a value nests deeper than {MaxNesting} levels");

    public static long Add(long a, long b) => Math.Min(a + b, long.MaxValue / 4);
}

internal sealed class ListValue(IReadOnlyList<TemplateValue> items) : SequenceValue(items)
{
    public static readonly ListValue Empty = new([]);

    internal override string TypeName => "list";
}

internal class TupleValue(IReadOnlyList<TemplateValue> items) : SequenceValue(items)
{
    internal override string TypeName => "tuple";
}

/// <summary>An entry of <c>groupby</c>: a pair whose halves also have names.</summary>
internal sealed class GroupValue(TemplateValue grouper, ListValue list) : TupleValue([grouper, list])
{
    public TemplateValue Grouper => Items[0];

    public TemplateValue Members => Items[1];
}

/// <summary>What a lazy filter (<c>map</c>, <c>select</c>, …) yields: it can be walked over once.</summary>
internal sealed class GeneratorValue : TemplateValue
{
    private IReadOnlyList<TemplateValue> _items;

    public GeneratorValue(IReadOnlyList<TemplateValue> items)
    {
        _items = items;
        int nesting = 0;
        for (int i = 0; i < items.Count; i++)
        {
            nesting = Math.Max(nesting, items[i].Nesting);
        }

        Nesting = SequenceValue.Deeper(nesting);
    }

    internal override string TypeName => "generator";

    internal override int Nesting { get; }

    public IReadOnlyList<TemplateValue> TakeAll()
    {
        IReadOnlyList<TemplateValue> items = _items;
        _items = [];
        return items;
    }

    public TemplateValue? TakeFirst()
    {
        if (_items.Count == 0)
        {
            return null;
        }

        TemplateValue first = _items[0];
        _items = [.. _items.Skip(1)];
        return first;
    }
}

/// <summary>Python's <c>range</c>: its numbers are made when asked for.</summary>
internal sealed class RangeValue : TemplateValue, IReadOnlyList<TemplateValue>
{
    private readonly BigInteger _start;
    private readonly BigInteger _step;

    public RangeValue(BigInteger start, BigInteger stop, BigInteger step, int count)
    {
        (_start, _step, Stop, Count) = (start, step, stop, count);
    }

    public BigInteger Start => _start;

    public BigInteger Stop { get; }

    public BigInteger Step => _step;

    public int Count { get; }

    public TemplateValue this[int index] => IntegerValue.Of(_start + (_step * index));

    internal override string TypeName => "range";

    internal override bool IsTrue => Count > 0;

    internal override long WalkCost => 1 + Count;

    public IEnumerator<TemplateValue> GetEnumerator()
    {
        for (int i = 0; i < Count; i++)
        {
            yield return this[i];
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
