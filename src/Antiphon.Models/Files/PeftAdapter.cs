using System.Text.Json;
using System.Text.RegularExpressions;

namespace Antiphon.Models;

/// <summary>A low-rank change to one weight matrix: add <see cref="Scale"/> times B·A to it.</summary>
/// <param name="Module">Name of the module in the base model, such as "model.layers.0.mlp.down_proj"; its weight is that name and ".weight".</param>
/// <param name="A">[rank, input features].</param>
/// <param name="B">[output features, rank].</param>
/// <param name="Scale">Factor of the product.</param>
public readonly record struct LowRankPair(string Module, TensorView A, TensorView B, float Scale);

/// <summary>A LoRA adapter in a PEFT folder: adapter_config.json and adapter_model.safetensors.</summary>
public sealed partial class PeftAdapter : IDisposable
{
    private readonly SafetensorsFile file;

    private PeftAdapter(string path)
    {
        Path = path;
        string configPath = System.IO.Path.Combine(path, "adapter_config.json");
        JsonElement config = JsonFile.ReadObject(configPath);
        if (Word(config, "peft_type") is string kind && kind != "LORA")
        {
            throw new ModelFormatException($"{configPath}: the adapter is of type {kind}, and only LORA is supported");
        }

        foreach (string unsupported in new[] { "use_dora", "lora_bias", "fan_in_fan_out", "use_qalora", "use_bdlora" })
        {
            if (config.TryGetProperty(unsupported, out JsonElement flag) && flag.ValueKind == JsonValueKind.True)
            {
                throw new ModelFormatException($"{configPath}: the adapter has {unsupported}, which is not supported; train or export it as plain LoRA");
            }
        }

        if (Word(config, "bias") is string bias && bias != "none")
        {
            throw new ModelFormatException($"{configPath}: the adapter has bias '{bias}', which is not supported; train or export it as plain LoRA");
        }

        BaseModel = Word(config, "base_model_name_or_path");
        Rank = (int)Number(configPath, config, "r", 1, 1 << 16);
        Alpha = Number(configPath, config, "lora_alpha", 0, 1e9);
        TargetModules = config.TryGetProperty("target_modules", out JsonElement targets) && targets.ValueKind == JsonValueKind.Array
            ? [.. targets.EnumerateArray().Where(t => t.ValueKind == JsonValueKind.String).Select(t => t.GetString()!)]
            : [];
        bool rootScale = config.TryGetProperty("use_rslora", out JsonElement root) && root.ValueKind == JsonValueKind.True;

        file = SafetensorsFile.Open(System.IO.Path.Combine(path, "adapter_model.safetensors"));
        try
        {
            Pairs = ReadPairs(configPath, config, rootScale);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>What the adapter says that it was trained on, or null.</summary>
    public string? BaseModel { get; }

    /// <summary>The rank, unless a module has its own.</summary>
    public int Rank { get; }

    /// <summary>The numerator of the scale, unless a module has its own.</summary>
    public double Alpha { get; }

    /// <summary>Last parts of the names of the changed modules, as the configuration lists them.</summary>
    public IReadOnlyList<string> TargetModules { get; }

    /// <summary>The changes, one a module.</summary>
    public IReadOnlyList<LowRankPair> Pairs { get; }

    /// <summary>Opens a folder.</summary>
    /// <exception cref="ModelFormatException">A file is missing or damaged, or the adapter is of a kind that is not supported.</exception>
    public static PeftAdapter Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return File.Exists(System.IO.Path.Combine(path, "adapter_config.json"))
            ? new PeftAdapter(path)
            : throw new ModelFormatException($"{path}: there is no adapter_config.json, so it is no PEFT adapter; give the folder that holds it");
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();

    private List<LowRankPair> ReadPairs(string configPath, JsonElement config, bool rootScale)
    {
        List<(string Pattern, double Value)> ranks = Patterns(configPath, config, "rank_pattern", 1, 1 << 16);
        List<(string Pattern, double Value)> alphas = Patterns(configPath, config, "alpha_pattern", 0, 1e9);
        var halves = new Dictionary<string, (TensorView? A, TensorView? B)>(StringComparer.Ordinal);
        foreach (TensorView tensor in file.Tensors)
        {
            Match name = TensorName().Match(tensor.Name);
            if (!name.Success)
            {
                throw new ModelFormatException($"{Path}: the adapter holds tensor '{tensor.Name}', which is no lora_A or lora_B weight; only plain LoRA is supported");
            }

            string module = name.Groups["module"].Value;
            (TensorView? a, TensorView? b) = halves.GetValueOrDefault(module);
            halves[module] = name.Groups["half"].Value == "A" ? (tensor, b) : (a, tensor);
        }

        var pairs = new List<LowRankPair>(halves.Count);
        foreach ((string module, (TensorView? a, TensorView? b)) in halves)
        {
            int rank = (int)Value(ranks, module, Rank);
            if (a is not TensorView half || b is not TensorView other || half.Shape.Count != 2 || other.Shape.Count != 2
                || half.Shape[0] != rank || other.Shape[1] != rank)
            {
                throw new ModelFormatException($"{Path}: the adapter's matrices of '{module}' are not [{rank}, inputs] and [outputs, {rank}]; configuration and weights do not belong together: fetch both again");
            }

            double scale = Value(alphas, module, Alpha) / (rootScale ? Math.Sqrt(rank) : rank);
            pairs.Add(new LowRankPair(module, half, other, (float)scale));
        }

        return pairs;
    }

    /// <summary>A pattern names a module by its last parts.</summary>
    private static double Value(List<(string Pattern, double Value)> patterns, string module, double otherwise)
    {
        foreach ((string pattern, double value) in patterns)
        {
            if (module == pattern || module.EndsWith("." + pattern, StringComparison.Ordinal))
            {
                return value;
            }
        }

        return otherwise;
    }

    private static List<(string Pattern, double Value)> Patterns(string path, JsonElement config, string name, double least, double most)
    {
        var patterns = new List<(string, double)>();
        if (config.TryGetProperty(name, out JsonElement map) && map.ValueKind == JsonValueKind.Object)
        {
            foreach (JsonProperty entry in map.EnumerateObject())
            {
                patterns.Add((entry.Name.TrimStart('^'), Number(path, map, entry.Name, least, most)));
            }
        }

        return patterns;
    }

    private static string? Word(JsonElement config, string name) =>
        config.TryGetProperty(name, out JsonElement word) && word.ValueKind == JsonValueKind.String ? word.GetString() : null;

    private static double Number(string path, JsonElement config, string name, double least, double most) =>
        config.TryGetProperty(name, out JsonElement element) && element.ValueKind == JsonValueKind.Number
        && element.TryGetDouble(out double number) && number >= least && number <= most
            ? number
            : throw new ModelFormatException($"{path}: '{name}' is missing or outside {least} to {most}; fetch the file again");

    [GeneratedRegex(@"^(?:base_model\.model\.)?(?<module>.+)\.lora_(?<half>[AB])\.(?:default\.)?weight$", RegexOptions.CultureInvariant)]
    private static partial Regex TensorName();
}
