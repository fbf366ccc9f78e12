using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Antiphon.Engine;
using Microsoft.Extensions.AI;

namespace Antiphon;

/// <summary>
/// Reads <see cref="ChatOptions"/>, which stay as they are. What cannot be honoured and would change the answer's meaning is refused; what merely has no
/// effect here is reported in <see cref="Ignored"/>.
/// </summary>
internal sealed class ChatOptionsMapping
{
    private readonly List<string> ignored = [];

    /// <summary>Maps options.</summary>
    /// <param name="options">The options, or null.</param>
    /// <param name="client">Given to <see cref="ChatOptions.RawRepresentationFactory"/>.</param>
    /// <param name="defaults">Sampling where the options say nothing.</param>
    /// <param name="modelId">The model that answers.</param>
    public ChatOptionsMapping(ChatOptions? options, IChatClient client, SamplingOptions defaults, string modelId)
    {
        if (options is null)
        {
            Generation = new GenerationOptions { Sampling = defaults };
            return;
        }

        Refuse(options);
        GenerationOptions start = RawOptions(options, client);
        SamplingOptions sampling = start.Sampling ?? defaults;
        sampling = sampling with
        {
            Temperature = options.Temperature ?? sampling.Temperature,
            TopP = options.TopP ?? sampling.TopP,
            TopK = options.TopK ?? sampling.TopK,
            FrequencyPenalty = options.FrequencyPenalty ?? sampling.FrequencyPenalty,
            PresencePenalty = options.PresencePenalty ?? sampling.PresencePenalty,
        };
        var variables = new Dictionary<string, JsonElement>(start.TemplateVariables);
        bool? thinking = start.Thinking;
        if (options.Reasoning?.Effort is { } effort)
        {
            thinking = effort != ReasoningEffort.None;
            if (effort != ReasoningEffort.None)
            {
                variables["reasoning_effort"] = Text(effort switch { ReasoningEffort.Low => "low", ReasoningEffort.Medium => "medium", _ => "high" });
            }
        }

        ShowReasoning = options.Reasoning?.Output != ReasoningOutput.None;
        Instructions = options.Instructions;
        foreach ((string key, object? value) in options.AdditionalProperties ?? [])
        {
            sampling = Additional(key, value, sampling, variables, ref thinking);
        }

        IReadOnlyList<AITool> tools = options.Tools is null ? start.Tools : [.. options.Tools];
        foreach (AITool tool in tools.Where(t => t is not AIFunctionDeclaration))
        {
            ignored.Add($"Tools: {tool.Name} ({tool.GetType().Name} is not a function)");
        }

        if (options.ModelId is { Length: > 0 } asked && !asked.Equals(modelId, StringComparison.OrdinalIgnoreCase))
        {
            ignored.Add($"ModelId: {asked} (this client has {modelId})");
        }

        Generation = start with
        {
            Sampling = sampling,
            MaxTokens = options.MaxOutputTokens ?? start.MaxTokens,
            StopStrings = options.StopSequences is null ? start.StopStrings : [.. options.StopSequences],
            Seed = options.Seed ?? start.Seed,
            Thinking = thinking,
            TemplateVariables = variables,
            Tools = options.ToolMode is NoneChatToolMode ? [] : tools,
            AllowMultipleToolCalls = options.AllowMultipleToolCalls ?? start.AllowMultipleToolCalls,
        };
    }

    /// <summary>What the engine is asked.</summary>
    public GenerationOptions Generation { get; }

    /// <summary>Text to put in front of the system message.</summary>
    public string? Instructions { get; }

    /// <summary>Whether thoughts are part of the response.</summary>
    public bool ShowReasoning { get; } = true;

    /// <summary>Options that have no effect here, each with its reason.</summary>
    public IReadOnlyList<string> Ignored => ignored;

    private static void Refuse(ChatOptions options)
    {
        if (options.ConversationId is not null)
        {
            throw new ChatFeatureNotSupportedException("ChatOptions.ConversationId", "Antiphon keeps no conversations; send all messages each time (equal beginnings are reused from the cache)");
        }

        if (options.ContinuationToken is not null || options.AllowBackgroundResponses == true)
        {
            throw new ChatFeatureNotSupportedException("ChatOptions.AllowBackgroundResponses", "Antiphon answers in the call itself; leave background responses off");
        }

        if (options.ResponseFormat is ChatResponseFormatJson)
        {
            throw new ChatFeatureNotSupportedException("ChatOptions.ResponseFormat", "this version cannot bind an answer to JSON; ask for JSON in the prompt and leave the format at text");
        }

        if (options.ToolMode is RequiredChatToolMode)
        {
            throw new ChatFeatureNotSupportedException("ChatOptions.ToolMode", "this version cannot force a tool call; use ChatToolMode.Auto or None");
        }
    }

    private static GenerationOptions RawOptions(ChatOptions options, IChatClient client) => options.RawRepresentationFactory?.Invoke(client) switch
    {
        null => new GenerationOptions(),
        GenerationOptions given => given,
        SamplingOptions given => new GenerationOptions { Sampling = given },
        object other => throw new ChatFeatureNotSupportedException(
            "ChatOptions.RawRepresentationFactory", $"it returned a {other.GetType().Name}; return a GenerationOptions or a SamplingOptions"),
    };

    private SamplingOptions Additional(string key, object? value, SamplingOptions sampling, Dictionary<string, JsonElement> variables, ref bool? thinking)
    {
        switch (key)
        {
            case "min_p": return sampling with { MinP = Number(key, value) };
            case "typical_p": return sampling with { TypicalP = Number(key, value) };
            case "top_n_sigma": return sampling with { TopNSigma = Number(key, value) };
            case "repetition_penalty": return sampling with { RepetitionPenalty = Number(key, value) };
            case "repetition_window": return sampling with { RepetitionWindow = (int)Number(key, value) };
            case "dry_multiplier": return sampling with { DryMultiplier = Number(key, value) };
            case "dry_base": return sampling with { DryBase = Number(key, value) };
            case "dry_allowed_length": return sampling with { DryAllowedLength = (int)Number(key, value) };
            case "xtc_probability": return sampling with { XtcProbability = Number(key, value) };
            case "xtc_threshold": return sampling with { XtcThreshold = Number(key, value) };
            case "mirostat": return sampling with { Mirostat = Flag(key, value) };
            case "mirostat_tau": return sampling with { MirostatTau = Number(key, value) };
            case "mirostat_eta": return sampling with { MirostatEta = Number(key, value) };
            case "enable_thinking":
                thinking = Flag(key, value);
                return sampling;
            case "chat_template_kwargs":
                JsonElement given = value is JsonElement element ? element : Serialize(value);
                if (given.ValueKind != JsonValueKind.Object)
                {
                    throw Wrong(key, "an object");
                }

                foreach (JsonProperty property in given.EnumerateObject())
                {
                    variables[property.Name] = property.Value.Clone();
                }

                return sampling;
            default:
                ignored.Add($"AdditionalProperties: {key} (not known)");
                return sampling;
        }
    }

    private static float Number(string key, object? value) => value switch
    {
        JsonElement { ValueKind: JsonValueKind.Number } element => element.GetSingle(),
        IConvertible number and (float or double or decimal or int or long) => number.ToSingle(CultureInfo.InvariantCulture),
        _ => throw Wrong(key, "a number"),
    };

    private static bool Flag(string key, object? value) => value switch
    {
        bool flag => flag,
        JsonElement { ValueKind: JsonValueKind.True } => true,
        JsonElement { ValueKind: JsonValueKind.False } => false,
        _ => throw Wrong(key, "true or false"),
    };

    private static InvalidRequestException Wrong(string key, string wanted) => new($"AdditionalProperties[\"{key}\"]", $"must be {wanted}");

    private static JsonElement Text(string text) => JsonSerializer.SerializeToElement(text, (JsonTypeInfo<string>)AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(string)));

    private static JsonElement Serialize(object? value) => JsonSerializer.SerializeToElement(value, AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(object)));
}
