using System.Text.RegularExpressions;
using Antiphon.Text;

namespace Antiphon.Text.Tests.Tokenization;

public class SplitPatternTests
{
    private const string Alphabet = "abcdABxX's  \n\r\t12-é漢!?";

    private static string[] Matches(string pattern, string text)
    {
        var matches = new List<(int Start, int End)>();
        long fuel = SplitPattern.Fuel(text.Length);
        new SplitPattern(pattern).Matches(text, matches, ref fuel);
        return [.. matches.Select(m => text[m.Start..m.End])];
    }

    // On the basic plane .NET's own engine is the oracle.
    [Theory]
    [InlineData(TinyTokenizers.Pattern)]
    [InlineData(@"[A-Z]*[a-z]+|[A-Z]+[a-z]*|\d{1,2}|\s+?|.")]
    [InlineData(@"(?:ab)+c?|(?<=b)\s|(?<!b)\S|\bx\b")]
    [InlineData(@"[^\s\p{L}]{2,}|(?=a)\w+?b|\w++|\W")]
    [InlineData(@"(a|ab)(c|bcd)|(?>a+)b|[\d\-x]+|\n$")]
    public void Matches_are_those_of_dotnet(string pattern)
    {
        var random = new Random(3);
        for (int round = 0; round < 3000; round++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(20)).Select(_ => Alphabet[random.Next(Alphabet.Length)]));
            string atomic = pattern.Replace(@"\w++", @"(?>\w+)", StringComparison.Ordinal);
            string[] expected = [.. Regex.Matches(text, atomic, RegexOptions.Multiline | RegexOptions.CultureInvariant).Select(m => m.Value).Where(v => v.Length > 0)];
            Assert.Equal(expected, Matches(pattern, text));
        }
    }

    [Fact]
    public void Classes_hold_characters_beyond_the_basic_plane()
    {
        Assert.Equal(["a\U00010400\U00020000", "\U0001F600"], Matches(@"\p{L}+|[^\p{L}]", "a\U00010400\U00020000\U0001F600"));
        Assert.Equal(["\U00010400"], Matches(@"[\x{10400}-\x{10410}]", "x\U00010400y"));
    }

    [Fact]
    public void A_pattern_that_runs_away_is_stopped() =>
        Assert.Throws<TokenizerFormatException>(() => Matches(@"(?:a|a)+b", new string('a', 200)));

    [Fact]
    public void A_run_that_leads_nowhere_is_tried_once() => Assert.Empty(Matches("[a-z]+_", new string('a', 1_000_000)));

    [Theory]
    [InlineData("(a")]
    [InlineData("a)")]
    [InlineData("[a")]
    [InlineData("*a")]
    [InlineData(@"a\")]
    [InlineData(@"\p{L")]
    [InlineData("[b-a]")]
    [InlineData("a{3,2}")]
    [InlineData("a{9999}")]
    public void Damaged_patterns_are_refused(string pattern) => Assert.False(Assert.Throws<TokenizerFormatException>(() => new SplitPattern(pattern)).Unsupported);

    [Theory]
    [InlineData(@"\p{Klingon}")]
    [InlineData(@"(a)\1")]
    [InlineData("[a&&b]")]
    [InlineData("(a?)*")]
    [InlineData("(?<name>a)")]
    public void What_is_not_known_is_named(string pattern) => Assert.True(Assert.Throws<TokenizerFormatException>(() => new SplitPattern(pattern)).Unsupported);

    [Fact]
    public void Deep_patterns_are_refused() => Assert.Throws<TokenizerFormatException>(() => new SplitPattern(new string('(', 10_000)));
}
