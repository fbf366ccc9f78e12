namespace Antiphon.Text;

/// <summary>
/// Vocabularies of SentencePiece take a whole text for one word. Where none of their merges joins a visible space to anything before it but
/// more of the same, cutting the text before each gives the same ids, and short words that a cache knows.
/// </summary>
internal static class Boundary
{
    /// <summary>The visible space, U+2581.</summary>
    public const char Space = '\u2581';

    /// <summary>Whether a token holds a visible space after another character.</summary>
    public static bool IsCrossed(string token)
    {
        int first = token.AsSpan().IndexOfAnyExcept(Space);
        return first >= 0 && token.IndexOf(Space, first) >= 0;
    }
}
