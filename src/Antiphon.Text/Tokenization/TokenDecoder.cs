namespace Antiphon.Text;

/// <summary>
/// Decodes ids as they come. Every piece holds complete characters only: no UTF-8 sequence and no surrogate pair is ever split.
/// All pieces and the last <see cref="Flush"/> together are what <see cref="Tokenizer.Decode"/> gives for all the ids.
/// </summary>
public sealed class TokenDecoder
{
    /// <summary>Takes one id; returns the text that is complete now, which may be empty.</summary>
    public string Append(int id) => throw new NotImplementedException();

    /// <summary>Ends the text: returns what was held back (an incomplete character as U+FFFD) and starts afresh.</summary>
    public string Flush() => throw new NotImplementedException();
}
