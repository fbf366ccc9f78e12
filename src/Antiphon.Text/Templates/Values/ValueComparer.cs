using System.Numerics;

namespace Antiphon.Text;

/// <summary>Python's <c>==</c>, <c>&lt;</c> and hash: <c>1</c>, <c>1.0</c> and <c>true</c> are equal; strings order by code point.</summary>
internal sealed class ValueComparer : IEqualityComparer<TemplateValue>
{
    public static readonly ValueComparer Instance = new();

    public bool Equals(TemplateValue? x, TemplateValue? y) => AreEqual(x!, y!);

    /// <exception cref="TemplateException">The value cannot be a key (kind Type).</exception>
    public int GetHashCode(TemplateValue value) => value switch
    {
        StringValue s => s.Text.GetHashCode(StringComparison.Ordinal),
        IntegerValue i => i.Value.GetHashCode(),
        BooleanValue b => (b.Value ? BigInteger.One : BigInteger.Zero).GetHashCode(),
        FloatValue f => double.IsFinite(f.Value) && f.Value == Math.Floor(f.Value)
            ? new BigInteger(f.Value).GetHashCode()
            : f.Value.GetHashCode(),
        TupleValue t => HashOf(t),
        UndefinedValue => 1,
        ListValue or DictValue => throw new TemplateException(TemplateErrorKind.Type, $"unhashable type: '{value.TypeName}'"),
        _ => System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(value),
    };

    public static bool AreEqual(TemplateValue a, TemplateValue b)
    {
        if (ReferenceEquals(a, b))
        {
            return a is not FloatValue { Value: double.NaN };
        }

        switch (a, b)
        {
            case (StringValue x, StringValue y):
                return x.Text == y.Text;
            case (FloatValue x, FloatValue y):
                return x.Value == y.Value;
            case (NoneValue, NoneValue) or (UndefinedValue, UndefinedValue):
                return true;
            case (ListValue x, ListValue y):
                return ItemsEqual(x.Items, y.Items);
            case (TupleValue x, TupleValue y):
                return ItemsEqual(x.Items, y.Items);
            case (RangeValue x, RangeValue y):
                return x.Count == y.Count && (x.Count == 0 || (x.Start == y.Start && (x.Count == 1 || x.Step == y.Step)));
            case (DictValue x, DictValue y):
                return DictsEqual(x, y);
        }

        if (IsNumber(a) && IsNumber(b))
        {
            return CompareNumbers(a, b) == 0;
        }

        return false;
    }

    public static bool IsNumber(TemplateValue value) => value is IntegerValue or FloatValue or BooleanValue;

    public static BigInteger? AsInteger(TemplateValue value) => value switch
    {
        IntegerValue i => i.Value,
        BooleanValue b => b.Value ? BigInteger.One : BigInteger.Zero,
        _ => null,
    };

    /// <summary>Negative, zero or positive; null where the two have no order (NaN, or types that do not compare).</summary>
    public static int? Compare(TemplateValue a, TemplateValue b)
    {
        switch (a, b)
        {
            case (StringValue x, StringValue y):
                return CompareText(x.Text, y.Text);
            case (ListValue x, ListValue y):
                return CompareItems(x.Items, y.Items);
            case (TupleValue x, TupleValue y):
                return CompareItems(x.Items, y.Items);
        }

        return IsNumber(a) && IsNumber(b) ? CompareNumbers(a, b) : null;
    }

    /// <summary>Whether <c>&lt;</c> exists for the two.</summary>
    public static bool HasOrder(TemplateValue a, TemplateValue b) =>
        (IsNumber(a) && IsNumber(b)) || (a, b) is (StringValue, StringValue) or (ListValue, ListValue) or (TupleValue, TupleValue);

    public static TemplateException NoOrder(string sign, TemplateValue a, TemplateValue b) =>
        a is UndefinedValue u ? u.Error()
        : b is UndefinedValue v ? v.Error()
        : new(TemplateErrorKind.Type, $"'{sign}' not supported between instances of '{a.TypeName}' and '{b.TypeName}'");

    /// <summary>UTF-16 order, but with surrogates above the rest of the first plane, which is the order of code points.</summary>
    public static int CompareText(string a, string b)
    {
        int shared = a.AsSpan().CommonPrefixLength(b);
        if (shared == a.Length || shared == b.Length)
        {
            return a.Length.CompareTo(b.Length);
        }

        static int Rank(char c) => char.IsSurrogate(c) ? c + 0x10000 : c;
        return Rank(a[shared]).CompareTo(Rank(b[shared]));
    }

    private static int? CompareNumbers(TemplateValue a, TemplateValue b)
    {
        if (a is FloatValue fa && b is FloatValue fb)
        {
            return double.IsNaN(fa.Value) || double.IsNaN(fb.Value) ? null : fa.Value.CompareTo(fb.Value);
        }

        if (a is FloatValue f)
        {
            return -CompareWithFloat(AsInteger(b)!.Value, f.Value);
        }

        return b is FloatValue g
            ? CompareWithFloat(AsInteger(a)!.Value, g.Value)
            : AsInteger(a)!.Value.CompareTo(AsInteger(b)!.Value);
    }

    private static int? CompareWithFloat(BigInteger i, double f)
    {
        if (double.IsNaN(f))
        {
            return null;
        }

        if (double.IsInfinity(f))
        {
            return f > 0 ? -1 : 1;
        }

        double whole = Math.Floor(f);
        int order = i.CompareTo(new BigInteger(whole));
        return order != 0 ? order : (f > whole ? -1 : 0);
    }

    private static int? CompareItems(IReadOnlyList<TemplateValue> a, IReadOnlyList<TemplateValue> b)
    {
        for (int i = 0; i < a.Count && i < b.Count; i++)
        {
            if (!AreEqual(a[i], b[i]))
            {
                return HasOrder(a[i], b[i]) ? Compare(a[i], b[i]) : throw NoOrder("<", a[i], b[i]);
            }
        }

        return a.Count.CompareTo(b.Count);
    }

    private static bool ItemsEqual(IReadOnlyList<TemplateValue> a, IReadOnlyList<TemplateValue> b)
    {
        if (a.Count != b.Count)
        {
            return false;
        }

        for (int i = 0; i < a.Count; i++)
        {
            if (!AreEqual(a[i], b[i]))
            {
                return false;
            }
        }

        return true;
    }

    private static bool DictsEqual(DictValue a, DictValue b)
    {
        if (a.Count != b.Count)
        {
            return false;
        }

        foreach ((TemplateValue key, TemplateValue value) in a.Entries)
        {
            if (b.Get(key) is not { } other || !AreEqual(value, other))
            {
                return false;
            }
        }

        return true;
    }

    private int HashOf(TupleValue tuple)
    {
        var hash = new HashCode();
        foreach (TemplateValue item in tuple.Items)
        {
            hash.Add(GetHashCode(item));
        }

        return hash.ToHashCode();
    }
}
