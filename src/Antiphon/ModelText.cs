using System.Text.Json;
using Antiphon.Engine;
using Antiphon.Models;
using Antiphon.Text;
using ChatMessage = Microsoft.Extensions.AI.ChatMessage;

namespace Antiphon;

/// <summary>
/// What a model's files say beside its weights: how text becomes tokens and back, how a conversation is written, when an answer ends, how to sample.
/// Immutable and safe for use by several threads at once.
/// </summary>
public sealed class ModelText
{
    /// <summary>Names of tokens that end a turn wherever a vocabulary marks them as control tokens, though its metadata may name only one of them.</summary>
    private static readonly string[] EndOfTurn =
        ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|return|>", "<|call|>", "<|endoftext|>", "<|end_of_text|>", "<|eot|>"];

    private readonly PromptTokens promptTokens;

    private ModelText(Tokenizer tokenizer, string? template, SamplingOptions? sampling, string? name)
    {
        Tokenizer = tokenizer;
        RecommendedSampling = sampling;
        Name = name;
        ChatTemplate = template is null ? null : ChatTemplate.Compile(template);
        promptTokens = new PromptTokens(tokenizer);
        var ends = new HashSet<int>();
        foreach (int? id in (ReadOnlySpan<int?>)[tokenizer.EosId, tokenizer.EotId])
        {
            if (id is { } known)
            {
                ends.Add(known);
            }
        }

        foreach (string text in EndOfTurn)
        {
            if (tokenizer.TryGetId(text, out int id) && tokenizer.IsSpecial(id))
            {
                ends.Add(id);
            }
        }

        EndTokens = ends;
    }

    /// <summary>The tokenizer.</summary>
    public Tokenizer Tokenizer { get; }

    /// <summary>The chat template; null when there is none.</summary>
    public ChatTemplate? ChatTemplate { get; }

    /// <summary>Tokens that end an answer by their name, beside those that the model's files number.</summary>
    public IReadOnlyCollection<int> EndTokens { get; }

    /// <summary>The sampling that the files recommend; null when they recommend none.</summary>
    public SamplingOptions? RecommendedSampling { get; }

    /// <summary>The model's own name; null when it has none.</summary>
    public string? Name { get; }

    /// <summary>Reads all that from a model's files.</summary>
    /// <param name="source">The files; not needed any more afterwards.</param>
    /// <param name="chatTemplate">A chat template (Jinja) that replaces the model's own, or null.</param>
    /// <exception cref="ModelFormatException">The metadata are damaged.</exception>
    /// <exception cref="TokenizerFormatException">The tokenizer is damaged or of a kind that is not supported.</exception>
    /// <exception cref="TemplateException">The chat template cannot be compiled.</exception>
    public static ModelText Read(ModelSource source, string? chatTemplate = null) => source switch
    {
        GgufFile file => Read(file, chatTemplate),
        HuggingFaceFolder folder => Read(folder, chatTemplate),
        null => throw new ArgumentNullException(nameof(source)),
        _ => throw new ModelFormatException($"{source.Path}: {source.GetType().Name} has no tokenizer; give a GGUF file or a Hugging Face folder"),
    };

    /// <summary>The prompt that the chat template makes of a conversation.</summary>
    /// <param name="messages">The conversation.</param>
    /// <param name="options">Tools, thinking and template variables are used; null: none.</param>
    /// <param name="addGenerationPrompt">Whether the prompt ends where the answer starts.</param>
    /// <exception cref="ChatFeatureNotSupportedException">A message holds something else than text, or the model has no chat template.</exception>
    /// <exception cref="TemplateException">The template refuses the conversation.</exception>
    public RenderedPrompt Render(IEnumerable<ChatMessage> messages, GenerationOptions? options = null, bool addGenerationPrompt = true)
    {
        ArgumentNullException.ThrowIfNull(messages);
        return Render(MessageMapping.ToTemplate(messages), options is null ? null : MessageMapping.ToTemplate(options.Tools), options, addGenerationPrompt);
    }

    /// <summary>As the other overload, for messages and tools in the form that templates see (OpenAI's JSON).</summary>
    /// <inheritdoc cref="Render(IEnumerable{ChatMessage}, GenerationOptions?, bool)"/>
    /// <param name="messages">The conversation.</param>
    /// <param name="tools">The tools, or null; those of the options are not used.</param>
    /// <param name="options">Thinking and template variables are used; null: none.</param>
    /// <param name="addGenerationPrompt">Whether the prompt ends where the answer starts.</param>
    public RenderedPrompt Render(IReadOnlyList<TemplateValue> messages, TemplateValue? tools, GenerationOptions? options = null, bool addGenerationPrompt = true)
    {
        var variables = new Dictionary<string, TemplateValue>();
        foreach ((string key, JsonElement value) in options?.TemplateVariables ?? new Dictionary<string, JsonElement>())
        {
            variables[key] = TemplateValue.FromJson(value);
        }

        if (options?.Thinking is { } thinking)
        {
            variables["enable_thinking"] = TemplateValue.Of(thinking);
        }

        return Render(new ChatTemplateInput { Messages = messages, Tools = tools, AddGenerationPrompt = addGenerationPrompt, Variables = variables });
    }

    /// <summary>As the other overloads, for all that a template can be given; the model's special tokens are added to the variables.</summary>
    /// <exception cref="ChatFeatureNotSupportedException">The model has no chat template.</exception>
    /// <exception cref="TemplateException">The template refuses the conversation.</exception>
    public RenderedPrompt Render(ChatTemplateInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        ChatTemplate template = ChatTemplate ?? throw new ChatFeatureNotSupportedException(
            "chat template", "the model has none, so it cannot hold a conversation; let it continue a text (CompleteAsync, run --raw), or give it a template");
        var variables = new Dictionary<string, TemplateValue>(input.Variables);
        void Special(string name, int? id)
        {
            if (id is { } known)
            {
                variables.TryAdd(name, TemplateValue.Trusted(Tokenizer.TokenText(known)));
            }
        }

        Special("bos_token", Tokenizer.BosId);
        Special("eos_token", Tokenizer.EosId);
        Special("unk_token", Tokenizer.UnkId);
        Special("pad_token", Tokenizer.PadId);
        return template.Render(new ChatTemplateInput
        {
            Messages = input.Messages,
            Tools = input.Tools,
            Documents = input.Documents,
            AddGenerationPrompt = input.AddGenerationPrompt,
            ContinueFinalMessage = input.ContinueFinalMessage,
            KeepNulls = input.KeepNulls,
            Variables = variables,
            Clock = input.Clock,
        });
    }

    /// <summary>The tokens of a prompt. Control tokens are recognised only where they lie wholly in text of the template: a user who types one sends its letters.</summary>
    public int[] Encode(RenderedPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return promptTokens.Encode(prompt);
    }

    private static ModelText Read(GgufFile file, string? chatTemplate)
    {
        GgufMetadata metadata = file.Metadata;
        string? Name(string key) => metadata.TryGetString(key, out string? text) ? text : null;
        float? Number(string key) => metadata.TryGetSingle(key, out float number) ? number : null;
        SamplingOptions? sampling = Recommended(
            Number("general.sampling.temp"), Number("general.sampling.top_p"), Number("general.sampling.top_k"), Number("general.sampling.min_p"), null);
        return new ModelText(
            Tokenizer.FromVocabulary(TokenizerLoader.ReadVocabulary(metadata)), chatTemplate ?? Name("tokenizer.chat_template"), sampling, Name("general.name"));
    }

    private static ModelText Read(HuggingFaceFolder folder, string? chatTemplate)
    {
        if (folder.TokenizerJson is not { } json)
        {
            throw new ModelFormatException($"{folder.Path}: the folder has no tokenizer.json; fetch it from where the model comes from");
        }

        float? temperature = null, topP = null, topK = null, minP = null, repetition = null;
        if (folder.GenerationConfig is { } generation)
        {
            temperature = Number(generation, "temperature");
            topP = Number(generation, "top_p");
            topK = Number(generation, "top_k");
            minP = Number(generation, "min_p");
            repetition = Number(generation, "repetition_penalty");
        }

        folder.ChatTemplates.TryGetValue("default", out string? template);
        return new ModelText(
            Tokenizer.FromTokenizerJson(json, Options(folder.TokenizerConfig)), chatTemplate ?? template, Recommended(temperature, topP, topK, minP, repetition), null);
    }

    private static TokenizerOptions? Options(JsonElement? config)
    {
        if (config is not { ValueKind: JsonValueKind.Object } given)
        {
            return null;
        }

        bool? Flag(string key) => given.TryGetProperty(key, out JsonElement value) && value.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? given.GetProperty(key).GetBoolean() : null;
        return new TokenizerOptions
        {
            BosToken = Content(given, "bos_token"),
            EosToken = Content(given, "eos_token"),
            UnkToken = Content(given, "unk_token"),
            PadToken = Content(given, "pad_token"),
            AddBos = Flag("add_bos_token"),
            AddEos = Flag("add_eos_token"),
        };
    }

    private static string? Content(JsonElement config, string key)
    {
        if (!config.TryGetProperty(key, out JsonElement value))
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Object && value.TryGetProperty("content", out JsonElement content))
        {
            value = content;
        }

        return value.ValueKind == JsonValueKind.String ? value.GetString() : null;
    }

    private static float? Number(JsonElement config, string key) =>
        config.ValueKind == JsonValueKind.Object && config.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.Number ? value.GetSingle() : null;

    private static SamplingOptions? Recommended(float? temperature, float? topP, float? topK, float? minP, float? repetition)
    {
        if (temperature is null && topP is null && topK is null && minP is null)
        {
            return null;
        }

        return new SamplingOptions
        {
            Temperature = Math.Clamp(temperature ?? 1, 0, 100),
            TopP = topP is > 0 and <= 1 ? topP.Value : 1,
            TopK = topK is > 0 ? (int)Math.Min(topK.Value, int.MaxValue / 2) : 0,
            MinP = minP is >= 0 and <= 1 ? minP.Value : 0,
            RepetitionPenalty = repetition is > 0 and <= 100 ? repetition.Value : 1,
        };
    }
}
