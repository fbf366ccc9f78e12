using System.Text;
using System.Text.Json;
using Antiphon.Engine;
using Antiphon.Text;

namespace Antiphon.Server;

/// <summary><c>POST /v1/completions</c>: text in, its continuation out, without a chat template.</summary>
internal static class CompletionEndpoint
{
    /// <summary>Answers a request.</summary>
    public static async Task HandleAsync(HttpContext context)
    {
        AntiphonServerOptions options = context.ServerOptions();
        using JsonDocument body = await JsonBody.ReadAsync(context, options.MaximumBodyBytes);
        var fields = new JsonFields(body.RootElement);
        using ModelLease lease = await context.Models().AcquireAsync(fields.String("model"), context.RequestAborted);
        CompletionRequest request = CompletionRequest.Read(fields, lease.Model, options);
        GenerationRequest owned = context.Owned(request.Generation);
        List<GenerationRequest> generations = [.. request.Prompts.Select(prompt => owned with { PromptTokens = prompt })];
        using RequestTelemetry telemetry = context.Telemetry().Start("text_completion", lease.Model.Id, generations[0], context.TraceIdentifier);
        using GenerationSet set = GenerationSet.Submit(lease.Model.Engine, generations, "prompt", context.RequestAborted);
        telemetry.Follow(set.Generations[0]);
        var answer = new CompletionAnswer(request, lease.Model, set);
        if (!request.Stream.Stream)
        {
            await foreach ((int prompt, GenerationEvent item) in set.ReadAsync(context.RequestAborted))
            {
                telemetry.Observe(item);
                answer.Collect(prompt, item);
            }

            await JsonBody.WriteAsync(context, 200, answer, static (writer, answer) => answer.Write(writer));
            telemetry.Complete();
            return;
        }

        await EventStream.AnswerAsync(context, options.HeartbeatInterval, async stream =>
        {
            await foreach ((int prompt, GenerationEvent item) in set.ReadAsync(context.RequestAborted))
            {
                telemetry.Observe(item);
                await answer.SendAsync(stream, prompt, item);
            }

            if (request.Stream.IncludeUsage)
            {
                await stream.SendAsync(answer, static (writer, answer) => answer.WriteUsageChunk(writer));
            }

            telemetry.Complete();
        });
    }
}

/// <summary>A checked request of <c>/v1/completions</c>.</summary>
/// <param name="Generation">What goes to the engine, less the prompt.</param>
/// <param name="Prompts">One or more prompts in tokens.</param>
/// <param name="Stream">How the answer is sent.</param>
/// <param name="Echo">Whether the answer begins with the prompt.</param>
/// <param name="Logprobs">Number of alternatives with each token; null: no log-probabilities.</param>
internal sealed record CompletionRequest(
    GenerationRequest Generation, IReadOnlyList<int[]> Prompts, StreamOptions Stream, bool Echo, int? Logprobs)
{
    private const int DefaultMaxTokens = 16;

    /// <summary>Checks every field.</summary>
    public static CompletionRequest Read(JsonFields fields, ServedModel model, AntiphonServerOptions options)
    {
        GenerationFields.CheckIgnored(fields);
        StreamOptions stream = GenerationFields.ReadStream(fields);
        if (fields.String("suffix") is { Length: > 0 })
        {
            throw ApiException.Invalid("suffix", "is not offered: the model continues text at its end only", "unsupported");
        }

        bool echo = fields.Boolean("echo") ?? false;
        int? logprobs = (int?)fields.Integer("logprobs", 0, GenerationRequest.MaximumTopLogprobs);
        long? maxTokens = fields.Integer("max_tokens", 0, int.MaxValue);
        bool promptOnly = maxTokens == 0;
        if (promptOnly && !echo)
        {
            throw ApiException.Invalid("max_tokens", "may be 0 only with \"echo\": true");
        }

        IReadOnlyList<int[]> prompts = ReadPrompts(fields, model, options);
        GenerationRequest generation = GenerationFields.Read(fields, model, DefaultMaxTokens, promptOnly);
        long? bestOf = fields.Integer("best_of", 1, GenerationRequest.MaximumN);
        if (bestOf is not null && bestOf != generation.N)
        {
            throw ApiException.Invalid("best_of", "must equal n: choosing among more answers than asked for is not offered", "best_of_not_n");
        }

        return new CompletionRequest(
            generation with
            {
                Logprobs = logprobs is not null,
                TopLogprobs = logprobs ?? 0,
                PromptLogprobs = echo && logprobs is not null,
            },
            prompts,
            stream,
            echo,
            logprobs)
        {
            PromptOnly = promptOnly,
        };
    }

    /// <summary>Whether only the prompt is wanted, scored: the one token that the engine must generate is dropped.</summary>
    public bool PromptOnly { get; private init; }

    private static List<int[]> ReadPrompts(JsonFields fields, ServedModel model, AntiphonServerOptions options)
    {
        JsonElement prompt = fields.Any("prompt") ?? throw ApiException.Invalid("prompt", "is missing");
        bool addSpecial = fields.Boolean("add_special_tokens") ?? true;
        var prompts = new List<int[]>();
        switch (prompt.ValueKind)
        {
            case JsonValueKind.String:
                prompts.Add(Encode(prompt));
                break;
            case JsonValueKind.Array when prompt.GetArrayLength() == 0:
                throw ApiException.Invalid("prompt", "is empty");
            case JsonValueKind.Array when prompt[0].ValueKind == JsonValueKind.Number:
                prompts.Add(TokenList.Read(prompt, "prompt", model.Engine.VocabularySize));
                break;
            case JsonValueKind.Array:
                if (prompt.GetArrayLength() > options.MaximumPrompts)
                {
                    throw ApiException.Invalid("prompt", $"may have at most {options.MaximumPrompts} prompts");
                }

                int index = 0;
                foreach (JsonElement entry in prompt.EnumerateArray())
                {
                    string name = $"prompt[{index++}]";
                    prompts.Add(entry.ValueKind switch
                    {
                        JsonValueKind.String => Encode(entry),
                        JsonValueKind.Array => TokenList.Read(entry, name, model.Engine.VocabularySize),
                        _ => throw ApiException.Invalid(name, $"must be a string or a list of token ids, not {JsonFields.Kind(entry)}"),
                    });
                }

                break;
            default:
                throw ApiException.Invalid("prompt", $"must be a string, a list of strings, or a list of token ids, not {JsonFields.Kind(prompt)}");
        }

        foreach (int[] tokens in prompts)
        {
            if (tokens.Length == 0)
            {
                throw ApiException.Invalid("prompt", "has no tokens: give at least one character", "empty_prompt");
            }
        }

        return prompts;

        int[] Encode(JsonElement text) => model.Tokenizer.Encode(text.GetString()!, addSpecial);
    }
}

/// <summary>The answer to one text completion, as it grows.</summary>
internal sealed class CompletionAnswer
{
    private readonly CompletionRequest request;
    private readonly ServedModel model;
    private readonly GenerationSet set;
    private readonly string id = $"cmpl-{Guid.NewGuid():N}";
    private readonly long created = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
    private readonly Choice[] choices;
    private readonly GenerationUsage[] usage;

    public CompletionAnswer(CompletionRequest request, ServedModel model, GenerationSet set)
    {
        this.request = request;
        this.model = model;
        this.set = set;
        usage = new GenerationUsage[request.Prompts.Count];
        choices = new Choice[request.Prompts.Count * request.Generation.N];
        for (int i = 0; i < choices.Length; i++)
        {
            choices[i] = new Choice();
        }
    }

    private GenerationUsage Usage
    {
        get
        {
            GenerationUsage total = default;
            foreach (GenerationUsage one in usage)
            {
                total = new GenerationUsage(
                    total.PromptTokens + one.PromptTokens,
                    total.CachedTokens + one.CachedTokens,
                    total.CompletionTokens + (request.PromptOnly ? 0 : one.CompletionTokens));
            }

            return total;
        }
    }

    public void Collect(int prompt, GenerationEvent item)
    {
        Choice choice = At(prompt, item.Choice);
        usage[prompt] = item.Usage;
        Begin(choice, prompt);
        if (!request.PromptOnly)
        {
            choice.Text.Append(item.Text);
            if (item.Logprob is not null)
            {
                choice.Add(item);
            }
        }

        if (item.FinishReason != FinishReason.None)
        {
            choice.Ended = item.FinishReason;
        }
    }

    public async Task SendAsync(EventStream stream, int prompt, GenerationEvent item)
    {
        Choice choice = At(prompt, item.Choice);
        Collect(prompt, item);
        if (choice.Text.Length > 0 || choice.Tokens.Count > 0 || choice.Ended != FinishReason.None || request.Stream.Continuous)
        {
            await stream.SendAsync(
                (Answer: this, Index: (prompt * request.Generation.N) + item.Choice),
                static (writer, state) => state.Answer.WriteChunk(writer, state.Index));
            choice.Sent();
        }
    }

    public void Write(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        WriteHead(writer);
        writer.WriteStartArray("choices");
        for (int i = 0; i < choices.Length; i++)
        {
            WriteChoice(writer, i);
        }

        writer.WriteEndArray();
        AnswerWriter.WriteUsage(writer, Usage);
        writer.WriteEndObject();
    }

    public void WriteUsageChunk(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        WriteHead(writer);
        writer.WriteStartArray("choices");
        writer.WriteEndArray();
        AnswerWriter.WriteUsage(writer, Usage);
        writer.WriteEndObject();
    }

    private Choice At(int prompt, int choice) => choices[(prompt * request.Generation.N) + choice];

    private void Begin(Choice choice, int prompt)
    {
        if (choice.Begun)
        {
            return;
        }

        choice.Begun = true;
        if (!request.Echo)
        {
            return;
        }

        int[] tokens = request.Prompts[prompt];
        choice.Text.Append(model.Tokenizer.Decode(tokens, skipSpecialTokens: request.Generation.SkipSpecialTokens));
        if (request.Logprobs is null)
        {
            return;
        }

        IReadOnlyList<PositionLogprobs?> scores = set.Generations[prompt].PromptLogprobs;
        for (int i = 0; i < tokens.Length; i++)
        {
            choice.Add(tokens[i], scores[i]?.Chosen.Logprob, scores[i]?.Top);
        }
    }

    private void WriteHead(Utf8JsonWriter writer)
    {
        writer.WriteString("id", id);
        writer.WriteString("object", "text_completion");
        writer.WriteNumber("created", created);
        writer.WriteString("model", model.Id);
    }

    private void WriteChunk(Utf8JsonWriter writer, int index)
    {
        writer.WriteStartObject();
        WriteHead(writer);
        writer.WriteStartArray("choices");
        WriteChoice(writer, index);
        writer.WriteEndArray();
        if (request.Stream.Continuous)
        {
            AnswerWriter.WriteUsage(writer, Usage);
        }
        else if (request.Stream.IncludeUsage)
        {
            writer.WriteNull("usage");
        }

        writer.WriteEndObject();
    }

    private void WriteChoice(Utf8JsonWriter writer, int index)
    {
        Choice choice = choices[index];
        writer.WriteStartObject();
        writer.WriteNumber("index", index);
        writer.WriteString("text", choice.Text.ToString());
        if (request.Logprobs is null)
        {
            writer.WriteNull("logprobs");
        }
        else
        {
            WriteLogprobs(writer, choice);
        }

        writer.WriteString("finish_reason", request.PromptOnly && choice.Ended != FinishReason.None ? "length" : AnswerWriter.Finish(choice.Ended));
        writer.WriteEndObject();
    }

    private void WriteLogprobs(Utf8JsonWriter writer, Choice choice)
    {
        writer.WriteStartObject("logprobs");
        writer.WriteStartArray("tokens");
        foreach ((int token, _, _) in choice.Tokens)
        {
            writer.WriteStringValue(AnswerWriter.TokenText(model.Tokenizer, token));
        }

        writer.WriteEndArray();
        writer.WriteStartArray("token_logprobs");
        foreach ((_, float? logprob, _) in choice.Tokens)
        {
            if (logprob is float value)
            {
                writer.WriteNumberValue(value);
            }
            else
            {
                writer.WriteNullValue();
            }
        }

        writer.WriteEndArray();
        writer.WriteStartArray("top_logprobs");
        foreach ((int token, float? logprob, IReadOnlyList<TokenLogprob>? top) in choice.Tokens)
        {
            if (logprob is null)
            {
                writer.WriteNullValue();
                continue;
            }

            // Protocol: the chosen token is always there, beside the most likely ones; a text stands once.
            writer.WriteStartObject();
            var written = new HashSet<string>(StringComparer.Ordinal);
            foreach (TokenLogprob entry in (top ?? []).Append(new TokenLogprob(token, logprob.Value)))
            {
                string text = AnswerWriter.TokenText(model.Tokenizer, entry.Token);
                if (written.Add(text))
                {
                    writer.WriteNumber(text, entry.Logprob);
                }
            }

            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteStartArray("text_offset");
        int offset = choice.Offset;
        foreach ((int token, _, _) in choice.Tokens)
        {
            writer.WriteNumberValue(offset);
            offset += AnswerWriter.TokenText(model.Tokenizer, token).Length;
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    /// <summary>What one choice has gathered and, in a stream, not sent yet.</summary>
    private sealed class Choice
    {
        public bool Begun { get; set; }

        public int Offset { get; private set; }

        public StringBuilder Text { get; } = new();

        public List<(int Token, float? Logprob, IReadOnlyList<TokenLogprob>? Top)> Tokens { get; } = [];

        public FinishReason Ended { get; set; }

        public void Add(GenerationEvent item) => Add(item.Token!.Value, item.Logprob, item.TopLogprobs);

        public void Add(int token, float? logprob, IReadOnlyList<TokenLogprob>? top) => Tokens.Add((token, logprob, top));

        public void Sent()
        {
            Offset += Text.Length;
            Text.Clear();
            Tokens.Clear();
        }
    }
}
