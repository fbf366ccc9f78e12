using Antiphon.Engine;
using Antiphon.Text;

namespace Antiphon;

/// <summary>A tokenizer as the engine wants to see it.</summary>
internal sealed class TokenizerText(Tokenizer tokenizer, IReadOnlyCollection<int> endTokens) : ITokenText
{
    public IReadOnlyCollection<int> EndTokens => endTokens;

    public ReadOnlySpan<byte> TokenBytes(int token) => tokenizer.TokenBytes(token).Span;

    public ITokenTextDecoder CreateDecoder(bool skipSpecial) => new Decoder(tokenizer.CreateDecoder(skipSpecial));

    private sealed class Decoder(TokenDecoder decoder) : ITokenTextDecoder
    {
        public string Append(int token) => decoder.Append(token);

        public string Flush() => decoder.Flush();
    }
}
