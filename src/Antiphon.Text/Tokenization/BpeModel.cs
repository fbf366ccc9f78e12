using System.Buffers;
using System.Text;

namespace Antiphon.Text;

/// <summary>What a <see cref="BpeModel"/> is made of.</summary>
internal sealed record BpeSettings
{
    /// <summary>Ids by token. Those that stand for control are not in it: text can never spell them.</summary>
    public required Dictionary<string, int> Vocabulary { get; init; }

    public required MergeTable Merges { get; init; }

    /// <summary>Whether the vocabulary writes bytes as stand-in characters (<see cref="ByteAlphabet"/>).</summary>
    public bool ByteLevel { get; init; }

    /// <summary>The token for characters that are not in the vocabulary; null: they are left out.</summary>
    public int? UnkId { get; init; }

    /// <summary>Whether a run of unknown characters is one unknown token.</summary>
    public bool FuseUnk { get; init; }

    /// <summary>Ids of the tokens for single bytes, all 256, that unknown characters fall back to; null: none. -1 for one that is missing.</summary>
    public int[]? ByteFallback { get; init; }

    /// <summary>Whether a word that is a token is taken whole.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>Put before every symbol of a word but the first.</summary>
    public string Prefix { get; init; } = "";

    /// <summary>Put after the last symbol of a word.</summary>
    public string Suffix { get; init; } = "";

    /// <summary>
    /// A character that no merge joins to another character before it, so that text can be cut there without changing the result; null: none.
    /// </summary>
    public char? Boundary { get; init; }

    /// <summary>
    /// Symbols with ids from here on have merges but are no tokens themselves (SentencePiece); they fall back to bytes in the end.
    /// </summary>
    public int FirstVirtual { get; init; } = int.MaxValue;

    /// <summary>The characters of the virtual symbols, from <see cref="FirstVirtual"/> on.</summary>
    public IReadOnlyList<string> Virtual { get; init; } = [];
}

/// <summary>Byte-pair encoding of words (Sennrich et al. 2016, in the forms of GPT-2 and SentencePiece).</summary>
internal sealed class BpeModel
{
    private readonly BpeSettings settings;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> vocabulary;
    private readonly int[]? byteIds;
    private readonly WordCache cache = new();

    public BpeModel(BpeSettings settings)
    {
        this.settings = settings;
        vocabulary = settings.Vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        if (settings is { ByteLevel: true, Prefix: "", Suffix: "", ByteFallback: null })
        {
            int[] ids = new int[256];
            for (int value = 0; value < 256; value++)
            {
                ids[value] = settings.Vocabulary.GetValueOrDefault(ByteAlphabet.ToCharacter((byte)value).ToString(), -1);
            }

            // With a byte missing, the general way does what is to be done about it.
            byteIds = ids.Contains(-1) ? null : ids;
        }
    }

    /// <summary>Appends the ids of a word, which holds no lone surrogate.</summary>
    public void Encode(ReadOnlySpan<char> word, List<int> ids)
    {
        if (settings.Boundary is not { } boundary)
        {
            EncodeWord(word, ids);
            return;
        }

        int start = 0;
        for (int i = 1; i < word.Length; i++)
        {
            if (word[i] == boundary && word[i - 1] != boundary)
            {
                EncodeWord(word[start..i], ids);
                start = i;
            }
        }

        if (start < word.Length)
        {
            EncodeWord(word[start..], ids);
        }
    }

    private void EncodeWord(ReadOnlySpan<char> word, List<int> ids)
    {
        if (word.Length > WordCache.MaxLength)
        {
            EncodeUncached(word, ids);
            return;
        }

        if (cache.TryGet(word, out int slot, out ReadOnlySpan<int> known))
        {
            ids.AddRange(known);
            return;
        }

        int before = ids.Count;
        EncodeUncached(word, ids);
        cache.Put(slot, word, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(ids)[before..]);
    }

    private void EncodeUncached(ReadOnlySpan<char> word, List<int> ids)
    {
        string? written = settings.ByteLevel && (byteIds is null || settings.IgnoreMerges) ? ByteAlphabet.Write(word) : null;
        if (settings.IgnoreMerges && vocabulary.TryGetValue(written ?? word, out int whole))
        {
            ids.Add(whole);
            return;
        }

        // A character is at most three bytes a unit, each of which may be a symbol; and unknown tokens never outnumber characters.
        ReadOnlySpan<char> text = byteIds is null && written is not null ? written : word;
        int[] buffer = ArrayPool<int>.Shared.Rent(checked(text.Length * 3));
        int count = byteIds is not null ? FillBytes(text, buffer) : FillCharacters(text, buffer);
        count = Merger.Merge(settings.Merges, buffer.AsSpan(0, count));
        if (settings.FirstVirtual == int.MaxValue)
        {
            ids.AddRange(buffer.AsSpan(0, count));
        }
        else
        {
            foreach (int symbol in buffer.AsSpan(0, count))
            {
                if (symbol < settings.FirstVirtual)
                {
                    ids.Add(symbol);
                }
                else
                {
                    AddBytes(settings.Virtual[symbol - settings.FirstVirtual], ids);
                }
            }
        }

        ArrayPool<int>.Shared.Return(buffer);
    }

    private void AddBytes(string character, List<int> ids)
    {
        foreach (byte value in Encoding.UTF8.GetBytes(character))
        {
            int id = settings.ByteFallback?[value] ?? -1;
            if (id >= 0 || settings.UnkId is not null)
            {
                ids.Add(id >= 0 ? id : settings.UnkId!.Value);
            }
        }
    }

    private int FillBytes(ReadOnlySpan<char> word, int[] symbols)
    {
        byte[] bytes = ArrayPool<byte>.Shared.Rent(checked(word.Length * 3));
        int count = Encoding.UTF8.GetBytes(word, bytes);
        for (int i = 0; i < count; i++)
        {
            symbols[i] = byteIds![bytes[i]];
        }

        ArrayPool<byte>.Shared.Return(bytes);
        return count;
    }

    private int FillCharacters(ReadOnlySpan<char> word, int[] symbols)
    {
        int count = 0;
        bool unknown = false; // whether an unknown token waits: a run of them may fuse
        scoped Span<char> affixed = stackalloc char[settings.Prefix.Length + 2 + settings.Suffix.Length];
        Span<byte> utf8 = stackalloc byte[4];
        for (int i = 0, length; i < word.Length; i += length)
        {
            CodePoints.PointAt(word, i, out length);
            scoped ReadOnlySpan<char> symbol = word.Slice(i, length);
            string prefix = i > 0 ? settings.Prefix : "";
            string suffix = i + length == word.Length ? settings.Suffix : "";
            if (prefix.Length + suffix.Length > 0)
            {
                prefix.CopyTo(affixed);
                symbol.CopyTo(affixed[prefix.Length..]);
                suffix.CopyTo(affixed[(prefix.Length + length)..]);
                symbol = affixed[..(prefix.Length + length + suffix.Length)];
            }

            if (vocabulary.TryGetValue(symbol, out int id))
            {
                Flush(symbols);
                symbols[count++] = id;
                continue;
            }

            int bytes = symbol.Length == length ? Encoding.UTF8.GetBytes(symbol, utf8) : 0;
            if (bytes > 0 && AllThere(utf8[..bytes]))
            {
                // Fallback bytes do not end a run of unknown characters in tokenizers; they go before it.
                foreach (byte value in utf8[..bytes])
                {
                    symbols[count++] = settings.ByteFallback![value];
                }
            }
            else if (settings.UnkId is not null)
            {
                if (!settings.FuseUnk)
                {
                    Flush(symbols);
                }

                unknown = true;
            }
        }

        Flush(symbols);
        return count;

        void Flush(int[] symbols)
        {
            if (unknown)
            {
                symbols[count++] = settings.UnkId!.Value;
                unknown = false;
            }
        }
    }

    private bool AllThere(ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            if (settings.ByteFallback is null || settings.ByteFallback[value] < 0)
            {
                return false;
            }
        }

        return true;
    }
}
