using System.Text;

namespace Antiphon.Engine.Tests;

/// <summary>A small vocabulary: words, letters, and single bytes of characters that are several bytes long.</summary>
internal sealed class FakeText : ITokenText
{
    private readonly byte[][] tokens;

    public FakeText(int size = 48)
    {
        List<byte[]> list = [];
        byte[] emoji = Encoding.UTF8.GetBytes("😀é");
        list.Add([]); // 0 ends
        list.AddRange(emoji.Select(one => new[] { one })); // 1 to 6
        list.AddRange("abcdefgh \n".Select(one => Encoding.UTF8.GetBytes([one])));
        list.AddRange(new[] { "ab", "abc", "the ", "stop", "sto", "p!", "😀", "é!", "bc", "cab" }.Select(Encoding.UTF8.GetBytes));
        while (list.Count < size)
        {
            list.Add(Encoding.UTF8.GetBytes($"w{list.Count} "));
        }

        tokens = [.. list.Take(size)];
    }

    public IReadOnlyCollection<int> EndTokens { get; init; } = [0];

    /// <summary>How many tokens were looked at.</summary>
    public int Looks { get; private set; }

    public ReadOnlySpan<byte> TokenBytes(int token)
    {
        Looks++;
        return tokens[token];
    }

    public int Token(string text) => Array.FindIndex(tokens, token => token.AsSpan().SequenceEqual(Encoding.UTF8.GetBytes(text)));

    public ITokenTextDecoder CreateDecoder(bool skipSpecial) => new Decoder(tokens);

    private sealed class Decoder(byte[][] tokens) : ITokenTextDecoder
    {
        private readonly System.Text.Decoder utf8 = Encoding.UTF8.GetDecoder();

        public string Append(int token) => Decode(tokens[token], false);

        public string Flush() => Decode([], true);

        private string Decode(byte[] bytes, bool flush)
        {
            char[] chars = new char[bytes.Length + 4];
            return new string(chars, 0, utf8.GetChars(bytes, chars, flush));
        }
    }
}
