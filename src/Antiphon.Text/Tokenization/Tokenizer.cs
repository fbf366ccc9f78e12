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
    private readonly TokenizerParts parts;
    private readonly AddedVocabulary added;
    private readonly TokenPieces pieces;
    private readonly HashSet<int> special;

    internal Tokenizer(TokenizerParts parts)
    {
        this.parts = parts;
        added = new(parts.AddedTokens, parts.Normalizer);
        pieces = new(Written(parts), parts.Decoder);
        special = [.. parts.AddedTokens.Where(t => t.Special).Select(t => t.Id)];
    }

    /// <summary>Reads a Hugging Face <c>tokenizer.json</c>.</summary>
    /// <param name="utf8Json">The file's bytes, at most 256 MiB.</param>
    /// <param name="options">What <c>tokenizer_config.json</c> adds; null: nothing.</param>
    /// <exception cref="TokenizerFormatException">The file is malformed, over a limit, or uses a component that is not supported.</exception>
    public static Tokenizer FromTokenizerJson(ReadOnlyMemory<byte> utf8Json, TokenizerOptions? options = null) =>
        new(TokenizerJson.Read(utf8Json, options ?? new()));

    /// <summary>Makes a tokenizer of the vocabulary in a GGUF file.</summary>
    /// <exception cref="TokenizerFormatException">The vocabulary is inconsistent or of a kind that is not supported.</exception>
    public static Tokenizer FromVocabulary(GgufVocabulary vocabulary)
    {
        ArgumentNullException.ThrowIfNull(vocabulary);
        return new(GgufTokenizer.Build(vocabulary));
    }

    /// <summary>Number of ids, added tokens included: one more than the greatest id.</summary>
    public int VocabularySize => parts.Tokens.Length;

    /// <summary>The token that begins a text, if the vocabulary names one.</summary>
    public int? BosId => parts.BosId;

    /// <summary>The token that ends a text, if the vocabulary names one.</summary>
    public int? EosId => parts.EosId;

    /// <summary>The token that ends a turn, if the vocabulary names one.</summary>
    public int? EotId => parts.EotId;

    /// <summary>The token for what the vocabulary cannot write, if there is one.</summary>
    public int? UnkId => parts.UnkId;

    /// <summary>The token that fills up, if there is one.</summary>
    public int? PadId => parts.PadId;

    /// <summary>The tokens that are recognised as a whole, in order of their ids.</summary>
    public IReadOnlyCollection<AddedToken> AddedTokens => parts.AddedTokens;

    /// <summary>Something that was read in a way that may not be right (an unknown splitting rule, say), in one line; null: nothing.</summary>
    public string? Warning => parts.Warning;

    /// <summary>The ids of a text.</summary>
    /// <param name="text">Any text; a lone surrogate counts as U+FFFD.</param>
    /// <param name="addSpecialTokens">Whether to put the vocabulary's own tokens around it (BOS, EOS).</param>
    /// <param name="parseSpecialTokens">Whether added tokens that stand in the text are recognised; see the remarks on the class.</param>
    /// <exception cref="TokenizerFormatException">A pattern of the tokenizer needs too many steps on this text.</exception>
    public int[] Encode(string text, bool addSpecialTokens = true, bool parseSpecialTokens = false)
    {
        ArgumentNullException.ThrowIfNull(text);
        var ids = new List<int>((text.Length / 3) + 4);
        Encode(text.AsSpan(), ids, addSpecialTokens, parseSpecialTokens);
        return [.. ids];
    }

    /// <summary>Appends the ids of a text to a list; else as <see cref="Encode(string, bool, bool)"/>.</summary>
    public void Encode(ReadOnlySpan<char> text, List<int> ids, bool addSpecialTokens, bool parseSpecialTokens)
    {
        ArgumentNullException.ThrowIfNull(ids);
        if (addSpecialTokens)
        {
            ids.AddRange(parts.Before);
        }

        if (text.Length > 0)
        {
            EncodeRaw(WellFormed(text), ids, parseSpecialTokens);
        }

        if (addSpecialTokens)
        {
            ids.AddRange(parts.After);
        }
    }

    /// <summary>
    /// The text of ids. Bytes that are not UTF-8 become U+FFFD, also within a run of byte tokens, as a stream of them shows
    /// (<c>tokenizers</c> gives up such a run as a whole); an id outside the vocabulary contributes nothing.
    /// </summary>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = false)
    {
        TokenDecoder decoder = CreateDecoder(skipSpecialTokens);
        return decoder.Append(ids) + decoder.Flush();
    }

    /// <summary>A decoder that takes ids one by one.</summary>
    public TokenDecoder CreateDecoder(bool skipSpecialTokens = false) => new(this, pieces, skipSpecialTokens);

    /// <summary>The bytes that a token contributes to a text when it is not the first one; empty for an id outside the vocabulary.</summary>
    public ReadOnlyMemory<byte> TokenBytes(int id) => pieces[id];

    /// <summary>The token as the vocabulary writes it; empty for an id outside the vocabulary.</summary>
    public string TokenText(int id) => pieces.Exists(id) ? parts.Tokens[id]! : "";

    /// <summary>Whether the token is a control token.</summary>
    public bool IsSpecial(int id) => special.Contains(id);

    /// <summary>The id of a token as the vocabulary or the added vocabulary writes it.</summary>
    public bool TryGetId(string content, out int id) => parts.Ids.TryGetValue(content, out id);

    // A token that is looked for in normalised text is also written so.
    private static string?[] Written(TokenizerParts parts)
    {
        string?[] texts = [.. parts.Tokens];
        foreach (AddedToken token in parts.AddedTokens.Where(t => t.Normalized))
        {
            texts[token.Id] = parts.Normalizer?.Apply(token.Content) ?? token.Content;
        }

        return texts;
    }

    private void EncodeRaw(string text, List<int> ids, bool all)
    {
        var found = new List<(int Id, int Start, int End)>();
        added.Split(text, isNormalized: false, all, found);
        foreach ((int id, int start, int end) in found)
        {
            if (id >= 0)
            {
                ids.Add(id);
            }
            else
            {
                string part = start == 0 && end == text.Length ? text : text[start..end];
                EncodeNormalized(parts.Normalizer?.Apply(part) ?? part, start == 0, ids, all);
            }
        }
    }

    private void EncodeNormalized(string text, bool atStart, List<int> ids, bool all)
    {
        var found = new List<(int Id, int Start, int End)>();
        added.Split(text, isNormalized: true, all, found);
        foreach ((int id, int start, int end) in found)
        {
            if (id >= 0)
            {
                ids.Add(id);
                continue;
            }

            var words = new PreTokenizedText(start == 0 && end == text.Length ? text : text[start..end], atStart && start == 0);
            parts.PreTokenizer?.Apply(words);
            foreach ((int from, int to) in words.Words)
            {
                parts.Model.Encode(words.Text.AsSpan(from, to - from), ids);
            }
        }
    }

    // Every step after this may rely on there being no lone surrogate.
    private static string WellFormed(ReadOnlySpan<char> text)
    {
        if (!text.ContainsAnyInRange('\uD800', '\uDFFF'))
        {
            return text.ToString();
        }

        char[] copy = text.ToArray();
        for (int i = 0; i < copy.Length; i++)
        {
            if (char.IsHighSurrogate(copy[i]) && i + 1 < copy.Length && char.IsLowSurrogate(copy[i + 1]))
            {
                i++;
            }
            else if (char.IsSurrogate(copy[i]))
            {
                copy[i] = '\uFFFD';
            }
        }

        return new(copy);
    }
}
