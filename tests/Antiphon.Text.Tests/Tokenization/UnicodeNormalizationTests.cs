using System.Text;
using Antiphon.Text;

namespace Antiphon.Text.Tests.Tokenization;

public class UnicodeNormalizationTests
{
    [Theory]
    [InlineData("e\u0301", NormalizationForm.FormC, "\u00E9")]
    [InlineData("\u00E9", NormalizationForm.FormD, "e\u0301")]
    [InlineData("a\u0307\u0323", NormalizationForm.FormC, "\u1EA1\u0307")]
    [InlineData("\u1100\u1161\u11A8", NormalizationForm.FormC, "\uAC01")]
    [InlineData("\uAC01", NormalizationForm.FormD, "\u1100\u1161\u11A8")]
    [InlineData("\uFB01\u2460\uFF21", NormalizationForm.FormKC, "fi1A")]
    [InlineData("\uFB01", NormalizationForm.FormC, "\uFB01")]
    [InlineData("\u212B", NormalizationForm.FormC, "\u00C5")]
    [InlineData("\u0958", NormalizationForm.FormC, "\u0915\u093C")]
    [InlineData("\u0301a", NormalizationForm.FormC, "\u0301a")]
    [InlineData("\u1E9B\u0323", NormalizationForm.FormKC, "\u1E69")]
    public void Forms_are_as_the_standard_has_them(string text, NormalizationForm form, string expected) =>
        Assert.Equal(expected, UnicodeNormalization.Normalize(text, form));

    [Fact]
    public void A_long_run_of_marks_takes_no_quadratic_time()
    {
        string text = "a" + string.Concat(Enumerable.Repeat("\u0301\u0323", 200_000));
        string normal = UnicodeNormalization.Normalize(text, NormalizationForm.FormC);
        Assert.StartsWith("\u1EA1\u0323", normal, StringComparison.Ordinal);
        Assert.EndsWith("\u0301", normal, StringComparison.Ordinal);
    }
}
