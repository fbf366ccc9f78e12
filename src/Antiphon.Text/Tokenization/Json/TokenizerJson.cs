using System.Text.Json;

namespace Antiphon.Text;

/// <summary>Reads <c>tokenizer.json</c>, the format of Hugging Face's <c>tokenizers</c>.</summary>
internal static class TokenizerJson
{
    private const int MaxBytes = 256 << 20;

    public static TokenizerParts Read(ReadOnlyMemory<byte> utf8Json, TokenizerOptions options)
    {
        if (utf8Json.Length > MaxBytes)
        {
            throw new TokenizerFormatException($"tokenizer.json has {utf8Json.Length} bytes, more than {MaxBytes}; it is not a tokenizer");
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(utf8Json, new() { MaxDepth = 64 });
            return Read(new JsonComponent(document.RootElement, ""), options);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or OverflowException)
        {
            // InvalidOperationException: a string that is no valid UTF-16.
            throw new TokenizerFormatException($"tokenizer.json cannot be read: {e.Message} Download the model again", e);
        }
    }

    private static TokenizerParts Read(JsonComponent root, TokenizerOptions options)
    {
        JsonComponent model = root.Child("model");
        string type = model.OptionalText("type") ?? "BPE";
        if (type != "BPE")
        {
            throw model.NotSupported($"model {type}");
        }

        bool byteLevel = false;
        Normalizer? normalizer = JsonNormalizers.Read(root.Child("normalizer"));
        PreTokenizer? preTokenizer = JsonPreTokenizers.Read(root.Child("pre_tokenizer"), ref byteLevel);
        (int[] before, int[] after) = JsonPostProcessors.Read(root.Child("post_processor"));
        DecoderSettings decoder = JsonDecoders.Read(root.Child("decoder"));
        List<AddedToken> added = ReadAddedTokens(root);
        Dictionary<string, int> ids = ReadVocabulary(model);
        var bpe = JsonBpe.Read(model, ids, added, byteLevel);

        foreach (AddedToken token in added)
        {
            ids[token.Content] = token.Id;
        }

        string?[] tokens = new string?[Size(root, ids, added)];
        foreach ((string token, int id) in ids)
        {
            tokens[id] = token;
        }

        foreach (AddedToken token in added)
        {
            tokens[token.Id] = token.Content;
        }

        if (before.Concat(after).Any(id => id >= tokens.Length || tokens[id] is null))
        {
            throw root.Child("post_processor").Bad("names an id outside the vocabulary");
        }

        int? bos = Named(options.BosToken, ids) ?? (before is [int b] ? b : null);
        int? eos = Named(options.EosToken, ids) ?? (after is [int e] ? e : null);
        return new()
        {
            Tokens = tokens,
            Ids = ids,
            AddedTokens = added,
            Normalizer = normalizer,
            PreTokenizer = preTokenizer,
            Model = new BpeModel(bpe),
            Decoder = decoder,
            Before = Adjust(before, bos, options.AddBos, atStart: true),
            After = Adjust(after, eos, options.AddEos, atStart: false),
            BosId = bos,
            EosId = eos,
            UnkId = Named(options.UnkToken, ids) ?? bpe.UnkId,
            PadId = Named(options.PadToken, ids),
        };
    }

    private static int? Named(string? token, Dictionary<string, int> ids) =>
        token is null ? null
        : ids.TryGetValue(token, out int id) ? id
        : throw new TokenizerFormatException($"tokenizer_config.json names the token '{token}', which tokenizer.json does not have; the two files belong to different models");

    private static int[] Adjust(int[] ids, int? id, bool? wanted, bool atStart)
    {
        bool there = id is { } sought && ids.Contains(sought);
        return (wanted, there) switch
        {
            (true, false) when id is { } missing => atStart ? [missing, .. ids] : [.. ids, missing],
            (false, true) => [.. ids.Where(i => i != id)],
            _ => ids,
        };
    }

    private static List<AddedToken> ReadAddedTokens(JsonComponent root)
    {
        var added = new Dictionary<int, AddedToken>();
        foreach (JsonComponent item in root.Items("added_tokens"))
        {
            var token = new AddedToken
            {
                Id = item.Number("id"),
                Content = item.Text("content"),
                Special = item.Flag("special", false),
                SingleWord = item.Flag("single_word", false),
                LeftStrip = item.Flag("lstrip", false),
                RightStrip = item.Flag("rstrip", false),
                Normalized = item.Flag("normalized", !item.Flag("special", false)),
            };
            if (token.Content.Length > 4096)
            {
                throw item.Bad($"has a content of {token.Content.Length} characters");
            }

            if (token.Content.Length > 0)
            {
                added[token.Id] = token;
            }
        }

        return [.. added.Values.OrderBy(t => t.Id)];
    }

    private static Dictionary<string, int> ReadVocabulary(JsonComponent model)
    {
        JsonComponent vocabulary = model.Child("vocab");
        if (vocabulary.Element.ValueKind != JsonValueKind.Object)
        {
            throw vocabulary.Bad("is not an object");
        }

        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (JsonProperty entry in vocabulary.Element.EnumerateObject())
        {
            ids[entry.Name] = entry.Value.ValueKind == JsonValueKind.Number && entry.Value.TryGetInt32(out int id) && id >= 0
                ? id
                : throw vocabulary.Bad($"gives '{entry.Name}' an id that is not a whole number that fits");
        }

        return ids;
    }

    // Ids may leave gaps, but not so that a small file asks for a large table.
    private static int Size(JsonComponent root, Dictionary<string, int> ids, List<AddedToken> added)
    {
        int greatest = Math.Max(ids.Count == 0 ? -1 : ids.Values.Max(), added.Count == 0 ? -1 : added[^1].Id);
        return greatest < (8L * ids.Count) + 65_536 ? greatest + 1 : throw root.Child("model").Child("vocab").Bad($"has {ids.Count} tokens but an id {greatest}");
    }
}
