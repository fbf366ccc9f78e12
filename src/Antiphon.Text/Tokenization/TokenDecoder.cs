using System.Buffers;
using System.Text;

namespace Antiphon.Text;

/// <summary>
/// Decodes ids as they come. Every piece holds complete characters only: no UTF-8 sequence and no surrogate pair is ever split.
/// All pieces and the last <see cref="Flush"/> together are what <see cref="Tokenizer.Decode"/> gives for all the ids.
/// Not for use by several threads at once.
/// </summary>
public sealed class TokenDecoder
{
    private readonly Tokenizer tokenizer;
    private readonly TokenPieces pieces;
    private readonly bool skipSpecialTokens;

    // Bytes that begin a character whose rest has not come yet: at most three.
    private readonly byte[] pending = new byte[3];
    private int pendingCount;
    private bool started;
    private int strip;

    internal TokenDecoder(Tokenizer tokenizer, TokenPieces pieces, bool skipSpecialTokens)
    {
        this.tokenizer = tokenizer;
        this.pieces = pieces;
        this.skipSpecialTokens = skipSpecialTokens;
        strip = pieces.StripStart;
    }

    /// <summary>Takes one id; returns the text that is complete now, which may be empty. An id outside the vocabulary contributes nothing.</summary>
    public string Append(int id) => Append([id]);

    /// <summary>Takes several ids; returns the text that is complete now, which may be empty.</summary>
    public string Append(ReadOnlySpan<int> ids)
    {
        var bytes = new ArrayBufferWriter<byte>(16 + (ids.Length * 8));
        bytes.Write(pending.AsSpan(0, pendingCount));
        foreach (int id in ids)
        {
            if (!pieces.Exists(id) || (skipSpecialTokens && tokenizer.IsSpecial(id)))
            {
                continue;
            }

            bytes.Write((started ? pieces[id] : pieces.First(id)).Span);
            started = true;
        }

        int held = IncompleteTail(bytes.WrittenSpan);
        bytes.WrittenSpan[^held..].CopyTo(pending);
        pendingCount = held;
        return Stripped(Encoding.UTF8.GetString(bytes.WrittenSpan[..^held]));
    }

    /// <summary>Ends the text: returns what was held back (an incomplete character as U+FFFD) and starts afresh.</summary>
    public string Flush()
    {
        string rest = Stripped(Encoding.UTF8.GetString(pending, 0, pendingCount));
        pendingCount = 0;
        started = false;
        strip = pieces.StripStart;
        return rest;
    }

    private string Stripped(string text)
    {
        int from = 0;
        while (strip > 0 && from < text.Length)
        {
            strip = text[from] == pieces.StripContent ? strip - 1 : 0;
            from += text[from] == pieces.StripContent ? 1 : 0;
        }

        return text[from..];
    }

    // How many bytes at the end begin a character that more bytes may complete.
    private static int IncompleteTail(ReadOnlySpan<byte> bytes)
    {
        for (int tail = 1; tail <= Math.Min(3, bytes.Length); tail++)
        {
            byte lead = bytes[^tail];
            if ((lead & 0xC0) != 0x80)
            {
                return Rune.DecodeFromUtf8(bytes[^tail..], out _, out _) == OperationStatus.NeedMoreData ? tail : 0;
            }
        }

        return 0;
    }
}
