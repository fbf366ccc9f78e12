using System.Diagnostics.CodeAnalysis;

namespace Antiphon.Text;

/// <summary>
/// Text to token ids and back. Immutable and safe for use by several threads at once.
/// </summary>
/// <remarks>
/// With <c>parseSpecialTokens</c> false, user text cannot become markup: no token of the added vocabulary is recognised
/// in it, special or not (<c>&lt;|im_end|&gt;</c>, <c>&lt;think&gt;</c> and <c>&lt;tool_call&gt;</c> stay plain text), except
/// tokens that are not special and consist of white space alone, which stand for nothing but themselves. The
/// unknown token still stands for what the vocabulary cannot write. With it true every added token is recognised, as Hugging Face's
/// <c>tokenizers</c> does: meant for the output of a chat template.
/// </remarks>
public sealed class Tokenizer
{
    /// <summary>Reads a Hugging Face <c>tokenizer.json</c>.</summary>
    /// <param name="utf8Json">The file's bytes, at most 256 MiB.</param>
    /// <param name="options">What <c>tokenizer_config.json</c> adds; null: nothing.</param>
    /// <exception cref="TokenizerFormatException">The file is malformed, over a limit, or uses a component that is not supported.</exception>
    public static Tokenizer FromTokenizerJson(ReadOnlyMemory<byte> utf8Json, TokenizerOptions? options = null) => throw new NotImplementedException();

    /// <summary>Makes a tokenizer of the vocabulary in a GGUF file.</summary>
    /// <exception cref="TokenizerFormatException">The vocabulary is inconsistent or of a kind that is not supported.</exception>
    public static Tokenizer FromVocabulary(GgufVocabulary vocabulary) => throw new NotImplementedException();

    /// <summary>Number of ids, added tokens included: one more than the greatest id.</summary>
    public int VocabularySize => throw new NotImplementedException();

    /// <summary>The token that begins a text, if the vocabulary has one.</summary>
    public int? BosId => throw new NotImplementedException();

    /// <summary>The token that ends a text, if the vocabulary has one.</summary>
    public int? EosId => throw new NotImplementedException();

    /// <summary>The token that ends a turn, if the vocabulary names one.</summary>
    public int? EotId => throw new NotImplementedException();

    /// <summary>The token for what the vocabulary cannot write, if there is one.</summary>
    public int? UnkId => throw new NotImplementedException();

    /// <summary>The token that fills up, if there is one.</summary>
    public int? PadId => throw new NotImplementedException();

    /// <summary>The tokens that are recognised as a whole, in order of their ids.</summary>
    public IReadOnlyCollection<AddedToken> AddedTokens => throw new NotImplementedException();

    /// <summary>Something that was read in a way that may not be right (an unknown splitting rule, say), in one line; null: nothing.</summary>
    public string? Warning => throw new NotImplementedException();

    /// <summary>The ids of a text.</summary>
    /// <param name="text">Any text; a lone surrogate counts as U+FFFD.</param>
    /// <param name="addSpecialTokens">Whether to put the vocabulary's own tokens around it (BOS, EOS).</param>
    /// <param name="parseSpecialTokens">Whether added tokens that stand in the text are recognised; see the remarks on the class.</param>
    public int[] Encode(string text, bool addSpecialTokens = true, bool parseSpecialTokens = false) => throw new NotImplementedException();

    /// <summary>Appends the ids of a text to a list; else as <see cref="Encode(string, bool, bool)"/>.</summary>
    public void Encode(ReadOnlySpan<char> text, List<int> ids, bool addSpecialTokens, bool parseSpecialTokens) => throw new NotImplementedException();

    /// <summary>The text of ids. Bytes that are not UTF-8 become U+FFFD; an id outside the vocabulary contributes nothing.</summary>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = false) => throw new NotImplementedException();

    /// <summary>A decoder that takes ids one by one.</summary>
    public TokenDecoder CreateDecoder(bool skipSpecialTokens = false) => throw new NotImplementedException();

    /// <summary>The bytes that a token contributes to a text when it is not the first one; empty for an id outside the vocabulary.</summary>
    public ReadOnlyMemory<byte> TokenBytes(int id) => throw new NotImplementedException();

    /// <summary>The token as the vocabulary writes it; empty for an id outside the vocabulary.</summary>
    public string TokenText(int id) => throw new NotImplementedException();

    /// <summary>Whether the token is a control token.</summary>
    public bool IsSpecial(int id) => throw new NotImplementedException();

    /// <summary>The id of a token as the vocabulary or the added vocabulary writes it.</summary>
    public bool TryGetId(string content, [MaybeNullWhen(false)] out int id) => throw new NotImplementedException();
}
