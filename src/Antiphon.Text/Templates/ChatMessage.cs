namespace Antiphon.Text;

/// <summary>A message of a conversation, for callers that have no JSON at hand. Its strings are input: they never become control tokens.</summary>
/// <param name="Role">Who speaks: <c>system</c>, <c>user</c>, <c>assistant</c>, <c>tool</c>, or another that the template knows.</param>
/// <param name="Content">The text, or null when <see cref="Parts"/> or tool calls take its place.</param>
public sealed record ChatMessage(string Role, string? Content)
{
    /// <summary>The content as a list of parts (<c>{"type": "text", "text": …}</c>), instead of <see cref="Content"/>.</summary>
    public TemplateValue? Parts { get; init; }

    /// <summary>What the assistant thought before it answered.</summary>
    public string? ReasoningContent { get; init; }

    /// <summary>The calls of an assistant message, as a list of objects.</summary>
    public TemplateValue? ToolCalls { get; init; }

    /// <summary>The call that a tool message answers.</summary>
    public string? ToolCallId { get; init; }

    /// <summary>The name of the speaker or tool.</summary>
    public string? Name { get; init; }

    /// <summary>Further keys, after the others.</summary>
    public IReadOnlyList<KeyValuePair<string, TemplateValue>> Extra { get; init; } = [];

    /// <summary>The message as a value for <see cref="ChatTemplateInput.Messages"/>; keys without a value are left out.</summary>
    public TemplateValue ToTemplateValue()
    {
        var entries = new List<KeyValuePair<string, TemplateValue>> { new("role", TemplateValue.Input(Role)) };
        void Add(string key, TemplateValue? value)
        {
            if (value is not null)
            {
                entries.Add(new(key, value));
            }
        }

        static TemplateValue? Text(string? text) => text is null ? null : TemplateValue.Input(text);
        Add("content", Parts ?? Text(Content));
        Add("reasoning_content", Text(ReasoningContent));
        Add("tool_calls", ToolCalls);
        Add("tool_call_id", Text(ToolCallId));
        Add("name", Text(Name));
        entries.AddRange(Extra);
        return TemplateValue.Dict(entries);
    }
}
