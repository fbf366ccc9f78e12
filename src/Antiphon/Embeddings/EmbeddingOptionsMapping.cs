using System.Text.Json;
using Antiphon.Engine;
using Antiphon.Models;
using Microsoft.Extensions.AI;

namespace Antiphon;

/// <summary>Reads <see cref="EmbeddingGenerationOptions"/>, which stay as they are. What has no effect here is reported in <see cref="Ignored"/>.</summary>
internal sealed class EmbeddingOptionsMapping
{
    private readonly List<string> ignored = [];

    /// <summary>Maps options.</summary>
    /// <param name="options">The options, or null.</param>
    /// <param name="generator">Given to <see cref="EmbeddingGenerationOptions.RawRepresentationFactory"/>.</param>
    /// <param name="defaults">What holds where the options say nothing.</param>
    /// <param name="modelId">The model that answers.</param>
    public EmbeddingOptionsMapping(EmbeddingGenerationOptions? options, IEmbeddingGenerator generator, EmbeddingOptions defaults, string modelId)
    {
        Options = defaults;
        if (options is null)
        {
            return;
        }

        Options = options.RawRepresentationFactory?.Invoke(generator) switch
        {
            null => defaults,
            EmbeddingOptions given => given,
            object other => throw new InvalidRequestException(
                nameof(options.RawRepresentationFactory), $"it returned a {other.GetType().Name}; return an EmbeddingOptions"),
        };
        foreach ((string key, object? value) in options.AdditionalProperties ?? [])
        {
            Options = Additional(key, value);
        }

        Options = Options with { Dimensions = options.Dimensions ?? Options.Dimensions };
        if (options.ModelId is { Length: > 0 } asked && !asked.Equals(modelId, StringComparison.OrdinalIgnoreCase))
        {
            ignored.Add($"ModelId: {asked} (this generator has {modelId})");
        }
    }

    /// <summary>How texts are embedded.</summary>
    public EmbeddingOptions Options { get; }

    /// <summary>Options that have no effect here, each with its reason.</summary>
    public IReadOnlyList<string> Ignored => ignored;

    private EmbeddingOptions Additional(string key, object? value)
    {
        switch (key)
        {
            case "pooling":
                return Options with
                {
                    Pooling = value as Pooling? ?? (Text(value) switch
                    {
                        "mean" => Pooling.Mean,
                        "last" => Pooling.Last,
                        "first" or "cls" => Pooling.First,
                        _ => throw Wrong(key, "mean, last or first"),
                    }),
                };
            case "normalize": return Options with { Normalize = Flag(key, value) };
            case "truncate": return Options with { Truncate = Flag(key, value) };
            case "prompt_name": return Options with { PromptName = Text(value) ?? throw Wrong(key, "a text") };
            case "prompt": return Options with { Prompt = Text(value) ?? throw Wrong(key, "a text") };
            default:
                ignored.Add($"AdditionalProperties: {key} (not known)");
                return Options;
        }
    }

    private static string? Text(object? value) => value switch
    {
        string text => text,
        JsonElement { ValueKind: JsonValueKind.String } element => element.GetString(),
        _ => null,
    };

    private static bool Flag(string key, object? value) => value switch
    {
        bool flag => flag,
        JsonElement { ValueKind: JsonValueKind.True } => true,
        JsonElement { ValueKind: JsonValueKind.False } => false,
        _ => throw Wrong(key, "true or false"),
    };

    private static InvalidRequestException Wrong(string key, string wanted) => new($"AdditionalProperties[\"{key}\"]", $"must be {wanted}");
}
