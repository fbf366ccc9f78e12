namespace Antiphon.Text;

/// <summary>Walking over UTF-16 by code points. A lone surrogate counts as itself.</summary>
internal static class CodePoints
{
    /// <summary>The code point at a position and how many units it takes.</summary>
    public static int PointAt(ReadOnlySpan<char> text, int position, out int length)
    {
        char first = text[position];
        if (char.IsHighSurrogate(first) && position + 1 < text.Length && char.IsLowSurrogate(text[position + 1]))
        {
            length = 2;
            return char.ConvertToUtf32(first, text[position + 1]);
        }

        length = 1;
        return first;
    }

    /// <summary>Where the code point before a position begins.</summary>
    public static int Before(ReadOnlySpan<char> text, int position) =>
        position >= 2 && char.IsLowSurrogate(text[position - 1]) && char.IsHighSurrogate(text[position - 2]) ? position - 2 : position - 1;
}
