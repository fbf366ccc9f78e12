using System.Globalization;

namespace Antiphon.Text;

/// <summary>What Python takes characters for.</summary>
internal static class PythonCharacters
{
    /// <summary>Python's <c>str.isspace</c> for one character: .NET's notion, and the four information separators.</summary>
    public static bool IsSpace(char c) => c is ' ' or (>= '\t' and <= '\r') or (>= '\x1c' and <= '\x1f') || (c >= 0x80 && char.IsWhiteSpace(c));

    public static ReadOnlySpan<char> Trim(ReadOnlySpan<char> text) => TrimStart(TrimEnd(text));

    public static ReadOnlySpan<char> TrimStart(ReadOnlySpan<char> text)
    {
        int start = 0;
        while (start < text.Length && IsSpace(text[start]))
        {
            start++;
        }

        return text[start..];
    }

    public static ReadOnlySpan<char> TrimEnd(ReadOnlySpan<char> text)
    {
        int end = text.Length;
        while (end > 0 && IsSpace(text[end - 1]))
        {
            end--;
        }

        return text[..end];
    }

    /// <summary>Whether a line ends at a position, and after how many UTF-16 units the next one starts.</summary>
    public static int LineBreakAt(string text, int at) => text[at] switch
    {
        '\r' => at + 1 < text.Length && text[at + 1] == '\n' ? 2 : 1,
        '\n' or '\v' or '\f' or '\x1c' or '\x1d' or '\x1e' or '\x85' or '\u2028' or '\u2029' => 1,
        _ => 0,
    };

    public static bool IsNameStart(string text, int at) => text[at] == '_' || CharUnicodeInfo.GetUnicodeCategory(text, at) is
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter or UnicodeCategory.ModifierLetter
        or UnicodeCategory.OtherLetter or UnicodeCategory.LetterNumber;

    public static bool IsNamePart(string text, int at) => IsNameStart(text, at) || CharUnicodeInfo.GetUnicodeCategory(text, at) is
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.ConnectorPunctuation;
}
