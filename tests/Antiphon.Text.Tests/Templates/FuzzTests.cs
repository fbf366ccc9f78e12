using FsCheck;
using FsCheck.Fluent;
using static Antiphon.Text.Tests.Templates.TemplateTesting;

namespace Antiphon.Text.Tests.Templates;

public sealed class FuzzTests
{
    private static readonly string[] Fragments =
    [
        "{{", "}}", "{%", "%}", "{#", "#}", "{%-", "-%}", " if ", " else ", "{% endif %}", "{% for x in l %}", "{% endfor %}", " elif ", " in ", " not ",
        "{% set x = ", "{% set ns.a = ", "{% macro m(a, b=1) %}", "{% endmacro %}", "m(", "caller()", "{% call m() %}", "{% endcall %}", "loop", "loop.index",
        "x", "l", "d", "ns", "namespace(", "range(", "(", ")", "[", "]", "{", "}", ",", ":", ".", "|", "~", "+", "-", "*", "/", "//", "**", "%", "==", "<", "=",
        "is", "defined", "'", "\"", "'a'", "'%s'", "'{}'", "1", "0", "1.5", "1e400", "9999999999", "none", "true", "tojson", "join", "map", "'upper'", "list",
        "sort", "first", "format", ".format(", ".split(", ".replace(", ".items()", "trim", "indent", "default", "round", "int", "\n", " ", "é", "😀", "\ud800", "\\",
        "{{ x }}", "{{ l|", "{{ d.", "{{ d[", "{{ 'ab'[", "::", "{% if x %}", "{% break %}", "{% raw %}", "{% endraw %}", "{% filter upper %}", "{% endfilter %}",
    ];

    [Fact]
    public void Any_text_is_rendered_or_refused_with_a_typed_error()
    {
        var limits = new TemplateLimits { MaxSteps = 20_000, MaxAllocatedBytes = 4_000_000, MaxOutputLength = 1_000_000 };
        Gen<string> sources = Gen.Elements(Fragments).ArrayOf().Select(string.Concat);
        Prop.ForAll(sources.ToArbitrary(), source => Survives(source, limits)).Check(Config.QuickThrowOnFailure.WithMaxTest(3000).WithEndSize(60));
    }

    [Fact]
    public void Any_expression_is_rendered_or_refused_with_a_typed_error()
    {
        var limits = new TemplateLimits { MaxSteps = 20_000, MaxAllocatedBytes = 4_000_000, MaxOutputLength = 1_000_000 };
        string[] values = ["x", "l", "d", "1", "-1", "2.5", "'ab'", "'%d'", "none", "true", "[1, 'b']", "(1, 2)", "{'k': l}", "range(3)", "nothing", "d.items()", "l|map('string')", "100000000000", "'é😀'"];
        string[] infix = [" + ", " * ", " - ", " / ", " // ", " % ", " ** ", " ~ ", " in ", " == ", " < ", " and ", " or ", " is sameas "];
        string[] suffix =
        [
            "|string", "|list", "|tojson", "|tojson(indent=2)", "|sort", "|join('-')", "|first", "|last", "|length", "|upper", "|title", "|trim", "|indent", "|round(1)", "|int", "|float", "|abs",
            "|unique|list", "|reverse|list", "|map('length')|list", "|select|list", "|groupby('k')|list", "|dictsort", "|batch(2, 0)|list", "|slice(2, 0)|list", "|wordwrap(3)", "|truncate(3)",
            "|urlencode", "|e", "|safe", "|striptags", "|sum", "|min", "|max", "|center(9)", "|default(1)", "|filesizeformat", "|wordcount", "|replace('a', 'bb')", "|format(1, 2)", "|attr('x')",
            "[0]", "[1:]", "[::-1]", "['k']", ".k", ".split()", ".split('b')", ".rsplit(none, 1)", ".zfill(6)", ".partition('a')", ".format(1, 'a')", ".get('k')", ".keys()", ".count('a')", ".find('b')", ".splitlines()", "()",
        ];
        Gen<string> sources =
            from first in Gen.Elements(values)
            from rest in Gen.OneOf(
                Gen.Elements(suffix),
                from op in Gen.Elements(infix) from other in Gen.Elements(values) select op + other).ArrayOf()
            select "{{ " + string.Concat(rest.Take(6).Aggregate(first, (all, next) => $"({all}){next}")) + " }}";
        Prop.ForAll(sources.ToArbitrary(), source => Survives(source, limits)).Check(Config.QuickThrowOnFailure.WithMaxTest(5000).WithEndSize(8));
    }

    private static bool Survives(string source, TemplateLimits limits)
    {
        try
        {
            RenderedPrompt prompt = Prompt(source, """{"x": "a b", "l": [1, "b", null], "d": {"k": 1.5}}""", limits);
            return prompt.Segments.Sum(s => s.Length) == prompt.Text.Length;
        }
        catch (TemplateException)
        {
            return true;
        }
    }
}
