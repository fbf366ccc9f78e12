using System.Text.Json;

namespace Antiphon.Models;

/// <summary>Reads modules.json, the pipeline of a sentence-transformers folder: a transformer, its pooling, and perhaps a normalisation.</summary>
internal static class SentenceTransformerModules
{
    private const string PoolingMode = "pooling_mode_";

    public static EmbeddingSpec Read(HuggingFaceFolder folder)
    {
        Pooling? pooling = null;
        foreach (JsonElement module in folder.Modules!.Value.EnumerateArray())
        {
            string type = Text(folder, "modules.json", module, "type") ?? throw Damaged(folder, "modules.json", "a module has no type");
            switch (type[(type.LastIndexOf('.') + 1)..])
            {
                case "Transformer" or "Normalize":
                    break;
                case "Pooling" when pooling is null:
                    pooling = ReadPooling(folder, Text(folder, "modules.json", module, "path") ?? "");
                    break;
                default:
                    throw new UnsupportedModelException($"modules.json: a module of type '{type}'");
            }
        }

        JsonElement? settings = folder.Optional("config_sentence_transformers.json");
        var prompts = new Dictionary<string, string>(StringComparer.Ordinal);
        if (settings is { } given && given.TryGetProperty("prompts", out JsonElement table) && table.ValueKind == JsonValueKind.Object)
        {
            foreach (JsonProperty prompt in table.EnumerateObject())
            {
                prompts[prompt.Name] = prompt.Value.ValueKind == JsonValueKind.String
                    ? prompt.Value.GetString()!
                    : throw Damaged(folder, "config_sentence_transformers.json", $"prompt '{prompt.Name}' is no text");
            }
        }

        string? chosen = settings is { } own ? Text(folder, "config_sentence_transformers.json", own, "default_prompt_name") : null;
        if (chosen is not null && !prompts.ContainsKey(chosen))
        {
            throw Damaged(folder, "config_sentence_transformers.json", $"default_prompt_name is '{chosen}', which is no prompt of the file");
        }

        return new EmbeddingSpec { Pooling = pooling, MaxTokens = ReadMaxTokens(folder), Prompts = prompts, DefaultPrompt = chosen };
    }

    private static Pooling ReadPooling(HuggingFaceFolder folder, string path)
    {
        if (path.AsSpan().IndexOfAny("/\\:\0") >= 0 || path is "" or "." or "..")
        {
            throw Damaged(folder, "modules.json", $"the pooling is said to be in '{path}', which is no folder of this one");
        }

        string name = Path.Combine(path, "config.json");
        JsonElement config = folder.Optional(name) ?? throw Damaged(folder, name, "the file is missing");
        List<string> modes = [];
        foreach (JsonProperty property in config.EnumerateObject())
        {
            if (property.Name.StartsWith(PoolingMode, StringComparison.Ordinal) && property.Value.ValueKind == JsonValueKind.True)
            {
                modes.Add(property.Name[PoolingMode.Length..]);
            }
        }

        if (modes.Count == 0 && Text(folder, name, config, "pooling_mode") is { } mode)
        {
            modes.Add(mode);
        }

        if (config.TryGetProperty("include_prompt", out JsonElement include) && include.ValueKind == JsonValueKind.False)
        {
            throw new UnsupportedModelException($"{name}: include_prompt false");
        }

        return modes switch
        {
            ["mean_tokens" or "mean"] => Pooling.Mean,
            ["lasttoken"] => Pooling.Last,
            ["cls_token" or "cls"] => Pooling.First,
            [] => throw Damaged(folder, name, "no pooling mode is set"),
            _ => throw new UnsupportedModelException($"{name}: pooling by {string.Join(" and ", modes)}"),
        };
    }

    private static int? ReadMaxTokens(HuggingFaceFolder folder)
    {
        const string Name = "sentence_bert_config.json";
        if (folder.Optional(Name) is not { } config || !config.TryGetProperty("max_seq_length", out JsonElement value) || value.ValueKind == JsonValueKind.Null)
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int tokens) && tokens > 0
            ? tokens
            : throw Damaged(folder, Name, "max_seq_length is no positive whole number");
    }

    private static string? Text(HuggingFaceFolder folder, string name, JsonElement holder, string field)
    {
        if (holder.ValueKind != JsonValueKind.Object || !holder.TryGetProperty(field, out JsonElement value) || value.ValueKind == JsonValueKind.Null)
        {
            return null;
        }

        return value.ValueKind == JsonValueKind.String ? value.GetString() : throw Damaged(folder, name, $"{field} is no text");
    }

    private static ModelFormatException Damaged(HuggingFaceFolder folder, string name, string what) =>
        new($"{Path.Combine(folder.Path, name)}: {what}; fetch the file again");
}
