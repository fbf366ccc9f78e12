using System.IO.Compression;
using System.Text;
using System.Text.Json;
using Antiphon.Testing;
using Antiphon.Text;

namespace Antiphon.Conformance.Templates;

/// <summary>Published templates against what transformers renders with them.</summary>
public sealed class RenderTests
{
    private const int ShownFailures = 5;

    /// <summary>
    /// Lines where Python fails and the engine may render: what the template asks for is well defined there. The reasons stand in docs/templates.md,
    /// under "More lenient than Python".
    /// </summary>
    private static readonly HashSet<(string Template, string Case)> Lenient = [];

    private static readonly Lazy<Dictionary<string, List<JsonElement>>> Renders = new(ReadRenders);
    private static readonly Lazy<(JsonElement Root, Dictionary<string, JsonElement> Cases)> Cases = new(ReadCases);

    public static TheoryData<string> Templates() => SharedMaterial.Entries(path => path.EndsWith(".jinja", StringComparison.Ordinal), "templates");

    [Theory]
    [MemberData(nameof(Templates))]
    public void Renders_as_transformers_does(string name)
    {
        string path = SharedMaterial.Path("templates", name);
        ChatTemplate template = ChatTemplate.Compile(File.ReadAllText(path));
        List<JsonElement> lines = Renders.Value[name];
        var failures = new List<string>();
        foreach (JsonElement line in lines)
        {
            if (Check(template, line) is { } failure)
            {
                failures.Add($"{line.GetProperty("case").GetString()} (generation prompt {line.GetProperty("add_generation_prompt")}): {failure}");
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{lines.Count - failures.Count} of {lines.Count} lines");
        Assert.True(failures.Count == 0, $"{failures.Count} of {lines.Count} lines fail\n" + string.Join('\n', failures.Take(ShownFailures)));
        Assert.NotEmpty(lines);
    }

    /// <summary>The segments of every prompt cover it, and no segment that the template is answerable for holds what only the conversation could bring.</summary>
    [Theory]
    [MemberData(nameof(Templates))]
    public void Marks_what_comes_from_the_conversation(string name)
    {
        ChatTemplate template = ChatTemplate.Compile(File.ReadAllText(SharedMaterial.Path("templates", name)));
        int rendered = 0;
        foreach (JsonElement line in Renders.Value[name].Where(line => line.TryGetProperty("output", out _)))
        {
            RenderedPrompt prompt;
            try
            {
                prompt = template.Render(Spiked(line));
            }
            catch (TemplateException)
            {
                continue;
            }

            int at = 0;
            foreach (PromptSegment segment in prompt.Segments)
            {
                Assert.Equal(at, segment.Start);
                Assert.True(segment.Length > 0);
                at += segment.Length;
                if (!segment.IsInput)
                {
                    Assert.DoesNotContain("\u2603", prompt.Text.Substring(segment.Start, segment.Length), StringComparison.Ordinal);
                }
            }

            Assert.Equal(prompt.Text.Length, at);
            rendered++;
        }

        Assert.True(rendered > 0);
    }

    private static string? Check(ChatTemplate template, JsonElement line)
    {
        string caseName = line.GetProperty("case").GetString()!;
        string templateName = line.GetProperty("template").GetString()!;
        string? actual = null;
        TemplateException? error = null;
        try
        {
            actual = template.Render(Input(line, spike: false)).Text;
        }
        catch (TemplateException caught)
        {
            error = caught;
        }

        if (line.TryGetProperty("output", out JsonElement output))
        {
            string expected = output.GetString()!;
            return error is not null ? $"{error.Kind}: {error.Message} (line {error.Line})"
                : actual == expected ? null
                : Difference(expected, actual!);
        }

        string message = line.GetProperty("error").GetString()!;
        if (line.GetProperty("kind").GetString() == "raise_exception")
        {
            return error is { Kind: TemplateErrorKind.RaisedByTemplate } && error.Message == message ? null
                : $"expected raise_exception '{message}', got {(error is null ? "a text" : $"{error.Kind}: {error.Message}")}";
        }

        return error is not null || Lenient.Contains((templateName, caseName)) ? null : $"expected an error ({message}), got a text";
    }

    private static string Difference(string expected, string actual)
    {
        int at = 0;
        while (at < expected.Length && at < actual.Length && expected[at] == actual[at])
        {
            at++;
        }

        string Around(string text) => JsonSerializer.Serialize(text.Substring(Math.Max(0, at - 20), Math.Min(text.Length - Math.Max(0, at - 20), 80)));
        return $"differs at {at}: expected {Around(expected)}, got {Around(actual)}";
    }

    private static ChatTemplateInput Input(JsonElement line, bool spike)
    {
        JsonElement one = Cases.Value.Cases[line.GetProperty("case").GetString()!];
        TemplateValue Value(JsonElement element) => TemplateValue.FromJson(spike ? Spike(element) : element);
        return new()
        {
            Messages = [.. one.GetProperty("messages").EnumerateArray().Select(Value)],
            Tools = one.TryGetProperty("tools", out JsonElement tools) ? Value(tools) : null,
            Documents = one.TryGetProperty("documents", out JsonElement documents) ? Value(documents) : null,
            AddGenerationPrompt = line.GetProperty("add_generation_prompt").GetBoolean(),
            ContinueFinalMessage = !one.TryGetProperty("continue_final_message", out JsonElement field) || field.ValueKind is JsonValueKind.False or JsonValueKind.Null ? null
                : field.ValueKind == JsonValueKind.True ? "content" : field.GetString(),
            KeepNulls = one.TryGetProperty("keep_nulls", out JsonElement keep) && keep.ValueKind == JsonValueKind.True,
            Variables = line.GetProperty("kwargs").EnumerateObject().ToDictionary(p => p.Name, p => TemplateValue.FromJson(p.Value, trusted: true)),
            Clock = DateTime.Parse(Cases.Value.Root.GetProperty("clock").GetString()!, System.Globalization.CultureInfo.InvariantCulture),
        };
    }

    private static ChatTemplateInput Spiked(JsonElement line) => Input(line, spike: true);

    /// <summary>The element with a snowman, which no template writes, around every text under a key that is no keyword of the format.</summary>
    private static JsonElement Spike(JsonElement element)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            Write(writer, element, null);
        }

        using JsonDocument document = JsonDocument.Parse(buffer.ToArray());
        return document.RootElement.Clone();
    }

    private static void Write(Utf8JsonWriter writer, JsonElement element, string? key)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                writer.WriteStartObject();
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    writer.WritePropertyName(property.Name);
                    Write(writer, property.Value, property.Name);
                }

                writer.WriteEndObject();
                break;
            case JsonValueKind.Array:
                writer.WriteStartArray();
                foreach (JsonElement item in element.EnumerateArray())
                {
                    Write(writer, item, key);
                }

                writer.WriteEndArray();
                break;
            case JsonValueKind.String when key is "content" or "text" or "description" or "title" or "thinking" or "reasoning_content":
                writer.WriteStringValue($"\u2603 {element.GetString()} \u2603");
                break;
            default:
                element.WriteTo(writer);
                break;
        }
    }

    private static Dictionary<string, List<JsonElement>> ReadRenders()
    {
        var renders = new Dictionary<string, List<JsonElement>>();
        using var lines = new StreamReader(new GZipStream(File.OpenRead(SharedMaterial.Path("templates", "renders.jsonl.gz")), CompressionMode.Decompress), Encoding.UTF8);
        while (lines.ReadLine() is { } line)
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement root = document.RootElement.Clone();
            string name = root.GetProperty("template").GetString()!;
            if (!renders.TryGetValue(name, out List<JsonElement>? list))
            {
                renders.Add(name, list = []);
            }

            list.Add(root);
        }

        return renders;
    }

    private static (JsonElement, Dictionary<string, JsonElement>) ReadCases()
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(SharedMaterial.Path("templates", "cases.json")));
        JsonElement root = document.RootElement.Clone();
        return (root, root.GetProperty("cases").EnumerateArray().ToDictionary(c => c.GetProperty("case").GetString()!, c => c));
    }
}
