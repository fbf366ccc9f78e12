using System.Text.Json;
using Antiphon.Engine;
using Antiphon.Text;

namespace Antiphon.Server;

/// <summary><c>POST /v1/chat/completions</c>.</summary>
internal static class ChatEndpoint
{
    /// <summary>Answers a request.</summary>
    public static async Task HandleAsync(HttpContext context)
    {
        AntiphonServerOptions options = context.ServerOptions();
        using JsonDocument body = await JsonBody.ReadAsync(context, options.MaximumBodyBytes);
        var fields = new JsonFields(body.RootElement);
        using ModelLease lease = await context.Models().AcquireAsync(fields.String("model"), context.RequestAborted);
        ChatRequest request = ChatRequest.Read(fields, lease.Model, options, context.Logger());
        GenerationRequest generation = context.Owned(request.Generation);
        using RequestTelemetry telemetry = context.Telemetry().Start("chat", lease.Model.Id, generation, context.TraceIdentifier);
        using GenerationSet set = GenerationSet.Submit(lease.Model.Engine, [generation], "messages", context.RequestAborted);
        telemetry.Follow(set.Generations[0]);
        var answer = new ChatAnswer(request, lease.Model);
        if (!request.Stream.Stream)
        {
            await foreach ((_, GenerationEvent item) in set.ReadAsync(context.RequestAborted))
            {
                telemetry.Observe(item);
                answer.Collect(item);
            }

            await JsonBody.WriteAsync(context, 200, answer, static (writer, answer) => answer.Write(writer));
            telemetry.Complete();
            return;
        }

        await EventStream.AnswerAsync(context, options.HeartbeatInterval, async stream =>
        {
            await answer.SendRolesAsync(stream);
            await foreach ((_, GenerationEvent item) in set.ReadAsync(context.RequestAborted))
            {
                telemetry.Observe(item);
                await answer.SendAsync(stream, item);
            }

            if (request.Stream.IncludeUsage)
            {
                await stream.SendAsync(answer, static (writer, answer) => answer.WriteUsageChunk(writer));
            }

            telemetry.Complete();
        });
    }
}

/// <summary>The answer to one chat request, as it grows: one parser for each choice.</summary>
internal sealed class ChatAnswer
{
    private readonly ChatRequest request;
    private readonly ServedModel model;
    private readonly string id = $"chatcmpl-{Guid.NewGuid():N}";
    private readonly long created = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
    private readonly Choice[] choices;
    private GenerationUsage usage;

    public ChatAnswer(ChatRequest request, ServedModel model)
    {
        this.request = request;
        this.model = model;
        choices = new Choice[request.Generation.N];
        for (int i = 0; i < choices.Length; i++)
        {
            choices[i] = new Choice(request);
        }
    }

    /// <summary>Takes an event of an answer that is sent as a whole.</summary>
    public void Collect(GenerationEvent item)
    {
        Choice choice = choices[item.Choice];
        usage = item.Usage;
        choice.Take(item);
        choice.KeepLogprob(item);
        foreach (AnswerPart part in choice.Parts)
        {
            choice.Keep(part);
        }
    }

    /// <summary>Sends the first chunk of each choice, which alone carries the role.</summary>
    public async Task SendRolesAsync(EventStream stream)
    {
        for (int i = 0; i < choices.Length; i++)
        {
            await stream.SendAsync((Answer: this, Index: i), static (writer, state) => state.Answer.WriteChunk<int>(writer, state.Index, static (writer, _) =>
            {
                writer.WriteString("role", "assistant");
                writer.WriteString("content", string.Empty);
            }, 0, null, null));
        }
    }

    /// <summary>Sends what an event adds.</summary>
    public async Task SendAsync(EventStream stream, GenerationEvent item)
    {
        Choice choice = choices[item.Choice];
        usage = item.Usage;
        choice.Take(item);
        GenerationEvent? logprobs = request.Generation.Logprobs && item.Logprob is not null ? item : null;
        foreach (AnswerPart part in choice.Parts)
        {
            AnswerPart sent = part;
            int call = -1;
            if (part.Kind == AnswerPartKind.ToolCall)
            {
                if (choice.Calls.Count == 1 && !request.ParallelToolCalls)
                {
                    continue;
                }

                choice.Calls.Add(part.ToolCall!);
                call = choice.Calls.Count - 1;
            }

            await stream.SendAsync(
                (Answer: this, item.Choice, Part: sent, Call: call, Logprobs: logprobs),
                static (writer, state) => state.Answer.WriteChunk(writer, state.Choice, static (writer, delta) => delta.Answer.WritePart(writer, delta.Part, delta.Call), (state.Answer, state.Part, state.Call), state.Logprobs, null));
            logprobs = null;
        }

        bool ended = item.FinishReason != FinishReason.None;
        if (logprobs is not null || ended || (request.Stream.Continuous && choice.Parts.Count == 0))
        {
            string? finish = ended ? choice.FinishReason(item.FinishReason) : null;
            await stream.SendAsync(
                (Answer: this, item.Choice, Logprobs: logprobs, Finish: finish),
                static (writer, state) => state.Answer.WriteChunk<int>(writer, state.Choice, static (_, _) => { }, 0, state.Logprobs, state.Finish));
        }
    }

    /// <summary>Writes the answer as a whole.</summary>
    public void Write(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        WriteHead(writer, "chat.completion");
        writer.WriteStartArray("choices");
        for (int i = 0; i < choices.Length; i++)
        {
            Choice choice = choices[i];
            writer.WriteStartObject();
            writer.WriteNumber("index", i);
            writer.WriteStartObject("message");
            writer.WriteString("role", "assistant");
            string content = choice.Content.ToString();
            if (content.Length == 0 && choice.Calls.Count > 0)
            {
                writer.WriteNull("content");
            }
            else
            {
                writer.WriteString("content", content);
            }

            if (choice.Reasoning.Length > 0)
            {
                writer.WriteString("reasoning_content", choice.Reasoning.ToString());
            }

            if (choice.Calls.Count > 0)
            {
                writer.WriteStartArray("tool_calls");
                for (int c = 0; c < choice.Calls.Count; c++)
                {
                    WriteCall(writer, choice.Calls[c], c, withIndex: false);
                }

                writer.WriteEndArray();
            }

            writer.WriteEndObject();
            if (request.Generation.Logprobs)
            {
                writer.WriteStartObject("logprobs");
                writer.WriteStartArray("content");
                foreach (GenerationEvent item in choice.Logprobs)
                {
                    WriteLogprob(writer, item);
                }

                writer.WriteEndArray();
                writer.WriteEndObject();
            }
            else
            {
                writer.WriteNull("logprobs");
            }

            writer.WriteString("finish_reason", choice.FinishReason(choice.Ended));
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        AnswerWriter.WriteUsage(writer, usage);
        writer.WriteEndObject();
    }

    /// <summary>Writes the chunk that has the usage and no choices.</summary>
    public void WriteUsageChunk(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        WriteHead(writer, "chat.completion.chunk");
        writer.WriteStartArray("choices");
        writer.WriteEndArray();
        AnswerWriter.WriteUsage(writer, usage);
        writer.WriteEndObject();
    }

    private void WriteHead(Utf8JsonWriter writer, string kind)
    {
        writer.WriteString("id", id);
        writer.WriteString("object", kind);
        writer.WriteNumber("created", created);
        writer.WriteString("model", model.Id);
    }

    private void WriteChunk<TState>(
        Utf8JsonWriter writer, int index, Action<Utf8JsonWriter, TState> writeDelta, TState state, GenerationEvent? logprobs, string? finish)
    {
        writer.WriteStartObject();
        WriteHead(writer, "chat.completion.chunk");
        writer.WriteStartArray("choices");
        writer.WriteStartObject();
        writer.WriteNumber("index", index);
        writer.WriteStartObject("delta");
        writeDelta(writer, state);
        writer.WriteEndObject();
        if (logprobs is GenerationEvent item)
        {
            writer.WriteStartObject("logprobs");
            writer.WriteStartArray("content");
            WriteLogprob(writer, item);
            writer.WriteEndArray();
            writer.WriteEndObject();
        }
        else
        {
            writer.WriteNull("logprobs");
        }

        writer.WriteString("finish_reason", finish);
        writer.WriteEndObject();
        writer.WriteEndArray();
        if (request.Stream.Continuous)
        {
            AnswerWriter.WriteUsage(writer, usage);
        }
        else if (request.Stream.IncludeUsage)
        {
            writer.WriteNull("usage");
        }

        writer.WriteEndObject();
    }

    private void WritePart(Utf8JsonWriter writer, AnswerPart part, int call)
    {
        switch (part.Kind)
        {
            case AnswerPartKind.ToolCall:
                writer.WriteStartArray("tool_calls");
                WriteCall(writer, part.ToolCall!, call, withIndex: true);
                writer.WriteEndArray();
                break;
            case AnswerPartKind.Reasoning when request.SplitReasoning:
                writer.WriteString("reasoning_content", part.Text);
                break;
            case AnswerPartKind.Text:
                writer.WriteString("content", part.Text);
                break;
        }
    }

    private void WriteCall(Utf8JsonWriter writer, ToolCall call, int index, bool withIndex)
    {
        writer.WriteStartObject();
        if (withIndex)
        {
            writer.WriteNumber("index", index);
        }

        writer.WriteString("id", $"call_{id[9..]}_{index}");
        writer.WriteString("type", "function");
        writer.WriteStartObject("function");
        writer.WriteString("name", call.Name);
        writer.WriteString("arguments", call.Arguments.GetRawText());
        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    private void WriteLogprob(Utf8JsonWriter writer, GenerationEvent item) =>
        AnswerWriter.WriteChatLogprob(writer, model.Tokenizer, new TokenLogprob(item.Token!.Value, item.Logprob!.Value), item.TopLogprobs ?? []);

    /// <summary>One choice under way.</summary>
    private sealed class Choice(ChatRequest request)
    {
        private readonly AnswerParser parser = new(request.Prompt, request.Tools);

        public List<AnswerPart> Parts { get; } = [];

        public System.Text.StringBuilder Content { get; } = new();

        public System.Text.StringBuilder Reasoning { get; } = new();

        public List<ToolCall> Calls { get; } = [];

        public List<GenerationEvent> Logprobs { get; } = [];

        public FinishReason Ended { get; private set; }

        public void Take(GenerationEvent item)
        {
            Parts.Clear();
            if (item.Text.Length > 0)
            {
                parser.Append(item.Text, Parts);
            }

            if (item.FinishReason != Engine.FinishReason.None)
            {
                parser.Finish(Parts);
                Ended = item.FinishReason;
            }
        }

        public void KeepLogprob(GenerationEvent item)
        {
            if (request.Generation.Logprobs && item.Logprob is not null)
            {
                Logprobs.Add(item);
            }
        }

        public void Keep(AnswerPart part)
        {
            switch (part.Kind)
            {
                case AnswerPartKind.Text:
                    Content.Append(part.Text);
                    break;
                case AnswerPartKind.Reasoning:
                    if (request.SplitReasoning)
                    {
                        Reasoning.Append(part.Text);
                    }

                    break;
                case AnswerPartKind.ToolCall when Calls.Count == 0 || request.ParallelToolCalls:
                    Calls.Add(part.ToolCall!);
                    break;
            }
        }

        public string? FinishReason(FinishReason reason) =>
            Calls.Count > 0 && reason == Engine.FinishReason.Stop ? "tool_calls" : AnswerWriter.Finish(reason);
    }
}
