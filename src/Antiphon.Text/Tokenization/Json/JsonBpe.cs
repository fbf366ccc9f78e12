using System.Text.Json;

namespace Antiphon.Text;

/// <summary>The <c>model</c> of kind BPE of a <c>tokenizer.json</c>.</summary>
internal static class JsonBpe
{
    private const int MaxAffix = 64;

    public static BpeSettings Read(JsonComponent model, Dictionary<string, int> ids, List<AddedToken> added, bool byteLevel)
    {
        string prefix = ReadAffix(model, "continuing_subword_prefix");
        string suffix = ReadAffix(model, "end_of_word_suffix");
        int? unk = model.OptionalText("unk_token") is { Length: > 0 } name
            ? ids.TryGetValue(name, out int id) ? id : throw model.Child("unk_token").Bad("is not in the vocabulary")
            : null;

        var spellable = new Dictionary<string, int>(ids, StringComparer.Ordinal);
        var unspellable = new HashSet<int>();
        foreach (AddedToken token in added.Where(t => t.IsUnspellable))
        {
            spellable.Remove(token.Content);
            unspellable.Add(token.Id);
        }

        JsonComponent list = model.Child("merges");
        if (list.Element.ValueKind != JsonValueKind.Array)
        {
            throw list.Bad("is not an array");
        }

        var merges = new MergeTable(list.Element.GetArrayLength());
        bool ignoreMerges = model.Flag("ignore_merges", false);
        bool bounded = !byteLevel && !ignoreMerges && prefix.Length + suffix.Length == 0 && spellable.ContainsKey("\u2581");
        int rank = 0;
        foreach (JsonElement item in list.Element.EnumerateArray())
        {
            (string left, string right) = ReadPair(list, item, rank);
            string joined = right.StartsWith(prefix, StringComparison.Ordinal) ? string.Concat(left, right.AsSpan(prefix.Length)) : left + right;
            if (!ids.TryGetValue(left, out int leftId) || !ids.TryGetValue(right, out int rightId) || !ids.TryGetValue(joined, out int result))
            {
                throw list.Bad($"has at {rank} the pair '{left}' and '{right}', which the vocabulary lacks, or '{joined}'");
            }

            if (!unspellable.Contains(result))
            {
                merges.Add(leftId, rightId, rank, result);
                bounded &= !Boundary.IsCrossed(joined);
            }

            rank++;
        }

        return new()
        {
            Vocabulary = spellable,
            Merges = merges,
            ByteLevel = byteLevel,
            UnkId = unk,
            FuseUnk = model.Flag("fuse_unk", false),
            ByteFallback = model.Flag("byte_fallback", false) ? ReadBytes(ids) : null,
            IgnoreMerges = ignoreMerges,
            Prefix = prefix,
            Suffix = suffix,
            Boundary = bounded ? Boundary.Space : null,
        };
    }

    private static string ReadAffix(JsonComponent model, string name)
    {
        string affix = model.OptionalText(name) ?? "";
        return affix.Length <= MaxAffix ? affix : throw model.Child(name).Bad($"has more than {MaxAffix} characters");
    }

    private static int[] ReadBytes(Dictionary<string, int> ids)
    {
        int[] bytes = new int[256];
        for (int value = 0; value < 256; value++)
        {
            bytes[value] = ids.GetValueOrDefault($"<0x{value:X2}>", -1);
        }

        return bytes;
    }

    // Older files write a pair as one string with a space between.
    private static (string Left, string Right) ReadPair(JsonComponent list, JsonElement item, int index)
    {
        if (item.ValueKind == JsonValueKind.String && item.GetString() is { } text && text.IndexOf(' ') is > 0 and int space && text.IndexOf(' ', space + 1) < 0)
        {
            return (text[..space], text[(space + 1)..]);
        }

        return item.ValueKind == JsonValueKind.Array && item.GetArrayLength() == 2
            && item[0].ValueKind == JsonValueKind.String && item[1].ValueKind == JsonValueKind.String
            ? (item[0].GetString()!, item[1].GetString()!)
            : throw list.Bad($"has at {index} something that is not a pair");
    }
}
