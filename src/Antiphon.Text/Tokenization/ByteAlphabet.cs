using System.Text;

namespace Antiphon.Text;

/// <summary>
/// The stand-in characters of byte-level vocabularies (GPT-2): printable Latin-1 characters stand for their own byte, and the other
/// 68 bytes, in order, for U+0100 and on.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] Forward = BuildForward();
    private static readonly short[] Backward = BuildBackward();

    /// <summary>The character that stands for a byte.</summary>
    public static char ToCharacter(byte value) => Forward[value];

    /// <summary>The bytes that a token stands for: those of its stand-ins, or its own UTF-8 where a character is none.</summary>
    public static byte[] ToBytes(string token)
    {
        byte[] bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            if (token[i] >= Backward.Length || Backward[token[i]] < 0)
            {
                return Encoding.UTF8.GetBytes(token);
            }

            bytes[i] = (byte)Backward[token[i]];
        }

        return bytes;
    }

    /// <summary>A text with each byte of its UTF-8 written as its stand-in.</summary>
    public static string Write(ReadOnlySpan<char> text)
    {
        byte[] bytes = new byte[Encoding.UTF8.GetByteCount(text)];
        Encoding.UTF8.GetBytes(text, bytes);
        return string.Create(bytes.Length, bytes, (result, source) =>
        {
            for (int i = 0; i < source.Length; i++)
            {
                result[i] = Forward[source[i]];
            }
        });
    }

    private static char[] BuildForward()
    {
        char[] forward = new char[256];
        int next = 0x100;
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is (>= 0x21 and <= 0x7E) or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            forward[value] = (char)(printable ? value : next++);
        }

        return forward;
    }

    private static short[] BuildBackward()
    {
        short[] backward = new short[0x100 + 68];
        Array.Fill(backward, (short)-1);
        for (int value = 0; value < 256; value++)
        {
            backward[Forward[value]] = (short)value;
        }

        return backward;
    }
}
