using System.Text.Json;

namespace Antiphon.Text;

/// <summary>Reading properties of a component of <c>tokenizer.json</c>, with errors that name the component and the property.</summary>
internal readonly struct JsonComponent(JsonElement element, string path)
{
    public JsonElement Element => element;

    public string Path => path;

    /// <summary>The component's kind.</summary>
    public string Type => Text("type");

    public bool IsNull => element.ValueKind is JsonValueKind.Null or JsonValueKind.Undefined;

    public TokenizerFormatException Bad(string what) => new($"tokenizer.json: '{path}' {what}; the file is damaged or not a tokenizer");

    public TokenizerFormatException NotSupported(string what) => TokenizerFormatException.NotSupported($"tokenizer.json: '{path}': {what}");

    /// <summary>A property as a component; <see cref="IsNull"/> when it is absent.</summary>
    public JsonComponent Child(string name)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw Bad("is not an object");
        }

        return new(element.TryGetProperty(name, out JsonElement child) ? child : default, path.Length == 0 ? name : $"{path}.{name}");
    }

    public string Text(string name) => OptionalText(name) ?? throw Child(name).Bad("is missing");

    public string? OptionalText(string name)
    {
        JsonComponent child = Child(name);
        return child.IsNull ? null : child.AsText();
    }

    public string AsText() => element.ValueKind == JsonValueKind.String ? element.GetString()! : throw Bad("is not a string");

    /// <summary>A string of one UTF-16 unit.</summary>
    public char Character(string name) => Text(name) is [char c] ? c : throw Child(name).NotSupported("more than one character");

    public bool Flag(string name, bool otherwise)
    {
        JsonComponent child = Child(name);
        return child.Element.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            JsonValueKind.Null or JsonValueKind.Undefined => otherwise,
            _ => throw child.Bad("is not a truth value"),
        };
    }

    public int Number(string name) => Child(name).AsNumber();

    public int AsNumber() =>
        element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out int number) && number >= 0 ? number : throw Bad("is not a whole number that fits");

    /// <summary>The items of an array property; none when it is absent.</summary>
    public IEnumerable<JsonComponent> Items(string name)
    {
        JsonComponent child = Child(name);
        if (child.IsNull)
        {
            yield break;
        }

        if (child.Element.ValueKind != JsonValueKind.Array)
        {
            throw child.Bad("is not an array");
        }

        int index = 0;
        foreach (JsonElement item in child.Element.EnumerateArray())
        {
            yield return new(item, $"{child.Path}[{index++}]");
        }
    }

    /// <summary>A <c>pattern</c> property: <c>{"String": …}</c> or <c>{"Regex": …}</c>.</summary>
    public SplitPattern Pattern()
    {
        JsonComponent pattern = Child("pattern");
        return pattern.OptionalText("String") is { } literal ? SplitPattern.Literal(literal) : new SplitPattern(pattern.Text("Regex"));
    }
}
