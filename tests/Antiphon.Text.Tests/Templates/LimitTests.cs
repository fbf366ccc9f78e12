using System.Diagnostics;
using static Antiphon.Text.Tests.Templates.TemplateTesting;

namespace Antiphon.Text.Tests.Templates;

public sealed class LimitTests
{
    [Theory]
    [InlineData("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")]
    [InlineData("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")]
    [InlineData("{{ 'x' * 10 ** 12 }}")]
    [InlineData("{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}")]
    [InlineData("{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}")]
    [InlineData("{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l == ns.l + [] }}{{ ns.l|tojson }}")]
    [InlineData("{% set ns = namespace() %}{% set ns.me = [ns] %}{{ ns }}")]
    [InlineData("{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}")]
    [InlineData("{{ '%999999999d' % 1 }}")]
    [InlineData("{{ range(100001) }}")]
    public void Ends_within_the_limits(string source)
    {
        var watch = Stopwatch.StartNew();
        Assert.Equal(TemplateErrorKind.Limit, Fails(source));
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(5), $"took {watch.Elapsed}");
    }

    [Theory]
    [InlineData("(", ")", "1")]
    [InlineData("[", "]", "1")]
    [InlineData("{1:", "}", "1")]
    [InlineData("not ", "", "1")]
    [InlineData("-", "", "1")]
    [InlineData("x(", ")", "1")]
    [InlineData("1 if ", "", "1")]
    [InlineData("1 if 1 else ", "", "1")]
    public void Deep_expressions_are_refused(string open, string close, string middle)
    {
        string source = "{{ " + string.Concat(Enumerable.Repeat(open, 20_000)) + middle + string.Concat(Enumerable.Repeat(close, 20_000)) + " }}";
        Assert.Contains(Assert.Throws<TemplateException>(() => ChatTemplate.Compile(source)).Kind, new[] { TemplateErrorKind.Limit, TemplateErrorKind.Syntax });
    }

    [Fact]
    public void Deep_blocks_are_refused() => Assert.Equal(
        TemplateErrorKind.Limit,
        Assert.Throws<TemplateException>(() => ChatTemplate.Compile(string.Concat(Enumerable.Repeat("{% if 1 %}", 5000)))).Kind);

    [Fact]
    public void Nested_conditionals_parse_in_linear_time()
    {
        string source = "{{ " + string.Concat(Enumerable.Repeat("(", 60)) + "1" + string.Concat(Enumerable.Repeat(" if true else 2)", 60)) + " }}";
        Assert.Equal("1", Render(source));
    }

    [Fact]
    public void Steps_and_output_can_be_set()
    {
        Assert.Equal(TemplateErrorKind.Limit, Fails("{% for i in range(90000) %}{{ i }}{% endfor %}", limits: new() { MaxSteps = 10_000 }));
        Assert.Equal(TemplateErrorKind.Limit, Fails("{{ 'abcdef' }}", limits: new() { MaxOutputLength = 5 }));
        Assert.Equal(TemplateErrorKind.Limit, Fails("{{ 1 }}", limits: new() { MaxSourceLength = 3 }));
    }
}
