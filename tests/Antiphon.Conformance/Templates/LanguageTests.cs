using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Antiphon.Testing;
using Antiphon.Text;

namespace Antiphon.Conformance.Templates;

/// <summary>The interpreter against small cases of the language.</summary>
public sealed class LanguageTests
{
    private static readonly TimeSpan Most = TimeSpan.FromSeconds(1);

    private static readonly DateTime Clock = new(2026, 1, 15, 12, 0, 0);

    private static readonly Lazy<Dictionary<string, JsonElement>> All = new(() =>
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(SharedMaterial.Path("templates", "language.json")));
        return document.RootElement.Clone().GetProperty("cases").EnumerateArray().ToDictionary(c => c.GetProperty("name").GetString()!, c => c);
    });

    public static TheoryData<string> Names()
    {
        var names = new TheoryData<string>();
        if (SharedMaterial.TryPath("templates", "language.json") is null)
        {
            names.Add(SharedMaterial.Missing);
            return names;
        }

        foreach (string name in All.Value.Keys)
        {
            names.Add(name);
        }

        return names;
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Does_as_jinja_does(string name)
    {
        _ = SharedMaterial.Path("templates", "language.json");
        JsonElement one = All.Value[name];
        JsonElement expected = one.GetProperty("expected");
        string source = Source(one);
        Dictionary<string, TemplateValue> context = one.TryGetProperty("context", out JsonElement given)
            ? given.EnumerateObject().ToDictionary(p => p.Name, p => TemplateValue.FromJson(p.Value))
            : [];

        ChatTemplate? template = null;
        string? actual = null;
        TemplateException? error = null;
        long bytes = 0;
        TimeSpan time = TimeSpan.MaxValue;

        // Other tests may take the processor away: the fastest of up to three times counts.
        for (int attempt = 0; attempt < 3 && time > Most; attempt++)
        {
            (template, actual, error) = (null, null, null);
            bytes = GC.GetAllocatedBytesForCurrentThread();
            var watch = Stopwatch.StartNew();
            try
            {
                template = ChatTemplate.Compile(source);
                actual = template.RenderWith(context, Clock).Text;
            }
            catch (TemplateException caught)
            {
                error = caught;
            }

            time = watch.Elapsed;
            bytes = GC.GetAllocatedBytesForCurrentThread() - bytes;
        }

        string got = error is null ? $"the text {JsonSerializer.Serialize(actual)}" : $"{error.Kind}: {error.Message}";
        if (expected.ValueKind == JsonValueKind.String)
        {
            Assert.True(actual == expected.GetString(), $"expected {expected.GetRawText()}, got {got}");
        }
        else if (expected.TryGetProperty("limit", out _))
        {
            Assert.True(error is not null || (expected.TryGetProperty("or", out JsonElement or) && actual == or.GetString()), $"expected an error, got {got}");
            Assert.True(time < Most, $"took {time}");
            Assert.True(bytes < 200_000_000, $"made {bytes} bytes ({got})");
        }
        else
        {
            string kind = expected.GetProperty("error").GetString()!;
            bool isSandbox = name.StartsWith("sandbox/", StringComparison.Ordinal);
            Assert.True(error is not null || (isSandbox && actual == ""), $"expected an error ({kind}), got {got}");
            if (kind == "syntax")
            {
                Assert.True(template is null, $"expected a syntax error when compiled, got {got}");
                Assert.Equal(TemplateErrorKind.Syntax, error!.Kind);
            }
            else if (kind == "raise_exception")
            {
                Assert.Equal(TemplateErrorKind.RaisedByTemplate, error!.Kind);
                Assert.Equal(expected.GetProperty("message").GetString(), error.Message);
            }
        }
    }

    private static string Source(JsonElement one)
    {
        if (one.TryGetProperty("template", out JsonElement template))
        {
            return template.GetString()!;
        }

        var source = new StringBuilder();
        foreach (JsonElement part in one.GetProperty("parts").EnumerateArray())
        {
            source.Insert(source.Length, part[0].GetString()!, part[1].GetInt32());
        }

        return source.ToString();
    }
}
