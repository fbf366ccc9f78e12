using System.Numerics;

namespace Antiphon.Text;

/// <summary>Python's <c>None</c>.</summary>
internal sealed class NoneValue : TemplateValue
{
    public static readonly NoneValue Instance = new();

    internal override string TypeName => "NoneType";

    internal override bool IsTrue => false;
}

/// <summary>What a name or attribute that does not exist yields: it prints as nothing and fails when used.</summary>
internal sealed class UndefinedValue(string message, TemplateErrorKind kind = TemplateErrorKind.Undefined) : TemplateValue
{
    public static readonly UndefinedValue Plain = new("the value is undefined");

    public TemplateException Error() => new(kind, message);

    public static UndefinedValue Name(string name) => new($"'{name}' is undefined");

    public static UndefinedValue Attribute(TemplateValue owner, string name) =>
        new(owner is NoneValue ? $"'None' has no attribute '{name}'" : $"'{owner.TypeName} object' has no attribute '{name}'");

    public static UndefinedValue Unsafe(TemplateValue owner, string name) =>
        new($"access to attribute '{name}' of '{owner.TypeName}' object is unsafe.", TemplateErrorKind.Security);

    internal override string TypeName => "Undefined";

    internal override bool IsTrue => false;
}

internal sealed class BooleanValue : TemplateValue
{
    public static readonly BooleanValue True = new(true);
    public static readonly BooleanValue False = new(false);

    private BooleanValue(bool value) => Value = value;

    public bool Value { get; }

    public static new BooleanValue Of(bool value) => value ? True : False;

    internal override string TypeName => "bool";

    internal override bool IsTrue => Value;
}

internal sealed class IntegerValue : TemplateValue
{
    private static readonly IntegerValue[] Small = MakeSmall();

    private IntegerValue(BigInteger value) => Value = value;

    public BigInteger Value { get; }

    public static new IntegerValue Of(BigInteger value) =>
        value >= -1 && value < 1024 ? Small[(int)value + 1] : new(value);

    public static IntegerValue Of(int value) => value is >= -1 and < 1024 ? Small[value + 1] : new(value);

    internal override string TypeName => "int";

    internal override bool IsTrue => !Value.IsZero;

    internal override long WalkCost => 1 + (Value.GetByteCount() >> 4);

    private static IntegerValue[] MakeSmall()
    {
        var all = new IntegerValue[1025];
        for (int i = 0; i < all.Length; i++)
        {
            all[i] = new(i - 1);
        }

        return all;
    }
}

internal sealed class FloatValue(double value) : TemplateValue
{
    public double Value { get; } = value;

    internal override string TypeName => "float";

    internal override bool IsTrue => Value != 0;
}
