using System.Text.Json;
using System.Text.RegularExpressions;

namespace Antiphon.Server.Tests;

/// <summary>Whether JSON fits a schema of an OpenAPI document: the keywords that our document uses, and no others, so that none is passed over.</summary>
internal sealed class SchemaCheck(JsonElement document)
{
    /// <summary>What does not fit, or null.</summary>
    public string? Problem(JsonElement schema, JsonElement value, string path = "$")
    {
        foreach (JsonProperty keyword in schema.EnumerateObject())
        {
            if (Problem(schema, keyword, value, path) is string problem)
            {
                return problem;
            }
        }

        return null;
    }

    private string? Problem(JsonElement schema, JsonProperty keyword, JsonElement value, string path)
    {
        JsonElement rule = keyword.Value;
        bool isObject = value.ValueKind == JsonValueKind.Object, isArray = value.ValueKind == JsonValueKind.Array;
        switch (keyword.Name)
        {
            case "description" or "then" or "else":
                return null;
            case "$ref":
                return Problem(Resolve(rule), value, path);
            case "type":
                return rule.ValueKind == JsonValueKind.Array ? Any(rule.EnumerateArray().Select(t => t.GetString()!)) : Any([rule.GetString()!]);
            case "enum":
                return rule.EnumerateArray().Any(one => Same(one, value)) ? null : $"{path} is none of {rule}";
            case "const":
                return Same(rule, value) ? null : $"{path} is not {rule}";
            case "minimum":
                return value.ValueKind != JsonValueKind.Number || Compare(value, rule) >= 0 ? null : $"{path} is below {rule}";
            case "maximum":
                return value.ValueKind != JsonValueKind.Number || Compare(value, rule) <= 0 ? null : $"{path} is above {rule}";
            case "minLength":
                return value.ValueKind != JsonValueKind.String || value.GetString()!.Length >= rule.GetInt32() ? null : $"{path} is too short";
            case "maxLength":
                return value.ValueKind != JsonValueKind.String || value.GetString()!.Length <= rule.GetInt32() ? null : $"{path} is too long";
            case "pattern":
                return value.ValueKind != JsonValueKind.String || Matches(value.GetString()!, rule) ? null : $"{path} does not match {rule}";
            case "minItems":
                return !isArray || value.GetArrayLength() >= rule.GetInt32() ? null : $"{path} has too few entries";
            case "maxItems":
                return !isArray || value.GetArrayLength() <= rule.GetInt32() ? null : $"{path} has too many entries";
            case "items":
                return isArray ? First(value.EnumerateArray().Select((entry, i) => Problem(rule, entry, $"{path}[{i}]"))) : null;
            case "required":
                return isObject ? First(rule.EnumerateArray().Select(name => value.TryGetProperty(name.GetString()!, out _) ? null : $"{path}.{name} is missing")) : null;
            case "properties":
                return isObject
                    ? First(rule.EnumerateObject().Select(one => value.TryGetProperty(one.Name, out JsonElement given) ? Problem(one.Value, given, $"{path}.{one.Name}") : null))
                    : null;
            case "additionalProperties":
                return isObject ? First(value.EnumerateObject().Where(one => !Listed(schema, one.Name)).Select(one => Problem(rule, one.Value, $"{path}.{one.Name}"))) : null;
            case "propertyNames":
                return isObject ? First(value.EnumerateObject().Select(one => Problem(rule, JsonSerializer.SerializeToElement(one.Name), $"{path}, name {one.Name}"))) : null;
            case "allOf":
                return First(rule.EnumerateArray().Select(one => Problem(one, value, path)));
            case "anyOf":
                return rule.EnumerateArray().Any(one => Problem(one, value, path) is null) ? null : $"{path} fits none of its kinds";
            case "not":
                return Problem(rule, value, path) is null ? $"{path} is what it must not be" : null;
            case "if":
                return schema.TryGetProperty(Problem(rule, value, path) is null ? "then" : "else", out JsonElement branch) ? Problem(branch, value, path) : null;
            default:
                throw new NotSupportedException($"the document uses \"{keyword.Name}\", which is not checked here");
        }

        string? Any(IEnumerable<string> types) => types.Any(type => Is(value, type)) ? null : $"{path} is a {value.ValueKind}";
    }

    /// <summary>The schema that a reference names.</summary>
    public JsonElement Resolve(JsonElement reference)
    {
        JsonElement at = document;
        foreach (string step in reference.GetString()!.Split('/').Skip(1))
        {
            at = at.GetProperty(step);
        }

        return at;
    }

    private static bool Is(JsonElement value, string type) => type switch
    {
        "object" => value.ValueKind == JsonValueKind.Object,
        "array" => value.ValueKind == JsonValueKind.Array,
        "string" => value.ValueKind == JsonValueKind.String,
        "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False,
        "null" => value.ValueKind == JsonValueKind.Null,
        "number" => value.ValueKind == JsonValueKind.Number,
        "integer" => value.ValueKind == JsonValueKind.Number
            && (value.TryGetDecimal(out decimal exact) ? decimal.Truncate(exact) == exact : value.TryGetDouble(out double wide) && Math.Truncate(wide) == wide),
        _ => throw new NotSupportedException(type),
    };

    private static bool Same(JsonElement one, JsonElement other) => one.ValueKind == JsonValueKind.Number && other.ValueKind == JsonValueKind.Number
        ? Compare(one, other) == 0
        : JsonElement.DeepEquals(one, other);

    private static int Compare(JsonElement one, JsonElement other) => one.TryGetDecimal(out decimal a) && other.TryGetDecimal(out decimal b)
        ? a.CompareTo(b)
        : one.GetDouble().CompareTo(other.GetDouble());

    private static bool Matches(string text, JsonElement pattern) => Regex.IsMatch(text, pattern.GetString()!.Replace("$", "\\z", StringComparison.Ordinal));

    private static bool Listed(JsonElement schema, string name) => schema.TryGetProperty("properties", out JsonElement properties) && properties.TryGetProperty(name, out _);

    private static string? First(IEnumerable<string?> problems) => problems.FirstOrDefault(problem => problem is not null);
}
