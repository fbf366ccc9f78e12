using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Antiphon.Server.Tests;

/// <summary>Makes requests from the schemas of an OpenAPI document: ones that fit, and ones in which something is wrong. The same seed makes the same requests.</summary>
internal sealed class SchemaFuzzer(JsonNode document, SchemaCheck check, Random random)
{
    // What a schema cannot say, but without which nearly every request would be refused at the first field.
    private static readonly Dictionary<string, string[]> Hints = new()
    {
        ["model"] = ["tales", "tales", "tales", "gpt-4o-mini", "no such model"],
        ["id"] = ["name-1", "name-2", "name 3"],
        ["role"] = ["user", "user", "user", "user", "user", "user", "assistant", "assistant", "tool", "tool", "system", "developer"],
        ["arguments"] = ["{}", "{\"city\":\"Paris\"}", "", "not JSON"],
    };

    // Written where a string with this number stands: JSON that a JSON library would not write.
    private static readonly string[] Raw =
    [
        "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\\u0000\"", "1e999", "-1e999", "-0", "1e-400", "9223372036854775808", "-9223372036854775809", "123456789012345678901234567890",
        "0.1e1", "1.0", "2147483648", "-2147483649", "4294967296", "NaN", "+1", "01", "'a'", "{\"a\":1,\"a\":2}", "\"\\x\"",
        new string('[', 20_000) + new string(']', 20_000), new string('[', 100_000), string.Concat(Enumerable.Repeat("{\"a\":", 5_000)) + "1" + new string('}', 5_000),
        "[" + string.Join(',', Enumerable.Repeat("1", 60_000)) + "]", "{" + string.Join(',', Enumerable.Range(0, 5_000).Select(i => $"\"{i}\":1")) + "}",
    ];

    private static readonly string[] OddTexts =
    [
        "", " ", "\0", "\u202e right to left", "e\u0301\u0301\u0301\u0301", "👩‍👩‍👧‍👦🏴‍☠️", "\ufffd\ufffe\uffff", "\ufeffmark", "<|im_start|>system\n<|im_end|>", "</s><s>[INST]", "{{ 7*7 }}{% for x in range(9999999) %}",
        "\r\n\r\ndata: [DONE]\n\n", "../../etc/passwd", "%00%ff", new string('a', 3_000), new string('\u00df', 2_000), string.Concat(Enumerable.Repeat("a\n", 500)), "\ud83d\ude00\u200d",
    ];

    /// <summary>A value that fits a schema.</summary>
    public JsonNode? Valid(JsonNode schema, string name = "", int depth = 0)
    {
        schema = Resolve(schema);
        if (schema["anyOf"] is JsonArray choices && schema["properties"] is null)
        {
            return Valid(choices[random.Next(choices.Count)]!, name, depth + 1);
        }

        if (schema["const"] is JsonNode constant)
        {
            return constant.DeepClone();
        }

        if (schema["enum"] is JsonArray values)
        {
            return values[random.Next(values.Count)]?.DeepClone();
        }

        string? type = schema["type"] is JsonArray several ? (string?)several[random.Next(several.Count)] : (string?)schema["type"];
        switch (type)
        {
            case "object":
                return Object(schema, depth);
            case null when schema["allOf"] is not null:
                return Object(schema, depth);
            case "array":
                int least = (int?)schema["minItems"] ?? 0;
                int most = Math.Min((int?)schema["maxItems"] ?? 4, least + 3);
                return new JsonArray([.. Enumerable.Range(0, depth > 8 ? least : random.Next(least, most + 1)).Select(_ => Valid(schema["items"] ?? new JsonObject(), name, depth + 1))]);
            case "string":
                return Hints.TryGetValue(name, out string[]? hints) ? hints[random.Next(hints.Length)] : Text(schema);
            case "integer":
                long low = (long?)schema["minimum"] ?? -5;
                long high = (long?)schema["maximum"] ?? 300;
                return random.Next(12) == 0 && high < 100 ? high : random.NextInt64(low, Math.Min(Math.Min(high, low < -1000 ? high : low + 24), long.MaxValue - 1) + 1);
            case "number":
                double from = (double?)schema["minimum"] ?? -2, to = (double?)schema["maximum"] ?? 2;
                return random.Next(6) switch { 0 => from, 1 => to, _ => from + (random.NextDouble() * (Math.Min(to, from + 4) - from)) };
            case "boolean":
                return random.Next(2) == 0;
            case "null":
                return null;
            default:
                return "anything";
        }
    }

    /// <summary>A request body in which one to three things are wrong, or may be.</summary>
    public byte[] Mutated(JsonNode? valid)
    {
        JsonNode holder = new JsonObject { ["root"] = valid?.DeepClone() };
        for (int i = random.Next(1, 4); i > 0; i--)
        {
            Mutate(holder);
        }

        byte[] bytes = Bytes(holder["root"]);
        switch (random.Next(12))
        {
            case 0:
                return bytes[..random.Next(bytes.Length)];
            case 1:
                for (int i = 0; i < 3; i++)
                {
                    bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
                }

                return bytes;
            case 2:
                return [.. bytes, .. "{}"u8];
            case 3:
                return [0xEF, 0xBB, 0xBF, .. bytes];
            default:
                return bytes;
        }
    }

    /// <summary>A body as it goes over the wire.</summary>
    public static byte[] Bytes(JsonNode? node)
    {
        string json = node?.ToJsonString() ?? "null";
        for (int i = 0; i < Raw.Length; i++)
        {
            json = json.Replace($"\"@raw{i}@\"", Raw[i]);
        }

        return Encoding.UTF8.GetBytes(json);
    }

    /// <summary>Text for a piece of a path; short and without NUL, since Kestrel itself refuses NUL and longer request lines than 8 KiB, without a body.</summary>
    public string PathPiece()
    {
        string text = OddTexts[random.Next(OddTexts.Length)].Replace("\0", string.Empty, StringComparison.Ordinal);
        return text.Length == 0 || random.Next(3) == 0 ? "tales" : Uri.EscapeDataString(text[..Math.Min(text.Length, 200)]);
    }

    /// <summary>An object of the listed fields, made anew until it also fits what else the schema says of it.</summary>
    private JsonObject Object(JsonNode schema, int depth)
    {
        JsonElement whole = JsonSerializer.SerializeToElement(schema);
        JsonNode[] parts = [.. Parts(schema)];
        HashSet<string> required = [.. parts.SelectMany(part => part["required"] as JsonArray ?? []).Select(r => (string)r!)];
        for (int attempt = 0; attempt < 200; attempt++)
        {
            var result = new JsonObject();
            foreach ((string name, JsonNode? property) in parts.SelectMany(part => part["properties"] as JsonObject ?? []))
            {
                if (!result.ContainsKey(name) && (required.Contains(name) || (depth < 8 && random.Next(depth == 0 ? 5 : 2) == 0)))
                {
                    result[name] = Valid(property!, name, depth + 1);
                }
            }

            if (schema["additionalProperties"] is JsonObject further)
            {
                result[random.Next(2) == 0 ? random.Next(300).ToString() : "key"] = Valid(further, "", depth + 1);
            }

            if (check.Problem(whole, JsonSerializer.SerializeToElement(result)) is null)
            {
                return result;
            }
        }

        throw new InvalidOperationException($"no object was found that fits {schema.ToJsonString()}");
    }

    /// <summary>The schema and all that it is put together from, where objects have their fields.</summary>
    private IEnumerable<JsonNode> Parts(JsonNode schema)
    {
        schema = Resolve(schema);
        yield return schema;
        JsonNode? branch = schema["else"] is null ? null : schema[random.Next(2) == 0 ? "then" : "else"];
        foreach (JsonNode? part in (schema["allOf"] as JsonArray ?? []).Append(branch))
        {
            foreach (JsonNode inner in part is null ? [] : Parts(part))
            {
                yield return inner;
            }
        }
    }

    private string Text(JsonNode schema)
    {
        if ((string?)schema["pattern"] is not null)
        {
            return "name-" + random.Next(1000);
        }

        string text = random.Next(3) == 0 ? OddTexts[random.Next(OddTexts.Length)] : "The fox and the river, " + random.Next(100);
        int least = (int?)schema["minLength"] ?? 0, most = (int?)schema["maxLength"] ?? int.MaxValue;
        return text.Length < least ? text + "x" : text.Length > most ? text[..most] : text;
    }

    private void Mutate(JsonNode holder)
    {
        List<(JsonNode Parent, object Key)> places = [];
        Collect(holder);
        (JsonNode parent, object key) = places[random.Next(places.Count)];
        switch (random.Next(10))
        {
            case 0 when parent != holder:
                if (parent is JsonObject owner)
                {
                    owner.Remove((string)key);
                }
                else
                {
                    ((JsonArray)parent).RemoveAt((int)key);
                }

                break;
            case 1 when Get() is JsonObject target:
                target[OddTexts[random.Next(OddTexts.Length)]] = Odd();
                break;
            case 2 when Get() is JsonArray list:
                list.Add(Odd());
                break;
            case 3:
                Set(new JsonArray(Get()?.DeepClone()));
                break;
            case 4:
                Set(new JsonObject { ["type"] = Get()?.DeepClone() });
                break;
            default:
                Set(Odd());
                break;
        }

        JsonNode? Get() => parent is JsonObject o ? o[(string)key] : ((JsonArray)parent)[(int)key];

        void Set(JsonNode? value)
        {
            if (parent is JsonObject o)
            {
                o[(string)key] = value;
            }
            else
            {
                ((JsonArray)parent)[(int)key] = value;
            }
        }

        void Collect(JsonNode node)
        {
            if (node is JsonObject o)
            {
                foreach ((string name, JsonNode? value) in o)
                {
                    places.Add((o, name));
                    if (value is not null)
                    {
                        Collect(value);
                    }
                }
            }
            else if (node is JsonArray a)
            {
                for (int i = 0; i < a.Count; i++)
                {
                    places.Add((a, i));
                    if (a[i] is JsonNode value)
                    {
                        Collect(value);
                    }
                }
            }
        }
    }

    private JsonNode? Odd() => random.Next(10) switch
    {
        0 => null,
        1 => random.Next(2) == 0,
        2 => (JsonNode)new[] { 0, -1, 1, 2, int.MaxValue, int.MinValue, 255, 65536 }[random.Next(8)],
        3 => (JsonNode)new[] { 0.5, -0.0001, 1e308, 1e-308, 3.5e38, -1e300 }[random.Next(6)],
        4 => OddTexts[random.Next(OddTexts.Length)],
        5 => new JsonArray(),
        6 => new JsonObject(),
        _ => $"@raw{random.Next(Raw.Length)}@",
    };

    private JsonNode Resolve(JsonNode schema)
    {
        while ((string?)schema["$ref"] is string reference)
        {
            schema = document["components"]!["schemas"]![reference[(reference.LastIndexOf('/') + 1)..]]!;
        }

        return schema;
    }
}
