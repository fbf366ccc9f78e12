namespace Antiphon.Engine;

/// <summary>
/// Lets text through until a stop string is complete, and holds back what could still become one. Of several, the one that is complete first counts, and of those
/// the longest: what a reader of single characters would see, so the result does not depend on where the pieces are cut.
/// </summary>
internal sealed class StopFilter(IReadOnlyList<string> stops)
{
    private readonly string[] stops = [.. stops];
    private string held = "";

    /// <summary>The stop string that was found; null so far.</summary>
    public string? Found { get; private set; }

    /// <summary>Adds text and returns what is certain.</summary>
    public string Append(string text)
    {
        if (stops.Length == 0 || (text.Length == 0 && held.Length == 0))
        {
            return text;
        }

        text = held + text;
        int end = int.MaxValue;
        int start = 0;
        foreach (string stop in stops)
        {
            int at = text.IndexOf(stop, StringComparison.Ordinal);
            if (at >= 0 && (at + stop.Length < end || (at + stop.Length == end && at < start)))
            {
                (start, end, Found) = (at, at + stop.Length, stop);
            }
        }

        int certain = Found is null ? text.Length - Undecided(text) : start;
        held = Found is null ? text[certain..] : "";
        return text[..certain];
    }

    /// <summary>Returns what was held back: nothing follows, or stop strings do not count yet.</summary>
    public string Flush()
    {
        string rest = held;
        held = "";
        return rest;
    }

    // Length of the longest end of the text with which a stop string could begin.
    private int Undecided(string text)
    {
        int longest = 0;
        foreach (string stop in stops)
        {
            for (int length = Math.Min(stop.Length - 1, text.Length); length > longest; length--)
            {
                if (text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length)))
                {
                    longest = length;
                }
            }
        }

        return longest;
    }
}
