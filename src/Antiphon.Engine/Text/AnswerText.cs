namespace Antiphon.Engine;

/// <summary>The text of one choice: tokens to characters, characters past the stop strings.</summary>
internal sealed class AnswerText(ITokenTextDecoder decoder, IReadOnlyList<string> stops)
{
    private readonly StopFilter filter = new(stops);

    /// <summary>The stop string that was found; null so far.</summary>
    public string? StopString => filter.Found;

    /// <summary>Adds a token and returns the text that is certain with it.</summary>
    /// <param name="token">The token.</param>
    /// <param name="stopsCount">Whether stop strings count already.</param>
    public string Append(int token, bool stopsCount)
    {
        string text = decoder.Append(token);
        return stopsCount ? filter.Append(text) : text;
    }

    /// <summary>The end of the answer: returns all text that is still held back, unless the end is a stop string.</summary>
    public string Finish() => StopString is null ? filter.Append(decoder.Flush()) + filter.Flush() : "";
}
