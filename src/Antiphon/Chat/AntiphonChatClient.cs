using System.Runtime.CompilerServices;
using System.Text.Json;
using Antiphon.Engine;
using Microsoft.Extensions.AI;

namespace Antiphon;

/// <summary>
/// A language model as an <see cref="IChatClient"/>. Any number of callers may use one client at once: their requests share the engine's batch, and none
/// changes another's answer. Disposing the client leaves the model alone.
/// </summary>
internal sealed class AntiphonChatClient(SharedLanguageModel shared) : IChatClient
{
    /// <summary>Key in a response's additional properties under which options that had no effect are listed, as a list of strings.</summary>
    internal const string IgnoredKey = "antiphon.ignored_options";


    // The one path: a whole response is its updates put together, so that the two cannot differ.
    public Task<ChatResponse> GetResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken);

    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        LanguageModel model = await shared.GetAsync(cancellationToken).ConfigureAwait(false);
        var mapping = new ChatOptionsMapping(options, this, model.DefaultSampling, model.Name);
        RefuseUnseenTools(model, mapping.Generation.Tools);
        string id = $"chatcmpl-{Guid.NewGuid():N}";
        DateTimeOffset created = DateTimeOffset.UtcNow;
        ChatResponseUpdate Update(params IList<AIContent> contents) => new(ChatRole.Assistant, contents)
        {
            ResponseId = id,
            MessageId = id,
            CreatedAt = created,
            ModelId = model.Name,
        };

        int calls = 0;
        await foreach (AnswerPart part in model.GenerateAsync(WithInstructions(messages, mapping.Instructions), mapping.Generation, cancellationToken).ConfigureAwait(false))
        {
            switch (part.Kind)
            {
                case AnswerPartKind.Text:
                    yield return Update(new TextContent(part.Text));
                    break;
                case AnswerPartKind.Reasoning when mapping.ShowReasoning:
                    yield return Update(new TextReasoningContent(part.Text));
                    break;
                case AnswerPartKind.ToolCall:
                    ToolCall call = part.ToolCall!;
                    yield return Update(new FunctionCallContent($"call_{id[9..17]}_{calls++}", call.Name, Arguments(call.Arguments)));
                    break;
                case AnswerPartKind.End:
                    ChatResponseUpdate last = Update(new UsageContent(new UsageDetails
                    {
                        InputTokenCount = part.Usage.PromptTokens,
                        CachedInputTokenCount = part.Usage.CachedTokens,
                        OutputTokenCount = part.Usage.CompletionTokens,
                        ReasoningTokenCount = part.ReasoningTokens,
                        TotalTokenCount = part.Usage.TotalTokens,
                    }));
                    last.FinishReason = calls > 0 && part.FinishReason == FinishReason.Stop ? ChatFinishReason.ToolCalls
                        : part.FinishReason == FinishReason.Length ? ChatFinishReason.Length : ChatFinishReason.Stop;
                    if (mapping.Ignored.Count > 0)
                    {
                        // Properties of an update with a message's id would be the message's, not the response's.
                        last.MessageId = null;
                        last.AdditionalProperties = new AdditionalPropertiesDictionary { [IgnoredKey] = mapping.Ignored };
                    }

                    yield return last;
                    break;
            }
        }
    }

    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        if (serviceKey is not null)
        {
            return null;
        }

        LanguageModel? model = shared.Current;
        return serviceType == typeof(ChatClientMetadata) ? new ChatClientMetadata("antiphon", null, model?.Name)
            : serviceType == typeof(InferenceEngine) ? model?.Engine
            : serviceType == typeof(LanguageModel) ? model
            : serviceType.IsInstanceOfType(this) ? this : null;
    }

    public void Dispose()
    {
        // The model belongs to who loaded it, and may have other clients.
    }

    /// <summary>A template that does not speak of tools would leave them out of the prompt.</summary>
    private static void RefuseUnseenTools(LanguageModel model, IReadOnlyList<AITool> tools)
    {
        if (tools.Any(t => t is AIFunctionDeclaration) && model.Text.ChatTemplate is { } template && !template.Source.Contains("tools", StringComparison.Ordinal))
        {
            throw new ChatFeatureNotSupportedException("ChatOptions.Tools", "this model's chat template knows no tools; leave them out, or use a model that was trained for them");
        }
    }

    private static IEnumerable<ChatMessage> WithInstructions(IEnumerable<ChatMessage> messages, string? instructions)
    {
        if (string.IsNullOrEmpty(instructions))
        {
            return messages;
        }

        List<ChatMessage> all = [.. messages];
        if (all.Count > 0 && all[0].Role == ChatRole.System)
        {
            // Templates take one system message, the first.
            ChatMessage system = all[0].Clone();
            system.Contents = [new TextContent(instructions + "\n"), .. system.Contents];
            all[0] = system;
        }
        else
        {
            all.Insert(0, new ChatMessage(ChatRole.System, instructions));
        }

        return all;
    }

    private static Dictionary<string, object?> Arguments(JsonElement json)
    {
        var arguments = new Dictionary<string, object?>();
        foreach (JsonProperty property in json.EnumerateObject())
        {
            arguments[property.Name] = property.Value.Clone();
        }

        return arguments;
    }
}
