using System.Text.Json;

namespace Antiphon.Server;

/// <summary>
/// The fields of one JSON object of a request, read with their types and ranges checked. A field that is absent or null gives null;
/// a field of another type or outside its range is refused by its name. Unknown fields are nobody's business.
/// </summary>
internal readonly struct JsonFields
{
    private readonly JsonElement element;
    private readonly string prefix;

    /// <summary>Wraps an object.</summary>
    /// <param name="element">The object.</param>
    /// <param name="path">Where it stands in the request; empty for the request itself.</param>
    public JsonFields(JsonElement element, string path = "")
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw ApiException.Invalid(path.Length == 0 ? null : path, $"must be an object, not {Kind(element)}");
        }

        this.element = element;
        prefix = path.Length == 0 ? string.Empty : path + ".";
    }

    /// <summary>The object.</summary>
    public JsonElement Element => element;

    /// <summary>The full name of a field, for messages.</summary>
    public string Name(string field) => prefix + field;

    /// <summary>A field of any type.</summary>
    public JsonElement? Any(string field) =>
        element.TryGetProperty(field, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>A string.</summary>
    public string? String(string field)
    {
        JsonElement? value = Any(field);
        return value is null ? null : value.Value.ValueKind == JsonValueKind.String ? value.Value.GetString() : throw Wrong(field, "a string", value.Value);
    }

    /// <summary>A truth value.</summary>
    public bool? Boolean(string field)
    {
        JsonElement? value = Any(field);
        return value?.ValueKind switch
        {
            null => null,
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw Wrong(field, "true or false", value.Value),
        };
    }

    /// <summary>A whole number.</summary>
    public long? Integer(string field, long minimum, long maximum)
    {
        JsonElement? value = Any(field);
        if (value is null)
        {
            return null;
        }

        if (value.Value.ValueKind != JsonValueKind.Number)
        {
            throw Wrong(field, "a whole number", value.Value);
        }

        if (!TryWhole(value.Value, out long number) || number < minimum || number > maximum)
        {
            throw ApiException.Invalid(Name(field), $"must be a whole number from {minimum} to {maximum}, not {Shorten(value.Value.GetRawText())}");
        }

        return number;
    }

    /// <summary>A number.</summary>
    public float? Number(string field, double minimum, double maximum)
    {
        JsonElement? value = Any(field);
        if (value is null)
        {
            return null;
        }

        if (value.Value.ValueKind != JsonValueKind.Number || !value.Value.TryGetDouble(out double number))
        {
            throw Wrong(field, "a number", value.Value);
        }

        return number >= minimum && number <= maximum
            ? (float)number
            : throw ApiException.Invalid(Name(field), $"must be from {minimum} to {maximum}, not {Shorten(value.Value.GetRawText())}");
    }

    /// <summary>An object.</summary>
    public JsonFields? Object(string field)
    {
        JsonElement? value = Any(field);
        return value is null ? null : new JsonFields(value.Value, Name(field));
    }

    /// <summary>A list.</summary>
    public JsonElement? Array(string field, int maximum)
    {
        JsonElement? value = Any(field);
        if (value is null)
        {
            return null;
        }

        if (value.Value.ValueKind != JsonValueKind.Array)
        {
            throw Wrong(field, "a list", value.Value);
        }

        return value.Value.GetArrayLength() <= maximum
            ? value
            : throw ApiException.Invalid(Name(field), $"may have at most {maximum} entries, not {value.Value.GetArrayLength()}");
    }

    /// <summary>A whole number, also when written as 3.0 or 3e0.</summary>
    public static bool TryWhole(JsonElement value, out long number)
    {
        if (value.TryGetInt64(out number))
        {
            return true;
        }

        if (value.TryGetDecimal(out decimal exact) && decimal.Truncate(exact) == exact && exact >= long.MinValue && exact <= long.MaxValue)
        {
            number = (long)exact;
            return true;
        }

        return false;
    }

    /// <summary>What a value is, for messages.</summary>
    public static string Kind(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "a list",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => "a number",
        JsonValueKind.True or JsonValueKind.False => "a truth value",
        _ => "null",
    };

    private static string Shorten(string text) => text.Length <= 40 ? text : text[..40] + "…";

    private ApiException Wrong(string field, string wanted, JsonElement value) =>
        ApiException.Invalid(Name(field), $"must be {wanted}, not {Kind(value)}");
}
