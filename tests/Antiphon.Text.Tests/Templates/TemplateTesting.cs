using System.Text;

namespace Antiphon.Text.Tests.Templates;

internal static class TemplateTesting
{
    public static string Render(string source, string variables = "{}") => Prompt(source, variables).Text;

    public static RenderedPrompt Prompt(string source, string variables = "{}", TemplateLimits? limits = null)
    {
        var values = (DictValue)TemplateValue.FromJson(Encoding.UTF8.GetBytes(variables));
        return ChatTemplate.Compile(source, limits).RenderWith(
            values.Entries.ToDictionary(e => ((StringValue)e.Key).Text, e => e.Value), new DateTime(2026, 1, 15, 12, 0, 0));
    }

    public static TemplateErrorKind Fails(string source, string variables = "{}", TemplateLimits? limits = null) =>
        Assert.Throws<TemplateException>(() => Prompt(source, variables, limits)).Kind;

    /// <summary>The text with input in square quotes.</summary>
    public static string Marked(RenderedPrompt prompt) =>
        string.Concat(prompt.Segments.Select(s => s.IsInput ? $"⟦{prompt.Text.Substring(s.Start, s.Length)}⟧" : prompt.Text.Substring(s.Start, s.Length)));
}
