using System.Numerics;
using System.Text.Json;

namespace Antiphon.Text;

/// <summary>
/// A value that a template works on. Values never change once made (a <c>namespace</c> is the one exception), so they may be shared
/// between renders and threads.
/// </summary>
public abstract class TemplateValue
{
    private protected TemplateValue()
    {
    }

    /// <summary>Python's <c>None</c>, JSON's <c>null</c>.</summary>
    public static TemplateValue None => NoneValue.Instance;

    /// <summary>Text from outside: wherever it ends up in the prompt, it is marked as input and never read as control tokens.</summary>
    public static TemplateValue Input(string text) => StringValue.Of(text, isInput: true);

    /// <summary>Text that may contain control tokens, such as <c>bos_token</c>. Never use it for what a user sent.</summary>
    public static TemplateValue Trusted(string text) => StringValue.Of(text, isInput: false);

    /// <summary>An integer of any size.</summary>
    public static TemplateValue Of(BigInteger value) => IntegerValue.Of(value);

    /// <summary>A floating-point number; <c>1.0</c> is not <c>1</c>: it prints differently.</summary>
    public static TemplateValue Of(double value) => new FloatValue(value);

    /// <summary>A truth value.</summary>
    public static TemplateValue Of(bool value) => BooleanValue.Of(value);

    /// <summary>A list.</summary>
    public static TemplateValue List(IEnumerable<TemplateValue> items) => new ListValue([.. items]);

    /// <summary>A dictionary; the order of the entries is kept. Of equal keys the last value wins. Its keys are input.</summary>
    public static TemplateValue Dict(IEnumerable<KeyValuePair<string, TemplateValue>> entries)
    {
        var dict = new DictValue();
        foreach ((string key, TemplateValue value) in entries)
        {
            dict.Set(StringValue.Of(key, isInput: true), value);
        }

        return dict;
    }

    /// <summary>
    /// The value of a JSON element. Key order, <c>1</c> against <c>1.0</c>, and integers of any size are kept.
    /// </summary>
    /// <param name="element">The element.</param>
    /// <param name="trusted">Whether its strings may contain control tokens; leave it false for anything that comes with a request.</param>
    /// <exception cref="TemplateException">An integer has more than 4,300 digits, a string is not valid Unicode, or the nesting is too deep.</exception>
    public static TemplateValue FromJson(JsonElement element, bool trusted = false) => JsonReading.Read(element, trusted);

    /// <summary>The value of a JSON text; see <see cref="FromJson(JsonElement, bool)"/>.</summary>
    /// <exception cref="JsonException">The text is not JSON.</exception>
    /// <exception cref="TemplateException">As for the other overload.</exception>
    public static TemplateValue FromJson(ReadOnlyMemory<byte> utf8Json, bool trusted = false)
    {
        using JsonDocument document = JsonDocument.Parse(utf8Json, new JsonDocumentOptions { MaxDepth = JsonReading.MaxDepth });
        return FromJson(document.RootElement, trusted);
    }

    /// <summary>Python's name of the type, for messages.</summary>
    internal abstract string TypeName { get; }

    /// <summary>Whether the value counts as true.</summary>
    internal virtual bool IsTrue => true;

    /// <summary>How deep containers nest in the value: 0 for one that holds no others. Walks over values recurse, so this bounds them.</summary>
    internal virtual int Nesting => 0;

    /// <summary>What a walk over the whole value costs, shared parts counted each time they are met; saturates.</summary>
    internal virtual long WalkCost => 1;
}
