using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Antiphon.Text;
using Microsoft.Extensions.AI;
using ChatMessage = Microsoft.Extensions.AI.ChatMessage;

namespace Antiphon;

/// <summary>Turns messages and tools of Microsoft.Extensions.AI into what chat templates work on.</summary>
internal static class MessageMapping
{
    /// <summary>The messages as a template sees them. A message with results of several calls becomes one tool message for each.</summary>
    /// <exception cref="ChatFeatureNotSupportedException">A message holds content that a text model cannot take.</exception>
    public static List<TemplateValue> ToTemplate(IEnumerable<ChatMessage> messages)
    {
        List<TemplateValue> mapped = [];
        foreach (ChatMessage message in messages)
        {
            Add(message, mapped);
        }

        return mapped;
    }

    /// <summary>The functions among the tools as a list of <c>{"type": "function", "function": {…}}</c>; null when there are none.</summary>
    public static TemplateValue? ToTemplate(IReadOnlyList<AITool> tools)
    {
        List<TemplateValue> mapped = [];
        foreach (AIFunctionDeclaration function in tools.OfType<AIFunctionDeclaration>())
        {
            mapped.Add(Dict(
                ("type", TemplateValue.Input("function")),
                ("function", Dict(
                    ("name", TemplateValue.Input(function.Name)),
                    ("description", TemplateValue.Input(function.Description)),
                    ("parameters", TemplateValue.FromJson(function.JsonSchema))))));
        }

        return mapped.Count == 0 ? null : TemplateValue.List(mapped);
    }

    private static void Add(ChatMessage message, List<TemplateValue> mapped)
    {
        StringBuilder? text = null;
        StringBuilder? reasoning = null;
        List<TemplateValue> calls = [];
        List<TemplateValue> results = [];
        foreach (AIContent content in message.Contents)
        {
            switch (content)
            {
                case TextContent part:
                    (text ??= new()).Append(part.Text);
                    break;
                case TextReasoningContent { ProtectedData.Length: > 0, Text: "" }:
                    throw new ChatFeatureNotSupportedException(
                        nameof(TextReasoningContent), "it holds another model's encrypted thoughts (ProtectedData) and no text; take it out of the messages");
                case TextReasoningContent part:
                    (reasoning ??= new()).Append(part.Text);
                    break;
                case FunctionCallContent call:
                    calls.Add(Dict(
                        ("id", TemplateValue.Input(call.CallId)),
                        ("type", TemplateValue.Input("function")),
                        ("function", Dict(("name", TemplateValue.Input(call.Name)), ("arguments", Json(call.Arguments ?? new Dictionary<string, object?>()))))));
                    break;
                case FunctionResultContent result:
                    results.Add(Dict(
                        ("role", TemplateValue.Input("tool")),
                        ("tool_call_id", TemplateValue.Input(result.CallId)),
                        ("content", TemplateValue.Input(ResultText(result)))));
                    break;
                case UsageContent:
                    break;
                default:
                    throw new ChatFeatureNotSupportedException(
                        content.GetType().Name, "this model reads text only; take this content out of the messages, or put what it says into text");
            }
        }

        // Results stand behind the calls that they answer, and before what is said after them.
        if (results.Count > 0 && calls.Count == 0)
        {
            mapped.AddRange(results);
            results.Clear();
            if (text is null && reasoning is null)
            {
                return;
            }
        }

        List<(string, TemplateValue)> entries =
        [
            ("role", TemplateValue.Input(message.Role.Value)),
            ("content", TemplateValue.Input(text?.ToString() ?? "")),
        ];
        if (message.AuthorName is { Length: > 0 } author)
        {
            entries.Add(("name", TemplateValue.Input(author)));
        }

        if (reasoning is not null)
        {
            entries.Add(("reasoning_content", TemplateValue.Input(reasoning.ToString())));
        }

        if (calls.Count > 0)
        {
            entries.Add(("tool_calls", TemplateValue.List(calls)));
        }

        mapped.Add(Dict([.. entries]));
        mapped.AddRange(results);
    }

    private static string ResultText(FunctionResultContent result) => result.Result switch
    {
        null => result.Exception is { } error ? $"Error: {error.Message}" : "null",
        string text => text,
        JsonElement { ValueKind: JsonValueKind.String } element => element.GetString()!,
        JsonElement element => element.GetRawText(),
        AIContent content => TextOf(content),
        IEnumerable<AIContent> contents => string.Concat(contents.Select(TextOf)),
        IFormattable number and (int or long or float or double or decimal) => number.ToString(null, CultureInfo.InvariantCulture),
        object other => JsonSerializer.Serialize(other, AIJsonUtilities.DefaultOptions.GetTypeInfo(other.GetType())),
    };

    private static string TextOf(AIContent content) => content is TextContent text ? text.Text : throw new ChatFeatureNotSupportedException(
        content.GetType().Name, "this model reads text only; give the function's result as text or as an object that becomes JSON");

    private static TemplateValue Json(IDictionary<string, object?> arguments)
    {
        var type = (JsonTypeInfo<IDictionary<string, object?>>)AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(IDictionary<string, object?>));
        return TemplateValue.FromJson(JsonSerializer.SerializeToElement(arguments, type));
    }

    private static TemplateValue Dict(params ReadOnlySpan<(string Key, TemplateValue Value)> entries)
    {
        var list = new List<KeyValuePair<string, TemplateValue>>(entries.Length);
        foreach ((string key, TemplateValue value) in entries)
        {
            list.Add(new(key, value));
        }

        return TemplateValue.Dict(list);
    }
}
