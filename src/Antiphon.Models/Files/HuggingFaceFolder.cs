using System.Text;
using System.Text.Json;

namespace Antiphon.Models;

/// <summary>
/// A model folder in the form of Hugging Face: config.json, safetensors (one file or shards with an index), and the files of its tokenizer.
/// No code of the folder is ever run, and pickled weights are not read.
/// </summary>
public sealed class HuggingFaceFolder : ModelSource
{
    private const string SingleFile = "model.safetensors";
    private const string IndexFile = "model.safetensors.index.json";
    private const int MaxTokenizerBytes = 512 << 20;
    private readonly List<SafetensorsFile> files = [];
    private readonly List<TensorView> tensors = [];
    private readonly Dictionary<string, TensorView> byName = new(StringComparer.Ordinal);

    private HuggingFaceFolder(string path)
    {
        Path = path;
        Config = JsonFile.ReadObject(At("config.json"));
        GenerationConfig = Optional("generation_config.json");
        TokenizerConfig = Optional("tokenizer_config.json");
        Modules = File.Exists(At("modules.json")) ? JsonFile.ReadArray(At("modules.json")) : null;
        ChatTemplates = ReadChatTemplates();
        if (File.Exists(At("tokenizer.json")))
        {
            TokenizerJson = JsonFile.ReadBytes(At("tokenizer.json"), MaxTokenizerBytes);
        }
    }

    /// <inheritdoc/>
    public override string Path { get; }

    /// <summary>config.json. Non-finite numbers have the form {"__float__": "Infinity"}; <see cref="JsonFile.GetDouble"/> reads it.</summary>
    public JsonElement Config { get; }

    /// <summary>generation_config.json, or null.</summary>
    public JsonElement? GenerationConfig { get; }

    /// <summary>tokenizer_config.json, or null.</summary>
    public JsonElement? TokenizerConfig { get; }

    /// <summary>modules.json, by which sentence-transformers say how embeddings are made, or null.</summary>
    public JsonElement? Modules { get; }

    /// <summary>The bytes of tokenizer.json, or null.</summary>
    public ReadOnlyMemory<byte>? TokenizerJson { get; }

    /// <summary>Chat templates by name; one without a name is "default". From chat_template.jinja, else chat_template.json, else tokenizer_config.json.</summary>
    public IReadOnlyDictionary<string, string> ChatTemplates { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<TensorView> Tensors => tensors;

    /// <inheritdoc/>
    public override long FileBytes => files.Sum(f => f.FileBytes);

    /// <summary>Opens a folder.</summary>
    /// <exception cref="ModelFormatException">A file is missing or damaged.</exception>
    public static HuggingFaceFolder Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!Directory.Exists(path))
        {
            throw new ModelFormatException($"{path}: there is no such folder; check the path");
        }

        if (!File.Exists(System.IO.Path.Combine(path, "config.json")))
        {
            throw new ModelFormatException($"{path}: the folder has no config.json, so it is no Hugging Face model; give the folder that holds config.json, or a .gguf file");
        }

        var folder = new HuggingFaceFolder(path);
        try
        {
            folder.OpenTensors();
            return folder;
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override bool TryGetTensor(string name, out TensorView tensor) => byName.TryGetValue(name, out tensor);

    /// <summary>Whether a folder holds safetensors weights.</summary>
    internal static bool HasWeights(string path) => Directory.EnumerateFiles(path, "*.safetensors").Any() || File.Exists(System.IO.Path.Combine(path, IndexFile));

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            files.ForEach(f => f.Dispose());
            files.Clear();
        }
    }

    private string At(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>A JSON object of the folder, or null when there is no such file.</summary>
    internal JsonElement? Optional(string name) => File.Exists(At(name)) ? JsonFile.ReadObject(At(name)) : null;

    private void OpenTensors()
    {
        if (File.Exists(At(SingleFile)))
        {
            Add(At(SingleFile));
        }
        else if (File.Exists(At(IndexFile)))
        {
            OpenShards();
        }
        else
        {
            string[] found = Directory.GetFiles(Path, "*.safetensors");
            if (found.Length != 1)
            {
                throw new ModelFormatException(
                    Directory.EnumerateFiles(Path, "*.bin").Any()
                        ? $"{Path}: the folder has its weights only as pickled .bin files, which can run code and are not read; fetch or convert to safetensors"
                        : found.Length == 0
                            ? $"{Path}: the folder has config.json but no weights (model.safetensors); fetch them"
                            : $"{Path}: the folder has {found.Length} safetensors files but no {IndexFile}, which says what belongs together; fetch it");
            }

            Add(found[0]);
        }
    }

    private void OpenShards()
    {
        string indexPath = At(IndexFile);
        JsonElement index = JsonFile.ReadObject(indexPath);
        if (!index.TryGetProperty("weight_map", out JsonElement map) || map.ValueKind != JsonValueKind.Object)
        {
            throw new ModelFormatException($"{indexPath}: the file has no weight_map; fetch it again");
        }

        var shardOf = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (JsonProperty entry in map.EnumerateObject())
        {
            string? shard = entry.Value.ValueKind == JsonValueKind.String ? entry.Value.GetString() : null;
            if (shard is null || !shard.EndsWith(".safetensors", StringComparison.Ordinal) || shard.AsSpan().IndexOfAny("/\\:\0") >= 0)
            {
                throw new ModelFormatException($"{indexPath}: tensor '{entry.Name}' is said to be in '{shard}', which is no name of a safetensors file in this folder; fetch the model from a source you trust");
            }

            if (!shardOf.TryAdd(entry.Name, shard))
            {
                throw new ModelFormatException($"{indexPath}: tensor '{entry.Name}' is there twice; fetch the file again");
            }
        }

        string[] shards = [.. shardOf.Values.Distinct().Order(StringComparer.Ordinal)];
        foreach (string shard in shards)
        {
            if (!File.Exists(At(shard)))
            {
                throw new ModelFormatException($"{At(shard)}: this shard of {shards.Length} is missing; fetch it into the folder");
            }

            foreach (TensorView tensor in Add(At(shard)))
            {
                if (shardOf.TryGetValue(tensor.Name, out string? where) && where == shard)
                {
                    shardOf.Remove(tensor.Name);
                }
            }
        }

        foreach ((string name, string shard) in shardOf)
        {
            throw new ModelFormatException($"{At(shard)}: tensor '{name}' should be in this shard and is not; the shards do not belong together: fetch them again");
        }
    }

    private List<TensorView> Add(string path)
    {
        SafetensorsFile file = SafetensorsFile.Open(path);
        files.Add(file);
        foreach (TensorView tensor in file.Tensors)
        {
            if (!byName.TryAdd(tensor.Name, tensor))
            {
                throw new ModelFormatException($"{path}: tensor '{tensor.Name}' is in another shard too; the shards do not belong together: fetch them again");
            }

            tensors.Add(tensor);
        }

        return file.Tensors;
    }

    private Dictionary<string, string> ReadChatTemplates()
    {
        const int MaxBytes = 4 << 20;
        var templates = new Dictionary<string, string>(StringComparer.Ordinal);
        if (File.Exists(At("chat_template.jinja")))
        {
            templates["default"] = Text(At("chat_template.jinja"), JsonFile.ReadBytes(At("chat_template.jinja"), MaxBytes));
            string more = At("additional_chat_templates");
            if (Directory.Exists(more))
            {
                foreach (string file in Directory.GetFiles(more, "*.jinja").Order(StringComparer.Ordinal))
                {
                    templates[System.IO.Path.GetFileNameWithoutExtension(file)] = Text(file, JsonFile.ReadBytes(file, MaxBytes));
                }
            }

            return templates;
        }

        (string path, JsonElement? holder) = Optional("chat_template.json") is JsonElement own ? (At("chat_template.json"), own) : (At("tokenizer_config.json"), TokenizerConfig);
        if (holder is not JsonElement element || !element.TryGetProperty("chat_template", out JsonElement template))
        {
            return templates;
        }

        if (template.ValueKind == JsonValueKind.String)
        {
            templates["default"] = template.GetString()!;
        }
        else if (template.ValueKind == JsonValueKind.Array)
        {
            foreach (JsonElement form in template.EnumerateArray())
            {
                if (form.ValueKind != JsonValueKind.Object
                    || !form.TryGetProperty("name", out JsonElement name) || name.ValueKind != JsonValueKind.String
                    || !form.TryGetProperty("template", out JsonElement text) || text.ValueKind != JsonValueKind.String
                    || !templates.TryAdd(name.GetString()!, text.GetString()!))
                {
                    throw new ModelFormatException($"{path}: chat_template is a list, and an entry has no name and template of its own; correct the file");
                }
            }
        }
        else if (template.ValueKind != JsonValueKind.Null)
        {
            throw new ModelFormatException($"{path}: chat_template is neither text nor a list of named templates; correct the file");
        }

        return templates;
    }

    private static string Text(string path, byte[] bytes)
    {
        try
        {
            return GgufValue.Utf8.GetString(bytes);
        }
        catch (DecoderFallbackException e)
        {
            throw new ModelFormatException($"{path}: the file is not UTF-8 text; fetch it again", e);
        }
    }
}
