using System.Text.Json;
using Antiphon.Engine;
using Microsoft.Extensions.AI;

namespace Antiphon;

/// <summary>How an answer is generated. Values are checked by the engine, which refuses a request with an <see cref="InvalidRequestException"/> that names the field.</summary>
public sealed record GenerationOptions
{
    /// <summary>How tokens are chosen; null: <see cref="LanguageModel.DefaultSampling"/>.</summary>
    public SamplingOptions? Sampling { get; init; }

    /// <summary>Most tokens to generate, thoughts included, at least 1; null: until the context is full.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Texts that end the answer and are not part of it, at most <see cref="GenerationRequest.MaximumStopStrings"/>.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>Seed of the random draws; null: one is drawn.</summary>
    public long? Seed { get; init; }

    /// <summary>Whether the model may think before it answers, given to the template as <c>enable_thinking</c>; null: as the template does by itself.</summary>
    public bool? Thinking { get; init; }

    /// <summary>Tools that the model may call. Those that are not functions are left out.</summary>
    public IReadOnlyList<AITool> Tools { get; init; } = [];

    /// <summary>Whether the model may call several tools in one answer; if not, the answer ends with the first call.</summary>
    public bool AllowMultipleToolCalls { get; init; } = true;

    /// <summary>Further variables of the chat template, such as <c>reasoning_effort</c>. Their texts are input: they never become control tokens.</summary>
    public IReadOnlyDictionary<string, JsonElement> TemplateVariables { get; init; } = new Dictionary<string, JsonElement>();

    /// <summary>Rank for the engine's <c>priority</c> policy: lower goes first.</summary>
    public int Priority { get; init; }

    /// <summary>Requests share cached prefixes only with requests of the same salt.</summary>
    public string? CacheSalt { get; init; }
}
