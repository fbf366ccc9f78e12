using System.Text.Json;

namespace Antiphon.Models;

/// <summary>The fields of a <c>config.json</c> or of an object inside it.</summary>
internal sealed class JsonConfig(JsonElement element, string path = "") : ConfigReader
{
    public JsonElement Element => element;

    public override bool Has(string field) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(field, out JsonElement value) && value.ValueKind != JsonValueKind.Null;

    /// <summary>Whether the field is there, be it null: some fields have defaults that null turns off.</summary>
    public bool Mentions(string field) => element.ValueKind == JsonValueKind.Object && element.TryGetProperty(field, out _);

    /// <summary>An object inside this one, or null when it is absent.</summary>
    public JsonConfig? Section(string field)
    {
        if (!Has(field))
        {
            return null;
        }

        JsonElement value = element.GetProperty(field);
        return value.ValueKind == JsonValueKind.Object
            ? new JsonConfig(value, FullName(field) + ".")
            : throw new ModelFormatException($"the config's {FullName(field)} must be an object");
    }

    protected override string FullName(string field) => path + field;

    protected override bool TryNumber(string field, out double value)
    {
        value = 0;
        JsonElement found = element.GetProperty(field);
        return found.ValueKind == JsonValueKind.Number && found.TryGetDouble(out value);
    }

    protected override bool TryFlag(string field, out bool value)
    {
        JsonValueKind kind = element.GetProperty(field).ValueKind;
        value = kind == JsonValueKind.True;
        return kind is JsonValueKind.True or JsonValueKind.False;
    }

    protected override bool TryText(string field, out string value)
    {
        JsonElement found = element.GetProperty(field);
        value = found.ValueKind == JsonValueKind.String ? found.GetString()! : "";
        return found.ValueKind == JsonValueKind.String;
    }

    protected override bool TryNumbers(string field, out double[] values)
    {
        values = [];
        JsonElement found = element.GetProperty(field);
        if (found.ValueKind != JsonValueKind.Array)
        {
            return false;
        }

        values = new double[found.GetArrayLength()];
        int i = 0;
        foreach (JsonElement item in found.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.Number || !item.TryGetDouble(out values[i++]))
            {
                return false;
            }
        }

        return true;
    }

    protected override bool TryTexts(string field, out string[] values)
    {
        values = [];
        JsonElement found = element.GetProperty(field);
        if (found.ValueKind != JsonValueKind.Array)
        {
            return false;
        }

        values = new string[found.GetArrayLength()];
        int i = 0;
        foreach (JsonElement item in found.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.String)
            {
                return false;
            }

            values[i++] = item.GetString()!;
        }

        return true;
    }
}
