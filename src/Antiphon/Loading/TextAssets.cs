using System.Text.Json;
using Antiphon.Engine;
using Antiphon.Models;
using Antiphon.Text;

namespace Antiphon;

/// <summary>What a model's files say beside its weights: how text becomes tokens and back, how a conversation is written, when an answer ends.</summary>
internal sealed class TextAssets
{
    /// <summary>Names of tokens that end a turn wherever a vocabulary marks them as control tokens, though its metadata may name only one of them.</summary>
    private static readonly string[] EndOfTurn =
        ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|return|>", "<|call|>", "<|endoftext|>", "<|end_of_text|>", "<|eot|>"];

    private TextAssets(Tokenizer tokenizer, string? templateSource, IEnumerable<int> endTokens, SamplingOptions? sampling, string? name)
    {
        Tokenizer = tokenizer;
        TemplateSource = templateSource;
        Sampling = sampling;
        Name = name;
        var ends = new HashSet<int>(endTokens.Where(t => t >= 0));
        foreach (int? id in (ReadOnlySpan<int?>)[tokenizer.EosId, tokenizer.EotId])
        {
            if (id is { } known)
            {
                ends.Add(known);
            }
        }

        foreach (string text in EndOfTurn)
        {
            if (tokenizer.TryGetId(text, out int id) && tokenizer.IsSpecial(id))
            {
                ends.Add(id);
            }
        }

        EndTokens = ends;
    }

    /// <summary>The tokenizer.</summary>
    public Tokenizer Tokenizer { get; }

    /// <summary>The chat template's source, if there is one.</summary>
    public string? TemplateSource { get; }

    /// <summary>Tokens that end an answer.</summary>
    public IReadOnlyCollection<int> EndTokens { get; }

    /// <summary>The sampling that the files recommend, if they do.</summary>
    public SamplingOptions? Sampling { get; }

    /// <summary>The model's own name, if it has one.</summary>
    public string? Name { get; }

    /// <summary>Reads the assets.</summary>
    /// <exception cref="ModelFormatException">The metadata are damaged.</exception>
    /// <exception cref="TokenizerFormatException">The tokenizer is damaged or of a kind that is not supported.</exception>
    public static TextAssets Read(ModelSource source) => source switch
    {
        GgufFile file => Read(file),
        HuggingFaceFolder folder => Read(folder),
        _ => throw new ModelFormatException($"{source.Path}: {source.GetType().Name} has no tokenizer; give a GGUF file or a Hugging Face folder"),
    };

    private static TextAssets Read(GgufFile file)
    {
        GgufMetadata metadata = file.Metadata;
        int? Id(string key) => metadata.TryGetInt32(key, out int id) ? id : null;
        bool? Flag(string key) => metadata.TryGetBoolean(key, out bool flag) ? flag : null;
        string? Name(string key) => metadata.TryGetString(key, out string? text) ? text : null;
        float? Number(string key) => metadata.TryGetSingle(key, out float number) ? number : null;
        const string Prefix = "tokenizer.ggml.";
        var vocabulary = new GgufVocabulary
        {
            Model = metadata.GetString(Prefix + "model"),
            Pre = Name(Prefix + "pre"),
            Tokens = metadata.GetStringArray(Prefix + "tokens"),
            TokenTypes = metadata.Contains(Prefix + "token_type") ? metadata.GetInt32Array(Prefix + "token_type") : null,
            Scores = metadata.Contains(Prefix + "scores") ? metadata.GetSingleArray(Prefix + "scores") : null,
            Merges = metadata.Contains(Prefix + "merges") ? metadata.GetStringArray(Prefix + "merges") : null,
            BosId = Id(Prefix + "bos_token_id"),
            EosId = Id(Prefix + "eos_token_id"),
            EotId = Id(Prefix + "eot_token_id"),
            UnkId = Id(Prefix + "unknown_token_id"),
            PadId = Id(Prefix + "padding_token_id"),
            AddBos = Flag(Prefix + "add_bos_token"),
            AddEos = Flag(Prefix + "add_eos_token"),
            AddSpacePrefix = Flag(Prefix + "add_space_prefix"),
            RemoveExtraWhitespaces = Flag(Prefix + "remove_extra_whitespaces"),
        };
        SamplingOptions? sampling = Recommended(
            Number("general.sampling.temp"), Number("general.sampling.top_p"), Number("general.sampling.top_k"), Number("general.sampling.min_p"), null);
        return new TextAssets(
            Tokenizer.FromVocabulary(vocabulary), Name("tokenizer.chat_template"), Id(Prefix + "eom_token_id") is { } eom ? [eom] : [], sampling, Name("general.name"));
    }

    private static TextAssets Read(HuggingFaceFolder folder)
    {
        if (folder.TokenizerJson is not { } json)
        {
            throw new ModelFormatException($"{folder.Path}: the folder has no tokenizer.json; fetch it from where the model comes from");
        }

        List<int> ends = [];
        AddIds(folder.Config, ends);
        float? temperature = null, topP = null, topK = null, minP = null, repetition = null;
        if (folder.GenerationConfig is { } generation)
        {
            AddIds(generation, ends);
            temperature = Number(generation, "temperature");
            topP = Number(generation, "top_p");
            topK = Number(generation, "top_k");
            minP = Number(generation, "min_p");
            repetition = Number(generation, "repetition_penalty");
        }

        folder.ChatTemplates.TryGetValue("default", out string? template);
        return new TextAssets(
            Tokenizer.FromTokenizerJson(json, Options(folder.TokenizerConfig)), template, ends, Recommended(temperature, topP, topK, minP, repetition), null);
    }

    private static TokenizerOptions? Options(JsonElement? config)
    {
        if (config is not { ValueKind: JsonValueKind.Object } given)
        {
            return null;
        }

        bool? Flag(string key) => given.TryGetProperty(key, out JsonElement value) && value.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? given.GetProperty(key).GetBoolean() : null;
        return new TokenizerOptions
        {
            BosToken = Content(given, "bos_token"),
            EosToken = Content(given, "eos_token"),
            UnkToken = Content(given, "unk_token"),
            PadToken = Content(given, "pad_token"),
            AddBos = Flag("add_bos_token"),
            AddEos = Flag("add_eos_token"),
        };
    }

    private static string? Content(JsonElement config, string key)
    {
        if (!config.TryGetProperty(key, out JsonElement value))
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Object && value.TryGetProperty("content", out JsonElement content))
        {
            value = content;
        }

        return value.ValueKind == JsonValueKind.String ? value.GetString() : null;
    }

    private static void AddIds(JsonElement config, List<int> ids)
    {
        if (config.ValueKind != JsonValueKind.Object || !config.TryGetProperty("eos_token_id", out JsonElement value))
        {
            return;
        }

        foreach (JsonElement element in value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : (JsonElement[])[value])
        {
            if (element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out int id))
            {
                ids.Add(id);
            }
        }
    }

    private static float? Number(JsonElement config, string key) =>
        config.ValueKind == JsonValueKind.Object && config.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.Number ? value.GetSingle() : null;

    private static SamplingOptions? Recommended(float? temperature, float? topP, float? topK, float? minP, float? repetition)
    {
        if (temperature is null && topP is null && topK is null && minP is null)
        {
            return null;
        }

        return new SamplingOptions
        {
            Temperature = Math.Clamp(temperature ?? 1, 0, 100),
            TopP = topP is > 0 and <= 1 ? topP.Value : 1,
            TopK = topK is > 0 ? (int)Math.Min(topK.Value, int.MaxValue / 2) : 0,
            MinP = minP is >= 0 and <= 1 ? minP.Value : 0,
            RepetitionPenalty = repetition is > 0 and <= 100 ? repetition.Value : 1,
        };
    }
}
