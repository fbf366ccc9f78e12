namespace Antiphon.Text;

/// <summary>The arguments of a call.</summary>
internal readonly struct Arguments(TemplateValue[] positional, KeyValuePair<string, TemplateValue>[]? named = null)
{
    public static readonly Arguments None = new([]);

    public TemplateValue[] Positional { get; } = positional;

    public KeyValuePair<string, TemplateValue>[] Named { get; } = named ?? [];

    /// <summary>Spreads the arguments over named parameters; those not given are null.</summary>
    /// <exception cref="TemplateException">Too many, unknown, doubled or missing arguments.</exception>
    public TemplateValue?[] Bind(string function, int required, params ReadOnlySpan<string> parameters)
    {
        var bound = new TemplateValue?[parameters.Length];
        if (Positional.Length > parameters.Length)
        {
            throw Error($"{function}() takes at most {parameters.Length} arguments but {Positional.Length} were given");
        }

        Positional.CopyTo(bound, 0);
        foreach ((string name, TemplateValue value) in Named)
        {
            int at = parameters.IndexOf(name);
            if (at < 0)
            {
                throw Error($"{function}() got an unexpected keyword argument '{name}'");
            }

            bound[at] = bound[at] is null ? value : throw Error($"{function}() got multiple values for argument '{name}'");
        }

        for (int i = 0; i < required; i++)
        {
            if (bound[i] is null)
            {
                throw Error($"{function}() missing a required argument: '{parameters[i]}'");
            }
        }

        return bound;
    }

    /// <summary>The arguments after the first ones.</summary>
    public Arguments Skip(int count) => new(Positional[count..], Named);

    private static TemplateException Error(string message) => new(TemplateErrorKind.Type, message);
}

/// <summary>What can be called.</summary>
internal abstract class CallableValue : TemplateValue
{
    internal abstract TemplateValue Call(Run run, Arguments arguments);
}

/// <summary>A function or bound method of the interpreter.</summary>
internal sealed class FunctionValue(string name, Func<Run, Arguments, TemplateValue> body, string typeName = "function") : CallableValue
{
    public string Name => name;

    internal override string TypeName => typeName;

    internal override TemplateValue Call(Run run, Arguments arguments) => body(run, arguments);
}

/// <summary>A <c>namespace</c>: the one thing a template can assign to from an inner scope.</summary>
internal sealed class NamespaceValue : TemplateValue
{
    private readonly Dictionary<string, TemplateValue> _attributes = [];

    public IEnumerable<KeyValuePair<string, TemplateValue>> Attributes => _attributes;

    public TemplateValue? Get(string name) => _attributes.GetValueOrDefault(name);

    public void Set(string name, TemplateValue value)
    {
        if (name.StartsWith('_'))
        {
            throw new TemplateException(TemplateErrorKind.Security, $"a namespace cannot hold the attribute '{name}': its name begins with an underscore");
        }

        _attributes[name] = value;
    }

    internal override string TypeName => "Namespace";
}

/// <summary>Yields nothing the first time it is called, then its separator.</summary>
internal sealed class JoinerValue(TemplateValue separator) : CallableValue
{
    private bool _used;

    internal override string TypeName => "Joiner";

    internal override int Nesting => separator.Nesting;

    internal override TemplateValue Call(Run run, Arguments arguments)
    {
        arguments.Bind("joiner", 0);
        TemplateValue result = _used ? separator : StringValue.Empty;
        _used = true;
        return result;
    }
}

/// <summary>Goes round its items.</summary>
internal sealed class CyclerValue(TemplateValue[] items) : TemplateValue
{
    private int _position;

    internal override string TypeName => "Cycler";

    public TemplateValue Current => items[_position];

    public TemplateValue Next()
    {
        TemplateValue current = Current;
        _position = (_position + 1) % items.Length;
        return current;
    }

    public void Reset() => _position = 0;
}

/// <summary>The template itself, as <c>self</c>: it has nothing to reach for.</summary>
internal sealed class SelfValue : TemplateValue
{
    public static readonly SelfValue Instance = new();

    internal override string TypeName => "TemplateReference";
}
