namespace Antiphon.Text;

/// <summary>What happens to a conversation before a template sees it, and to the text when its last message is to be continued.</summary>
internal static class Conversation
{
    /// <summary>Stands where the text of the message to continue ends, until the text is cut there.</summary>
    private const string Tag = "CONTINUE_FINAL_MESSAGE_TAG ";

    /// <summary>The names that templates have for reasoning, the one that counts first.</summary>
    private static readonly string[] ReasoningNames = ["reasoning_content", "thinking", "reasoning"];

    /// <summary>Roles that are no user's text: the template may compare them or print them as its own.</summary>
    private static readonly string[] KnownRoles =
        ["system", "user", "assistant", "tool", "developer", "function", "model", "ipython"];

    /// <exception cref="TemplateException">Of kind Input.</exception>
    public static ListValue Prepare(ChatTemplateInput input, string source)
    {
        if (input.Messages.Count == 0)
        {
            throw Error("the conversation is empty: give at least one message");
        }

        if (input.ContinueFinalMessage is not null && input.AddGenerationPrompt)
        {
            throw Error("a final message cannot be continued and a new answer be started at once: use either");
        }

        var messages = new TemplateValue[input.Messages.Count];
        for (int i = 0; i < messages.Length; i++)
        {
            messages[i] = input.Messages[i] is DictValue message
                ? Prepare(message, input.KeepNulls)
                : throw Error($"message {i} is not an object");
        }

        if (input.ContinueFinalMessage is { } field)
        {
            messages[^1] = Mark((DictValue)messages[^1], field, source);
        }

        return new(messages);
    }

    /// <summary>Cuts the text where the tag stands.</summary>
    /// <exception cref="TemplateException">Of kind Input: the template has dropped the message.</exception>
    public static StringValue Cut(StringValue text, ListValue messages, string field)
    {
        string final = (FinalText((DictValue)messages.Items[^1], field) ?? Tag)[..^Tag.Length];
        string tag = Tag.TrimEnd();
        int at = text.Text.LastIndexOf(tag, StringComparison.Ordinal);
        if (at < 0 || !text.Text.Contains(PythonCharacters.Trim(final).ToString(), StringComparison.Ordinal))
        {
            throw Error("the final message does not appear in the rendered text, and so cannot be continued: the template drops or changes it");
        }

        bool keepsSpace = string.CompareOrdinal(text.Text, at, Tag, 0, Tag.Length) == 0;
        return text.Slice(0, keepsSpace ? at : PythonCharacters.TrimEnd(text.Text.AsSpan(0, at)).Length);
    }

    private static DictValue Prepare(DictValue message, bool keepNulls)
    {
        TemplateValue? reasoning = ReasoningNames.Select(message.Get).FirstOrDefault(value => value is not null and not NoneValue);
        var prepared = new DictValue();
        if (reasoning is not null)
        {
            prepared.Set(StringValue.Of("thinking"), reasoning);
        }

        foreach ((TemplateValue key, TemplateValue value) in message.Entries)
        {
            if (value is NoneValue && !keepNulls)
            {
                continue;
            }

            bool isRole = key is StringValue { Text: "role" } && value is StringValue { Origin.HasInput: true };
            prepared.Set(key, isRole && KnownRoles.Contains(((StringValue)value).Text) ? StringValue.Of(((StringValue)value).Text) : value);
        }

        if (reasoning is not null)
        {
            prepared.Set(StringValue.Of("reasoning_content"), reasoning);
        }

        return prepared;
    }

    /// <summary>The last message with the tag behind the text to continue.</summary>
    private static DictValue Mark(DictValue message, string field, string source)
    {
        TemplateValue value = message.Get(field) ?? throw Error($"the final message has no field '{field}' to continue");
        string[] names = ReasoningNames.Contains(field) ? ReasoningNames : [field];
        if (!names.Any(name => source.Contains(name, StringComparison.Ordinal)))
        {
            throw Error($"the template does not use the field '{field}', which is to be continued");
        }

        TemplateValue marked = MarkValue(value) ?? throw Error($"the field '{field}' holds no text that could be continued");
        var result = new DictValue();
        foreach ((TemplateValue key, TemplateValue old) in message.Entries)
        {
            bool isField = key is StringValue s && (s.Text == field
                || (names.Length > 1 && names.Contains(s.Text) && ValueComparer.AreEqual(old, value)));
            result.Set(key, isField ? marked : old);
        }

        return result;
    }

    private static TemplateValue? MarkValue(TemplateValue value)
    {
        switch (value)
        {
            case StringValue text:
                return StringValue.Of(text.Text + Tag, isInput: true);
            case ListValue list:
                int at = LastTextPart(list);
                if (at < 0 || ((DictValue)list.Items[at]).Get("text") is not StringValue last)
                {
                    return null;
                }

                var part = new DictValue();
                foreach ((TemplateValue key, TemplateValue old) in ((DictValue)list.Items[at]).Entries)
                {
                    part.Set(key, key is StringValue { Text: "text" } ? MarkValue(last)! : old);
                }

                TemplateValue[] parts = [.. list.Items];
                parts[at] = part;
                return new ListValue(parts);
            default:
                return null;
        }
    }

    private static int LastTextPart(ListValue list)
    {
        for (int i = list.Items.Count - 1; i >= 0; i--)
        {
            if (list.Items[i] is DictValue part && part.Get("text") is not null)
            {
                return i;
            }
        }

        return -1;
    }

    /// <summary>The text that was to be continued, with the tag.</summary>
    private static string? FinalText(DictValue message, string field) => message.Get(field) switch
    {
        StringValue text => text.Text,
        ListValue list when LastTextPart(list) is >= 0 and var at => (((DictValue)list.Items[at]).Get("text") as StringValue)?.Text,
        _ => null,
    };

    private static TemplateException Error(string message) => new(TemplateErrorKind.Input, message);
}
