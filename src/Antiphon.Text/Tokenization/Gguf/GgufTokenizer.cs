using System.Text;

namespace Antiphon.Text;

/// <summary>Makes tokenizers of the vocabularies in GGUF files.</summary>
internal static class GgufTokenizer
{
    private const int Unknown = 2, Control = 3, UserDefined = 4;

    private static readonly string[] EndOfTurn =
        ["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "<|return|>"];

    public static TokenizerParts Build(GgufVocabulary vocabulary)
    {
        Check(vocabulary);
        var ids = new Dictionary<string, int>(vocabulary.Tokens.Count, StringComparer.Ordinal);
        for (int id = 0; id < vocabulary.Tokens.Count; id++)
        {
            ids[vocabulary.Tokens[id]] = id;
        }

        AddedToken[] added =
        [
            .. from id in Enumerable.Range(0, vocabulary.Tokens.Count)
               let type = vocabulary.TokenTypes?[id] ?? 1
               where type is Unknown or Control or UserDefined && vocabulary.Tokens[id].Length > 0
               select new AddedToken { Id = id, Content = vocabulary.Tokens[id], Special = type != UserDefined },
        ];

        TokenizerParts parts = vocabulary.Model switch
        {
            "gpt2" => BuildByteLevel(vocabulary, ids, added),
            "llama" => BuildSentencePiece(vocabulary, ids, added),
            string other => throw TokenizerFormatException.NotSupported($"tokenizer.ggml.model '{other}'"),
        };
        return parts with
        {
            EotId = vocabulary.EotId ?? EndOfTurn.Select(text => added.FirstOrDefault(t => t.Content == text)?.Id).FirstOrDefault(id => id is not null),
            PadId = vocabulary.PadId,
        };
    }

    private static void Check(GgufVocabulary vocabulary)
    {
        int count = vocabulary.Tokens.Count;
        if (count is 0 or > 1 << 24)
        {
            throw Bad("tokens", $"has {count} entries; between 1 and {1 << 24} are possible");
        }

        if (vocabulary.TokenTypes is { } types && types.Count != count)
        {
            throw Bad("token_type", $"has {types.Count} entries for {count} tokens");
        }

        if (vocabulary.Scores is { } scores && scores.Count != count)
        {
            throw Bad("scores", $"has {scores.Count} entries for {count} tokens");
        }

        Span<(string Name, int? Id)> named =
        [
            ("bos_token_id", vocabulary.BosId), ("eos_token_id", vocabulary.EosId), ("eot_token_id", vocabulary.EotId),
            ("unknown_token_id", vocabulary.UnkId), ("padding_token_id", vocabulary.PadId),
        ];
        foreach ((string name, int? id) in named)
        {
            if (id is { } value && (uint)value >= (uint)count)
            {
                throw Bad(name, $"is {value}, outside the {count} tokens");
            }
        }
    }

    private static TokenizerFormatException Bad(string key, string what) => new($"tokenizer.ggml.{key} {what}; the file is damaged: convert the model again");

    private static TokenizerParts BuildByteLevel(GgufVocabulary vocabulary, Dictionary<string, int> ids, AddedToken[] added)
    {
        if (vocabulary.Merges is not { } list)
        {
            throw Bad("merges", "is missing, which a gpt2 vocabulary needs");
        }

        GgufPreTokenizer? known = vocabulary.Pre is null ? null : GgufPreTokenizer.Find(vocabulary.Pre);
        GgufPreTokenizer rule = known ?? GgufPreTokenizer.Default;
        string? warning = known is not null ? null
            : vocabulary.Pre is null ? "the file does not say how its tokenizer cuts text into words (tokenizer.ggml.pre); results may be worse: convert the model again"
            : $"tokenizer.ggml.pre '{vocabulary.Pre}' is not known; text is cut by the default rule and results may be worse";

        (Dictionary<string, int> spellable, HashSet<int> unspellable) = Spellable(ids, added);
        var merges = new MergeTable(list.Count);
        for (int rank = 0; rank < list.Count; rank++)
        {
            string merge = list[rank];
            int space = merge.Length < 3 ? -1 : merge.IndexOf(' ', 1);
            if (space < 0)
            {
                throw Bad("merges", $"has at {rank} something that is not a pair");
            }

            // A pair that the vocabulary lacks can be met with in published files, and never applies.
            if (ids.TryGetValue(merge[..space], out int left) && ids.TryGetValue(merge[(space + 1)..], out int right)
                && ids.TryGetValue(string.Concat(merge.AsSpan(0, space), merge.AsSpan(space + 1)), out int result) && !unspellable.Contains(result))
            {
                merges.Add(left, right, rank, result);
            }
        }

        bool addBos = vocabulary.AddBos ?? rule.AddBos;
        return new()
        {
            Tokens = [.. vocabulary.Tokens],
            Ids = ids,
            AddedTokens = added,
            PreTokenizer = new PreTokenizer.Sequence([.. rule.Patterns.Select(p => new PreTokenizer.Split(new(p), PreTokenizer.Behavior.Isolated))]),
            Model = new BpeModel(new() { Vocabulary = spellable, Merges = merges, ByteLevel = true, IgnoreMerges = rule.IgnoreMerges, UnkId = vocabulary.UnkId }),
            Decoder = new() { ByteLevel = true, Raw = added.Select(t => t.Id).ToHashSet() },
            Before = addBos && vocabulary.BosId is { } bos ? [bos] : [],
            After = vocabulary.AddEos is true && vocabulary.EosId is { } eos ? [eos] : [],
            BosId = vocabulary.BosId,
            EosId = vocabulary.EosId,
            UnkId = vocabulary.UnkId,
            Warning = warning,
        };
    }

    private static TokenizerParts BuildSentencePiece(GgufVocabulary vocabulary, Dictionary<string, int> ids, AddedToken[] added)
    {
        if (vocabulary.Scores is null)
        {
            throw Bad("scores", "is missing, which a llama vocabulary needs");
        }

        int? Usual(int? id, int usual) => id ?? (vocabulary.Tokens.Count > 2 ? usual : null);
        int? bos = Usual(vocabulary.BosId, 1);
        int? eos = Usual(vocabulary.EosId, 2);
        int? unk = Usual(vocabulary.UnkId, 0);
        bool spaced = vocabulary.AddSpacePrefix ?? true;
        Normalizer visible = new Normalizer.ReplaceText(" ", "\u2581");
        return new()
        {
            Tokens = [.. vocabulary.Tokens],
            Ids = ids,
            AddedTokens = added,
            Normalizer = spaced ? new Normalizer.Sequence([new Normalizer.Prepend("\u2581"), visible]) : visible,
            Model = new BpeModel(SentencePieceMerges.Build(vocabulary, Spellable(ids, added).Ids, unk)),
            Decoder = new()
            {
                Steps = [new PieceStep.Replace(new Normalizer.ReplaceText("\u2581", " "))],
                ByteFallback = true,
                StripStart = spaced ? 1 : 0,
                Raw = added.Where(t => !t.IsPlainSpace).Select(t => t.Id).ToHashSet(),
            },
            Before = vocabulary.AddBos is not false && bos is { } b ? [b] : [],
            After = vocabulary.AddEos is true && eos is { } e ? [e] : [],
            BosId = bos,
            EosId = eos,
            UnkId = unk,
        };
    }

    private static (Dictionary<string, int> Ids, HashSet<int> Unspellable) Spellable(Dictionary<string, int> ids, AddedToken[] added)
    {
        var spellable = new Dictionary<string, int>(ids, StringComparer.Ordinal);
        var unspellable = new HashSet<int>();
        foreach (AddedToken token in added.Where(t => t.IsUnspellable))
        {
            spellable.Remove(token.Content);
            unspellable.Add(token.Id);
        }

        return (spellable, unspellable);
    }
}
