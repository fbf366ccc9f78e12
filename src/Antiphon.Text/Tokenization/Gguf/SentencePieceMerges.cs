using System.Text;

namespace Antiphon.Text;

/// <summary>
/// SentencePiece has scores, not merges: two neighbours merge where together they are a token, the token of the highest score first.
/// Here each way to cut a token in two becomes a merge whose rank is the token's place by score; tokens of equal score share a rank, so that the leftmost goes first.
/// </summary>
internal static class SentencePieceMerges
{
    private const int MaxTokenLength = 512;

    public static BpeSettings Build(GgufVocabulary vocabulary, Dictionary<string, int> spellable, int? unk)
    {
        int[] bytes = new int[256];
        Array.Fill(bytes, -1);
        foreach ((string token, int id) in spellable.ToArray())
        {
            if (TokenPieces.TryByteToken(token, out byte value))
            {
                bytes[value] = id;
                spellable.Remove(token);
            }
        }

        List<string> virtuals = AddVirtual(spellable, vocabulary.Tokens.Count);
        Dictionary<float, int> ranks = Rank(vocabulary.Scores!);
        var pairs = new List<(int Left, int Right, int Rank, int Result)>();
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> find = spellable.GetAlternateLookup<ReadOnlySpan<char>>();
        bool bounded = spellable.ContainsKey("\u2581");
        foreach ((string token, int id) in spellable)
        {
            if (token.Length > MaxTokenLength)
            {
                throw new TokenizerFormatException(
                    $"tokenizer.ggml.tokens has at {id} a token of {token.Length} characters, more than {MaxTokenLength}; the file is damaged: convert the model again");
            }

            if (id >= vocabulary.Tokens.Count)
            {
                continue;
            }

            int before = pairs.Count;
            for (int cut = 1; cut < token.Length; cut++)
            {
                if (find.TryGetValue(token.AsSpan(0, cut), out int left) && find.TryGetValue(token.AsSpan(cut), out int right))
                {
                    pairs.Add((left, right, ranks[vocabulary.Scores![id]], id));
                }
            }

            bounded &= pairs.Count == before || !Boundary.IsCrossed(token);
        }

        var merges = new MergeTable(pairs.Count);
        foreach ((int left, int right, int rank, int result) in pairs)
        {
            merges.Add(left, right, rank, result);
        }

        return new()
        {
            Vocabulary = spellable,
            Merges = merges,
            UnkId = unk,
            ByteFallback = bytes,
            FirstVirtual = vocabulary.Tokens.Count,
            Virtual = virtuals,
            Boundary = bounded ? Boundary.Space : null,
        };
    }

    // Characters that tokens hold but that are no tokens themselves: they merge like any other.
    private static List<string> AddVirtual(Dictionary<string, int> spellable, int first)
    {
        var virtuals = new List<string>();
        foreach (string token in spellable.Keys.ToArray())
        {
            foreach (Rune rune in token.EnumerateRunes())
            {
                string character = rune.ToString();
                if (spellable.TryAdd(character, first + virtuals.Count))
                {
                    virtuals.Add(character);
                }
            }
        }

        return virtuals;
    }

    private static Dictionary<float, int> Rank(IReadOnlyList<float> scores)
    {
        if (scores.Any(float.IsNaN))
        {
            throw new TokenizerFormatException("tokenizer.ggml.scores holds a NaN; the file is damaged: convert the model again");
        }

        float[] distinct = [.. scores.Distinct().OrderDescending()];
        var ranks = new Dictionary<float, int>(distinct.Length);
        for (int i = 0; i < distinct.Length; i++)
        {
            ranks[distinct[i]] = i;
        }

        return ranks;
    }
}
