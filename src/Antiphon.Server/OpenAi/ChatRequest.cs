using System.Text;
using System.Text.Json;
using Antiphon.Engine;
using Antiphon.Text;

namespace Antiphon.Server;

/// <summary>A checked request of <c>/v1/chat/completions</c>.</summary>
/// <param name="Generation">What goes to the engine.</param>
/// <param name="Prompt">The rendered prompt.</param>
/// <param name="Stream">How the answer is sent.</param>
/// <param name="Tools">Whether tool calls are looked for in the answer.</param>
/// <param name="ParallelToolCalls">Whether an answer may hold several calls.</param>
/// <param name="SplitReasoning">Whether thoughts go to <c>reasoning_content</c>.</param>
internal sealed record ChatRequest(
    GenerationRequest Generation, string Prompt, StreamOptions Stream, bool Tools, bool ParallelToolCalls, bool SplitReasoning)
{
    /// <summary>Checks every field and renders the prompt.</summary>
    /// <exception cref="ApiException">A field is wrong, or the template refuses the conversation.</exception>
    public static ChatRequest Read(JsonFields fields, ServedModel model, AntiphonServerOptions options, ILogger logger)
    {
        GenerationFields.CheckIgnored(fields);
        StreamOptions stream = GenerationFields.ReadStream(fields);
        CheckResponseFormat(fields);
        bool logprobs = fields.Boolean("logprobs") ?? false;
        int top = (int)(fields.Integer("top_logprobs", 0, GenerationRequest.MaximumTopLogprobs) ?? 0);
        if (top > 0 && !logprobs)
        {
            throw ApiException.Invalid("top_logprobs", "needs \"logprobs\": true");
        }

        GenerationRequest generation = GenerationFields.Read(fields, model, null);
        bool parallel = fields.Boolean("parallel_tool_calls") ?? true;
        bool split = fields.Boolean("include_reasoning") ?? true;
        int? budget = (int?)fields.Integer("reasoning_budget", 0, int.MaxValue);
        (RenderedPrompt prompt, int[] tokens, bool tools) = ReadPrompt(fields, model, options, logger);
        generation = generation with
        {
            PromptTokens = tokens,
            Logprobs = logprobs,
            TopLogprobs = top,
            CreateMask = budget is null ? null : ReasoningBudget.Factory(model.Tokenizer, prompt.Text, budget.Value),
        };
        return new ChatRequest(generation, prompt.Text, stream, tools, parallel, split);
    }

    /// <summary>Checks the fields that make the prompt, and renders it.</summary>
    /// <returns>The prompt, its tokens, and whether it offers tools.</returns>
    /// <exception cref="ApiException">A field is wrong, or the template refuses the conversation.</exception>
    public static (RenderedPrompt Prompt, int[] Tokens, bool Tools) ReadPrompt(JsonFields fields, ServedModel model, AntiphonServerOptions options, ILogger logger)
    {
        bool continueLast = fields.Boolean("continue_final_message") ?? false;
        bool addPrompt = fields.Boolean("add_generation_prompt") ?? !continueLast;
        if (continueLast && addPrompt)
        {
            throw ApiException.Invalid("add_generation_prompt", "must be false where \"continue_final_message\" is true");
        }

        try
        {
            TemplateValue? tools = ReadTools(fields, options, logger);
            RenderedPrompt prompt = model.Model.Text.Render(new ChatTemplateInput
            {
                Messages = ReadMessages(fields, options),
                Tools = tools,
                AddGenerationPrompt = addPrompt,
                ContinueFinalMessage = continueLast ? "content" : null,
                Variables = ReadVariables(fields),
            });
            return (prompt, model.Model.Text.Encode(prompt), tools is not null);
        }
        catch (ChatFeatureNotSupportedException)
        {
            throw ApiException.Invalid("model", "has no chat template: use /v1/completions", "no_chat_template");
        }
        catch (TemplateException exception)
        {
            throw ApiException.Invalid("messages", exception.Message, "template_error");
        }
    }

    private static void CheckResponseFormat(JsonFields fields)
    {
        JsonFields? format = fields.Object("response_format");
        if (format is null)
        {
            return;
        }

        switch (format.Value.String("type"))
        {
            case "text":
                break;
            case "json_object" or "json_schema":
                throw ApiException.Invalid("response_format", "structured output is not offered by this version: use \"text\"", "unsupported");
            default:
                throw ApiException.Invalid("response_format.type", "must be \"text\", \"json_object\" or \"json_schema\"");
        }
    }

    private static TemplateValue? ReadTools(JsonFields fields, AntiphonServerOptions options, ILogger logger)
    {
        JsonElement? list = fields.Array("tools", options.MaximumTools);
        string? choice = ReadToolChoice(fields);
        if (list is null)
        {
            return null;
        }

        var tools = new List<TemplateValue>();
        int index = 0;
        foreach (JsonElement entry in list.Value.EnumerateArray())
        {
            var tool = new JsonFields(entry, $"tools[{index++}]");
            string type = tool.String("type") ?? "function";
            if (type != "function")
            {
                ServerLog.UnknownToolType(logger, type.Length <= 40 ? type : type[..40]);
                continue;
            }

            JsonFields function = tool.Object("function") ?? throw ApiException.Invalid(tool.Name("function"), "is missing");
            if (string.IsNullOrEmpty(function.String("name")))
            {
                throw ApiException.Invalid(function.Name("name"), "is missing");
            }

            _ = function.String("description");
            _ = function.Object("parameters");
            tools.Add(TemplateValue.FromJson(entry));
        }

        return tools.Count == 0 || choice == "none" ? null : TemplateValue.List(tools);
    }

    private static string? ReadToolChoice(JsonFields fields)
    {
        JsonElement? choice = fields.Any("tool_choice");
        if (choice is null)
        {
            return null;
        }

        return choice.Value.ValueKind == JsonValueKind.String && choice.Value.GetString() is "none" or "auto"
            ? choice.Value.GetString()
            : throw ApiException.Invalid("tool_choice", "must be \"none\" or \"auto\"; forced calls are not offered by this version", "unsupported");
    }

    private static Dictionary<string, TemplateValue> ReadVariables(JsonFields fields)
    {
        var variables = new Dictionary<string, TemplateValue>();
        if (fields.Object("chat_template_kwargs") is JsonFields given)
        {
            foreach (JsonProperty entry in given.Element.EnumerateObject())
            {
                if (entry.Name is "messages" or "tools" or "documents" or "add_generation_prompt")
                {
                    throw ApiException.Invalid(given.Name(entry.Name), "cannot be set here: it has a field of its own");
                }

                variables[entry.Name] = TemplateValue.FromJson(entry.Value);
            }
        }

        if (fields.String("reasoning_effort") is string effort)
        {
            variables.TryAdd("reasoning_effort", TemplateValue.Input(effort));
            if (effort == "none")
            {
                variables.TryAdd("enable_thinking", TemplateValue.Of(false));
            }
        }

        return variables;
    }

    private static List<TemplateValue> ReadMessages(JsonFields fields, AntiphonServerOptions options)
    {
        JsonElement list = fields.Array("messages", options.MaximumMessages) ?? throw ApiException.Invalid("messages", "is missing: give a list of messages");
        if (list.GetArrayLength() == 0)
        {
            throw ApiException.Invalid("messages", "is empty: give at least one message");
        }

        var messages = new List<TemplateValue>(list.GetArrayLength());
        int index = 0;
        foreach (JsonElement entry in list.EnumerateArray())
        {
            messages.Add(ReadMessage(new JsonFields(entry, $"messages[{index++}]"), options));
        }

        return messages;
    }

    private static TemplateValue ReadMessage(JsonFields message, AntiphonServerOptions options)
    {
        string role = message.String("role") ?? throw ApiException.Invalid(message.Name("role"), "is missing");
        string? content = ReadContent(message);
        bool hasCalls = message.Array("tool_calls", 1024) is JsonElement calls && calls.GetArrayLength() > 0;
        bool hasThoughts = message.String("reasoning_content") is not null;
        _ = message.String("name");
        _ = message.String("tool_call_id");
        if (content is null && !(role == "assistant" && (hasCalls || hasThoughts)))
        {
            throw ApiException.Invalid(message.Name("content"), "is missing");
        }

        if (content is not null && options.StripVolatileHeaders && role is "system" or "developer")
        {
            content = VolatileHeaders.Strip(content!);
        }

        var entries = new List<KeyValuePair<string, TemplateValue>>();
        foreach (JsonProperty property in message.Element.EnumerateObject())
        {
            TemplateValue value = property.Name switch
            {
                "content" => content is null ? TemplateValue.None : TemplateValue.Input(content),
                "tool_calls" => ReadCalls(property.Value, message.Name("tool_calls")),
                _ => TemplateValue.FromJson(property.Value),
            };
            entries.Add(new(property.Name, value));
        }

        return TemplateValue.Dict(entries);
    }

    /// <summary>Content as one text: a string, or text parts, which stand for their concatenation.</summary>
    private static string? ReadContent(JsonFields message)
    {
        JsonElement? content = message.Any("content");
        string name = message.Name("content");
        switch (content?.ValueKind)
        {
            case null:
                return null;
            case JsonValueKind.String:
                return content.Value.GetString();
            case JsonValueKind.Array:
                var text = new StringBuilder();
                int index = 0;
                foreach (JsonElement entry in content.Value.EnumerateArray())
                {
                    string at = $"{name}[{index++}]";
                    if (entry.ValueKind == JsonValueKind.String)
                    {
                        text.Append(entry.GetString());
                        continue;
                    }

                    var part = new JsonFields(entry, at);
                    string type = part.String("type") ?? throw ApiException.Invalid(part.Name("type"), "is missing");
                    text.Append(type is "text" or "input_text" or "output_text" or "refusal"
                        ? part.String(type == "refusal" ? "refusal" : "text") ?? throw ApiException.Invalid(part.Name("text"), "is missing")
                        : throw ApiException.Invalid(part.Name("type"), "must be \"text\": this model takes no images, audio or files", "unsupported"));
                }

                return text.ToString();
            default:
                throw ApiException.Invalid(name, $"must be a string or a list of text parts, not {JsonFields.Kind(content.Value)}");
        }
    }

    /// <summary>Calls of an earlier turn; templates want the arguments as an object, clients send them as JSON text.</summary>
    private static TemplateValue ReadCalls(JsonElement list, string name)
    {
        if (list.ValueKind == JsonValueKind.Null)
        {
            return TemplateValue.None;
        }

        var calls = new List<TemplateValue>();
        int index = 0;
        foreach (JsonElement entry in list.EnumerateArray())
        {
            var call = new JsonFields(entry, $"{name}[{index++}]");
            JsonFields function = call.Object("function") ?? throw ApiException.Invalid(call.Name("function"), "is missing");
            string tool = function.String("name") ?? throw ApiException.Invalid(function.Name("name"), "is missing");
            _ = call.String("type");
            TemplateValue arguments = ReadArguments(function);

            calls.Add(TemplateValue.Dict(
            [
                new("id", call.String("id") is string id ? TemplateValue.Input(id) : TemplateValue.None),
                new("type", TemplateValue.Trusted("function")),
                new("function", TemplateValue.Dict([new("name", TemplateValue.Input(tool)), new("arguments", arguments)])),
            ]));
        }

        return TemplateValue.List(calls);
    }

    private static TemplateValue ReadArguments(JsonFields function)
    {
        if (function.Any("arguments") is not JsonElement arguments)
        {
            return TemplateValue.Dict([]);
        }

        if (arguments.ValueKind == JsonValueKind.Object)
        {
            return TemplateValue.FromJson(arguments);
        }

        string text = function.String("arguments")!;
        try
        {
            return TemplateValue.FromJson(Encoding.UTF8.GetBytes(text.Length == 0 ? "{}" : text));
        }
        catch (JsonException)
        {
            throw ApiException.Invalid(function.Name("arguments"), "must be JSON text", "invalid_json");
        }
    }
}
