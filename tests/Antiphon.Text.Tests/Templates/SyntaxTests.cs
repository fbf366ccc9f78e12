using static Antiphon.Text.Tests.Templates.TemplateTesting;

namespace Antiphon.Text.Tests.Templates;

public sealed class SyntaxTests
{
    [Theory]
    [InlineData("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc")]
    [InlineData("a \n {%- if true -%} \n b {%- endif %}", "ab")]
    [InlineData("{% raw %}{{ x }}{% endraw %}{# no #}.", "{{ x }}.")]
    [InlineData("{{ '%}' }}{{ {'a': {'b': 1}}.a.b }}", "%}1")]
    [InlineData("a\r\nb\r{{ 1 }}\n", "a\nb\n1")]
    public void White_space_and_tags(string source, string expected) => Assert.Equal(expected, Render(source));

    [Theory]
    [InlineData("{% set n = 0 %}{% for x in [1, 2] %}{% set n = n + x %}{{ n }}{% endfor %}{{ n }}", "120")]
    [InlineData("{% set ns = namespace(n=0) %}{% for x in [1, 2] %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}", "3")]
    [InlineData("{% if true %}{% set a = 1 %}{% endif %}{{ a }}", "1")]
    [InlineData("{% macro f() %}{{ later }}{% endmacro %}{% set later = 1 %}{{ f() }}", "1")]
    [InlineData("{% for x in [1] %}{% macro f() %}{{ x }}{% endmacro %}{{ f() }}{% endfor %}[{{ x }}]", "1[]")]
    [InlineData("{% with a = 1 %}{{ a }}{% endwith %}[{{ a }}]", "1[]")]
    public void Scopes(string source, string expected) => Assert.Equal(expected, Render(source));

    [Theory]
    [InlineData("{% for x in range(4) if x is odd %}{{ loop.index }}/{{ loop.length }}={{ x }} {% endfor %}", "1/2=1 2/2=3 ")]
    [InlineData("{% for x in [] %}a{% else %}none{% endfor %}", "none")]
    [InlineData("{% for x in range(9) %}{% if x == 1 %}{% continue %}{% endif %}{% if x > 2 %}{% break %}{% endif %}{{ x }}{% endfor %}", "02")]
    [InlineData("{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{{ ',' if not loop.last }}{% endfor %}", "b1,a2")]
    [InlineData("{% for n in [[1, [2]], 3] recursive %}{{ loop(n) if n is iterable else n }}{% endfor %}", "123")]
    public void Loops(string source, string expected) => Assert.Equal(expected, Render(source));

    [Theory]
    [InlineData("{% macro f(a, b='B') %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(b=2, a=3) }}", "1B32")]
    [InlineData("{% macro f() %}<{{ caller(1) }}>{% endmacro %}{% call(x) f() %}{{ x }}!{% endcall %}", "<1!>")]
    [InlineData("{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, k=3) }}", "1(2,){'k': 3}")]
    public void Macros(string source, string expected) => Assert.Equal(expected, Render(source));

    [Theory]
    [InlineData("{{ 7 // -2 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }}", "-4 2 3.0 64 4")]
    [InlineData("{{ [1.0, 1e22, 1e-7, -0.0, 123456789.125] }}", "[1.0, 1e+22, 1e-07, -0.0, 123456789.125]")]
    [InlineData("{{ '%05.1f|%-4s|%x' % (3.14159, 'a', 255) }}{{ '{:>4}|{:,}'.format('b', 1234567) }}", "003.1|a   |ff   b|1,234,567")]
    [InlineData("{{ 0.125|round(2) }} {{ '%.2f' % 0.125 }} {{ 2.5|round }}", "0.12 0.12 2.0")]
    [InlineData("{{ 'a😀b'[1] }}{{ 'a😀b'|length }}{{ 'a😀b'[::-1] }}", "😀3b😀a")]
    [InlineData("{{ {'a': [1, none, 'é\"']}|tojson }}{{ {}|tojson(indent=2) }}", "{\"a\": [1, null, \"é\\\"\"]}{}")]
    [InlineData("{{ [3, 1, 2]|sort|join(',') }}{{ ['b', 'A']|sort|first }}{{ [1, 1.0, true]|unique|list }}", "1,2,3A[1]")]
    [InlineData("{{ nothing }}{{ (nothing.x is defined) if nothing is defined else 'no' }}", "no")]
    public void Values(string source, string expected) => Assert.Equal(expected, Render(source));

    [Theory]
    [InlineData("{% if %}")]
    [InlineData("{{ 1 + }}")]
    [InlineData("{% for x in y %}")]
    [InlineData("{{ x|nofilter }}")]
    [InlineData("{{ x is notest }}")]
    [InlineData("{% break %}")]
    [InlineData("{{ 'a")]
    [InlineData("{{ (1] }}")]
    [InlineData("{% macro m(a=1, b) %}{% endmacro %}")]
    public void Bad_syntax_is_found_when_compiled(string source) =>
        Assert.Equal(TemplateErrorKind.Syntax, Assert.Throws<TemplateException>(() => ChatTemplate.Compile(source)).Kind);

    [Fact]
    public void An_error_names_its_line() =>
        Assert.Equal(3, Assert.Throws<TemplateException>(() => ChatTemplate.Compile("a\nb\n{{ 1 + }}\nc")).Line);

    [Fact]
    public void A_filter_that_does_not_exist_may_stand_in_a_branch_not_taken() =>
        Assert.Equal("ok", Render("{% if false %}{{ 1|nofilter }}{% endif %}{{ 'ok' if true else 1|nofilter }}"));

    [Fact]
    public void Raise_exception_carries_its_message()
    {
        var error = Assert.Throws<TemplateException>(() => Render("{{ raise_exception('no ' ~ 1) }}"));
        Assert.Equal(TemplateErrorKind.RaisedByTemplate, error.Kind);
        Assert.Equal("no 1", error.Message);
    }

    [Theory]
    [InlineData("{{ [].append(1) }}", TemplateErrorKind.Security)]
    [InlineData("{{ ''.__class__.x }}", TemplateErrorKind.Security)]
    [InlineData("{% set ns = namespace() %}{% set ns._a = 1 %}", TemplateErrorKind.Security)]
    [InlineData("{{ nothing.x }}", TemplateErrorKind.Undefined)]
    [InlineData("{{ 'a' + 1 }}", TemplateErrorKind.Type)]
    [InlineData("{{ 1 // 0 }}", TemplateErrorKind.Value)]
    public void Errors_have_kinds(string source, TemplateErrorKind kind) => Assert.Equal(kind, Fails(source));
}
