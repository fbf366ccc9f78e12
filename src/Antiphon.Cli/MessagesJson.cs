using System.Buffers;
using System.Text;
using System.Text.Json;
using Antiphon.Text;
using Microsoft.Extensions.AI;
using ChatMessage = Microsoft.Extensions.AI.ChatMessage;

namespace Antiphon.Cli;

/// <summary>Conversations as JSON, in the form that OpenAI's API made common: a list of messages, or an object with <c>messages</c> and <c>tools</c>.</summary>
internal static class MessagesJson
{
    private const long MostBytes = 64L << 20;

    /// <summary>Reads messages and tools as templates see them.</summary>
    public static (List<TemplateValue> Messages, TemplateValue? Tools) Read(string json, string name)
    {
        using JsonDocument document = Parse(json, name);
        JsonElement root = document.RootElement;
        TemplateValue? tools = null;
        if (root.ValueKind == JsonValueKind.Object && root.TryGetProperty("tools", out JsonElement given) && given.ValueKind == JsonValueKind.Array)
        {
            tools = TemplateValue.FromJson(given);
        }

        return ([.. Messages(root, name).Select(m => TemplateValue.FromJson(m))], tools);
    }

    /// <summary>Reads a saved conversation.</summary>
    public static List<ChatMessage> ReadMessages(string path)
    {
        using JsonDocument document = Parse(TextFiles.Read(path), path);
        List<ChatMessage> messages = [];
        foreach (JsonElement message in Messages(document.RootElement, path))
        {
            List<AIContent> contents = [];
            if (Text(message, "reasoning_content") is { } thought)
            {
                contents.Add(new TextReasoningContent(thought));
            }

            contents.Add(new TextContent(Text(message, "content") ?? throw new CommandException($"{path}: messages[{messages.Count}].content must be a text; correct the file")));
            messages.Add(new ChatMessage(new ChatRole(Text(message, "role")!), contents));
        }

        return messages;
    }

    /// <summary>Writes a conversation.</summary>
    public static string Write(IEnumerable<ChatMessage> messages)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartArray();
            foreach (ChatMessage message in messages)
            {
                writer.WriteStartObject();
                writer.WriteString("role", message.Role.Value);
                string thought = string.Concat(message.Contents.OfType<TextReasoningContent>().Select(c => c.Text));
                if (thought.Length > 0)
                {
                    writer.WriteString("reasoning_content", thought);
                }

                writer.WriteString("content", message.Text);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan) + "\n";
    }

    private static JsonDocument Parse(string json, string name)
    {
        if (json.Length > MostBytes)
        {
            throw new CommandException($"{name}: is larger than 64 MiB; give fewer messages");
        }

        try
        {
            return JsonDocument.Parse(json);
        }
        catch (JsonException e)
        {
            throw new CommandException($"{name}: is not valid JSON ({e.Message.TrimEnd('.')}); correct the file");
        }
    }

    private static List<JsonElement> Messages(JsonElement root, string name)
    {
        JsonElement list = root.ValueKind == JsonValueKind.Object && root.TryGetProperty("messages", out JsonElement given) ? given : root;
        if (list.ValueKind != JsonValueKind.Array)
        {
            throw new CommandException($"{name}: must be a list of messages, or an object with 'messages'; see 'antiphon render --help'");
        }

        List<JsonElement> messages = [.. list.EnumerateArray()];
        for (int i = 0; i < messages.Count; i++)
        {
            if (messages[i].ValueKind != JsonValueKind.Object || Text(messages[i], "role") is null)
            {
                throw new CommandException($"{name}: messages[{i}] must be an object with a 'role'; correct the file");
            }
        }

        return messages;
    }

    private static string? Text(JsonElement message, string key) =>
        message.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
