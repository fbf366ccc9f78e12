using System.Text;
using Antiphon.Text;
using FsCheck;
using FsCheck.Fluent;

namespace Antiphon.Text.Tests.Tokenization;

public class TokenizerProperties
{
    private static readonly Tokenizer Bytes = TinyTokenizers.ByteLevel();
    private static readonly Tokenizer Pieces = Tokenizer.FromVocabulary(TinyTokenizers.SentencePiece());

    // Text of letters, spaces, wide characters, marks and pieces of markup.
    private static readonly Arbitrary<string> Texts = Gen.Elements(
            "the", "a", "aaaa", " ", "  ", "\n", "\r\n", "\t", "é", "e\u0301", "漢", "😀", "\u200D", "123", "'s", "<|end|>", "<think>", "<|", "end|>", "</s>", "\0", "\u2581", "\U00010400")
        .ListOf().Select(parts => string.Concat(parts)).ToArbitrary();

    private static readonly Arbitrary<int[]> Ids = Gen.Choose(-2, 310).ArrayOf().ToArbitrary();

    [Fact]
    public void Decoding_gives_back_what_was_encoded() => Prop.ForAll(Texts, text =>
        Bytes.Decode(Bytes.Encode(text)) == text && Bytes.Decode(Bytes.Encode(text, parseSpecialTokens: true)) == text).Check(Settings);

    [Fact]
    public void User_text_never_yields_special_tokens() => Prop.ForAll(Texts, text =>
        !Bytes.Encode(text, addSpecialTokens: false).Any(id => id is 300 or 301)
        && !Pieces.Encode(text, addSpecialTokens: false).Any(id => Pieces.IsSpecial(id))).Check(Settings);

    [Fact]
    public void A_stream_is_the_whole_and_never_ends_within_a_character() => Prop.ForAll(Ids, Gen.Elements(true, false).ToArbitrary(), (ids, skip) =>
        new[] { Bytes, Pieces }.All(tokenizer =>
        {
            TokenDecoder decoder = tokenizer.CreateDecoder(skip);
            string[] pieces = [.. ids.Select(decoder.Append), decoder.Flush()];
            return string.Concat(pieces) == tokenizer.Decode(ids, skip)
                && pieces.All(piece => piece.EnumerateRunes().Sum(rune => rune.Utf16SequenceLength) == piece.Length
                    && (piece.Length == 0 || !(char.IsHighSurrogate(piece[^1]) || char.IsLowSurrogate(piece[0]))));
        })).Check(Settings);

    [Fact]
    public void Every_character_streams_whole()
    {
        // A byte a token: each character appears when its last byte does, and not before.
        TokenDecoder decoder = Bytes.CreateDecoder();
        foreach (int point in Enumerable.Range(0, 0x110000).Where(p => p % 97 == 0 && Rune.IsValid(p)))
        {
            byte[] utf8 = Encoding.UTF8.GetBytes(new Rune(point).ToString());
            Assert.All(utf8[..^1], value => Assert.Equal("", decoder.Append(value)));
            Assert.Equal(new Rune(point).ToString(), decoder.Append(utf8[^1]));
        }
    }

    [Fact]
    public void Bytes_of_tokens_join_to_the_text() => Prop.ForAll(Texts, text =>
        Encoding.UTF8.GetString([.. Bytes.Encode(text).SelectMany(id => Bytes.TokenBytes(id).ToArray())]) == text).Check(Settings);

    private static Config Settings => Config.QuickThrowOnFailure.WithMaxTest(500);
}
