namespace Antiphon.Text;

/// <summary>What a chat template is given.</summary>
public sealed class ChatTemplateInput
{
    /// <summary>The conversation: objects with at least <c>role</c> (see <see cref="ChatMessage"/> and <see cref="TemplateValue.FromJson(System.Text.Json.JsonElement, bool)"/>).</summary>
    public required IReadOnlyList<TemplateValue> Messages { get; init; }

    /// <summary>The tools offered, as a list of objects; null when there are none (an empty list is something else).</summary>
    public TemplateValue? Tools { get; init; }

    /// <summary>The documents to ground the answer in, as a list of objects; null when there are none.</summary>
    public TemplateValue? Documents { get; init; }

    /// <summary>Whether the text shall end where the model's answer starts.</summary>
    public bool AddGenerationPrompt { get; init; }

    /// <summary>The field of the last message that the model shall continue (usually <c>content</c>), or null. Not together with <see cref="AddGenerationPrompt"/>.</summary>
    public string? ContinueFinalMessage { get; init; }

    /// <summary>Whether message keys with a null value stay; by default they are dropped.</summary>
    public bool KeepNulls { get; init; }

    /// <summary>
    /// Further variables: special tokens (<c>bos_token</c>, made with <see cref="TemplateValue.Trusted"/>), switches such as <c>enable_thinking</c>.
    /// They override <c>messages</c>, <c>tools</c> and the like where the names meet.
    /// </summary>
    public IReadOnlyDictionary<string, TemplateValue> Variables { get; init; } = new Dictionary<string, TemplateValue>();

    /// <summary>What <c>strftime_now</c> takes for now; null for the machine's local time.</summary>
    public DateTime? Clock { get; init; }
}
