using System.Runtime.CompilerServices;
using System.Text.Json;
using Antiphon.Engine;
using Antiphon.Models;
using Antiphon.Text;
using Microsoft.Extensions.AI;
using ChatMessage = Microsoft.Extensions.AI.ChatMessage;

namespace Antiphon;

/// <summary>
/// A language model that is ready to answer: its weights, its tokenizer, its chat template and an engine that runs it. All members are safe to call from
/// any thread; requests made at the same time share one batch, and none changes another's answer.
/// </summary>
/// <example>
/// <code>
/// await using var model = await LanguageModel.LoadAsync("model.gguf");
/// await foreach (AnswerPart part in model.GenerateAsync("Why is the sky blue?"))
/// {
///     Console.Write(part);
/// }
/// </code>
/// </example>
public sealed class LanguageModel : IAsyncDisposable
{
    /// <summary>The sampling of requests that ask for none, where neither the model's files nor the options recommend any.</summary>
    public static SamplingOptions FallbackSampling { get; } = new() { Temperature = 0.7f, TopP = 0.95f, MinP = 0.05f };

    private readonly LoadedModel loaded;
    private readonly ModelSource source;
    private readonly PromptTokens promptTokens;
    private int disposed;

    private LanguageModel(ModelSource source, LoadedModel loaded, TextAssets assets, LanguageModelOptions options)
    {
        this.source = source;
        this.loaded = loaded;
        Tokenizer = assets.Tokenizer;
        promptTokens = new PromptTokens(Tokenizer);
        string? template = options.ChatTemplate ?? assets.TemplateSource;
        ChatTemplate = template is null ? null : Text.ChatTemplate.Compile(template);
        DefaultSampling = options.DefaultSampling ?? assets.Sampling ?? FallbackSampling;
        Name = options.Name ?? assets.Name ?? Path.GetFileNameWithoutExtension(source.Path.TrimEnd('/', '\\'));
        Engine = new InferenceEngine(loaded.Backend, new TokenizerText(Tokenizer, assets.EndTokens), options.Engine);
    }

    /// <summary>The model's name.</summary>
    public string Name { get; }

    /// <summary>The tokenizer.</summary>
    public Tokenizer Tokenizer { get; }

    /// <summary>The chat template; null when the model has none.</summary>
    public ChatTemplate? ChatTemplate { get; }

    /// <summary>The engine, for what goes beyond this class: several answers to one request, log-probabilities, statistics.</summary>
    public InferenceEngine Engine { get; }

    /// <summary>Longest conversation and answer together, in tokens.</summary>
    public int ContextLength => Engine.ContextLength;

    /// <summary>Sampling of requests that ask for none.</summary>
    public SamplingOptions DefaultSampling { get; }

    /// <summary>Loads a model.</summary>
    /// <param name="path">A .gguf file, any part of a split one, or a Hugging Face folder.</param>
    /// <param name="options">Options; null: the defaults.</param>
    /// <param name="progress">Told how far it is.</param>
    /// <param name="cancellationToken">Stops loading; what was loaded is freed.</param>
    /// <exception cref="ModelFormatException">There is no model at the path, or it cannot be used.</exception>
    /// <exception cref="UnsupportedModelException">The model is of a kind that this version does not run.</exception>
    /// <exception cref="TokenizerFormatException">Its tokenizer cannot be used.</exception>
    /// <exception cref="TemplateException">Its chat template cannot be used.</exception>
    /// <exception cref="InvalidRequestException">An option has a value that is not allowed.</exception>
    public static Task<LanguageModel> LoadAsync(
        string path, LanguageModelOptions? options = null, IProgress<LoadProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return LoadAsync(() => ModelFiles.Open(path), options, progress, cancellationToken);
    }

    /// <summary>Loads a model from a source that the caller opens, such as one in memory. The model owns the source from then on.</summary>
    /// <inheritdoc cref="LoadAsync(string, LanguageModelOptions?, IProgress{LoadProgress}?, CancellationToken)"/>
    /// <param name="open">Opens the source; called once.</param>
    public static Task<LanguageModel> LoadAsync(
        Func<ModelSource> open, LanguageModelOptions? options = null, IProgress<LoadProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(open);
        return Task.Run(() => Load(open, options ?? new LanguageModelOptions(), progress, cancellationToken), cancellationToken);
    }

    /// <summary>The tokens of a text.</summary>
    /// <param name="text">Any text.</param>
    /// <param name="addSpecialTokens">Whether to add the tokens that begin and end a text of this model.</param>
    /// <param name="parseSpecialTokens">Whether control tokens that stand in the text are recognised; leave it false for text from outside.</param>
    public IReadOnlyList<int> Tokenize(string text, bool addSpecialTokens = false, bool parseSpecialTokens = false) =>
        Tokenizer.Encode(text, addSpecialTokens, parseSpecialTokens);

    /// <summary>The prompt that the model's chat template makes of a conversation.</summary>
    /// <param name="messages">The conversation.</param>
    /// <param name="options">Tools, thinking and template variables are used; null: none.</param>
    /// <param name="addGenerationPrompt">Whether the prompt ends where the answer starts.</param>
    /// <exception cref="ChatFeatureNotSupportedException">A message holds something else than text, or the model has no chat template.</exception>
    /// <exception cref="TemplateException">The template refuses the conversation.</exception>
    public RenderedPrompt RenderChat(IEnumerable<ChatMessage> messages, GenerationOptions? options = null, bool addGenerationPrompt = true)
    {
        ArgumentNullException.ThrowIfNull(messages);
        options ??= new GenerationOptions();
        return RenderChat(MessageMapping.ToTemplate(messages), MessageMapping.ToTemplate(options.Tools), options, addGenerationPrompt);
    }

    /// <summary>As the other overload, for messages and tools in the form that templates see (OpenAI's JSON).</summary>
    /// <inheritdoc cref="RenderChat(IEnumerable{ChatMessage}, GenerationOptions?, bool)"/>
    /// <param name="tools">The tools, or null; those of the options are not used.</param>
    public RenderedPrompt RenderChat(IReadOnlyList<TemplateValue> messages, TemplateValue? tools, GenerationOptions? options = null, bool addGenerationPrompt = true)
    {
        options ??= new GenerationOptions();
        var variables = new Dictionary<string, TemplateValue>();
        foreach ((string key, JsonElement value) in options.TemplateVariables)
        {
            variables[key] = TemplateValue.FromJson(value);
        }

        if (options.Thinking is { } thinking)
        {
            variables["enable_thinking"] = TemplateValue.Of(thinking);
        }

        return RenderChat(new ChatTemplateInput { Messages = messages, Tools = tools, AddGenerationPrompt = addGenerationPrompt, Variables = variables });
    }

    /// <summary>As the other overloads, for everything that a template can be given. The model's own special tokens are added to the variables.</summary>
    /// <exception cref="ChatFeatureNotSupportedException">The model has no chat template.</exception>
    /// <exception cref="TemplateException">The template refuses the conversation.</exception>
    public RenderedPrompt RenderChat(ChatTemplateInput input)
    {
        ArgumentNullException.ThrowIfNull(input);
        ChatTemplate template = ChatTemplate ?? throw new ChatFeatureNotSupportedException(
            "ChatTemplate", $"{Name} has none, so it cannot hold a conversation; let it continue a text (CompleteAsync), or give it a template (LanguageModelOptions.ChatTemplate)");
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

    /// <summary>The tokens of a rendered prompt; text of the conversation never becomes a control token.</summary>
    public IReadOnlyList<int> Tokenize(RenderedPrompt prompt) => promptTokens.Encode(prompt);

    /// <summary>Answers a single message of a user. A model without chat template continues the text instead.</summary>
    /// <inheritdoc cref="GenerateAsync(IEnumerable{ChatMessage}, GenerationOptions?, CancellationToken)"/>
    /// <param name="prompt">What the user says.</param>
    public IAsyncEnumerable<AnswerPart> GenerateAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return ChatTemplate is null
            ? CompleteAsync(prompt, options, cancellationToken)
            : GenerateAsync([new ChatMessage(ChatRole.User, prompt)], options, cancellationToken);
    }

    /// <summary>Answers a conversation, piece by piece. Leaving the loop, or cancelling, stops the model within one step.</summary>
    /// <param name="messages">The conversation.</param>
    /// <param name="options">Options; null: the defaults.</param>
    /// <param name="cancellationToken">Stops the model.</param>
    /// <returns>Parts of the answer; the last is of kind <see cref="AnswerPartKind.End"/>.</returns>
    /// <exception cref="ObjectDisposedException">The model was disposed.</exception>
    /// <exception cref="EngineException">The request is not allowed, does not fit the context or could not be finished (disposing the model meanwhile: <see cref="EngineStoppedException"/>).</exception>
    /// <exception cref="ChatFeatureNotSupportedException">A message holds something else than text, or the model has no chat template.</exception>
    /// <exception cref="TemplateException">The template refuses the conversation.</exception>
    public async IAsyncEnumerable<AnswerPart> GenerateAsync(
        IEnumerable<ChatMessage> messages, GenerationOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(disposed != 0, this);
        options ??= new GenerationOptions();
        RenderedPrompt prompt = RenderChat(messages, options);
        bool hasTools = options.Tools.Any(t => t is AIFunctionDeclaration);
        var parser = new AnswerParser(prompt.Text, hasTools);
        await foreach (AnswerPart part in RunAsync(promptTokens.Encode(prompt), parser, options, cancellationToken).ConfigureAwait(false))
        {
            yield return part;
        }
    }

    /// <summary>Continues a text, without a chat template. Control tokens in it are text.</summary>
    /// <param name="text">The text; its tokens follow those that begin a text of this model, if there are such.</param>
    /// <param name="options">Options; null: the defaults.</param>
    /// <param name="cancellationToken">Stops the model.</param>
    /// <inheritdoc cref="GenerateAsync(IEnumerable{ChatMessage}, GenerationOptions?, CancellationToken)"/>
    public IAsyncEnumerable<AnswerPart> CompleteAsync(string text, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        ObjectDisposedException.ThrowIf(disposed != 0, this);
        return RunAsync(Tokenizer.Encode(text, addSpecialTokens: true), parser: null, options ?? new GenerationOptions(), cancellationToken);
    }

    /// <summary>The model as an <see cref="IChatClient"/>, for any number of callers at once. Disposing the client does not dispose the model.</summary>
    /// <remarks>
    /// Options that would change what the answer means and cannot be honoured (a JSON format, a forced tool, a conversation id) are refused with a
    /// <see cref="ChatFeatureNotSupportedException"/>; those without effect here (an unknown additional property, another model's id, a tool that is not a
    /// function) are listed in the response's additional properties under <c>antiphon.ignored_options</c>. The additional properties <c>min_p</c>,
    /// <c>typical_p</c>, <c>top_n_sigma</c>, <c>repetition_penalty</c>, <c>repetition_window</c>, <c>dry_multiplier</c>, <c>dry_base</c>,
    /// <c>dry_allowed_length</c>, <c>xtc_probability</c>, <c>xtc_threshold</c>, <c>mirostat</c>, <c>mirostat_tau</c>, <c>mirostat_eta</c>,
    /// <c>enable_thinking</c> and <c>chat_template_kwargs</c> are known. A raw representation is a <see cref="GenerationOptions"/> or
    /// <see cref="SamplingOptions"/> on which the other options are put.
    /// </remarks>
    public IChatClient AsChatClient() => new AntiphonChatClient(this);

    /// <summary>Ends the requests under way with <see cref="EngineStoppedException"/>, then frees the model.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref disposed, 1) == 0)
        {
            await Engine.DisposeAsync().ConfigureAwait(false);
            loaded.Dispose();
            source.Dispose();
        }
    }

    private static LanguageModel Load(Func<ModelSource> open, LanguageModelOptions options, IProgress<LoadProgress>? progress, CancellationToken cancellationToken)
    {
        progress?.Report(new LoadProgress("opening", 0));
        ModelSource source = open();
        LoadedModel? loaded = null;
        try
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new LoadProgress("reading the tokenizer", 0.05));
            TextAssets assets = TextAssets.Read(source);
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new LoadProgress("reading the weights", 0.2));
            loaded = ModelLoader.Load(source, options.Threads, options.Adapters);
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new LoadProgress("starting the engine", 0.95));
            var model = new LanguageModel(source, loaded, assets, options);
            progress?.Report(new LoadProgress("ready", 1));
            return model;
        }
        catch
        {
            loaded?.Dispose();
            source.Dispose();
            throw;
        }
    }

    private async IAsyncEnumerable<AnswerPart> RunAsync(
        int[] prompt, AnswerParser? parser, GenerationOptions options, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var request = new GenerationRequest
        {
            PromptTokens = prompt,
            MaxTokens = options.MaxTokens,
            Sampling = options.Sampling ?? DefaultSampling,
            StopStrings = options.StopStrings,
            Seed = options.Seed,
            Priority = options.Priority,
            CacheSalt = options.CacheSalt,
        };
        using Generation generation = Engine.Submit(request, cancellationToken);
        List<AnswerPart> parts = [];
        int reasoning = 0;
        GenerationEvent last = default;
        bool enough = false;
        await foreach (GenerationEvent step in generation.ConfigureAwait(false))
        {
            last = step;
            reasoning += step.Token is not null && parser?.IsThinking == true ? 1 : 0;
            parts.Clear();
            Read(step.Text, step.FinishReason != FinishReason.None);
            foreach (AnswerPart part in parts)
            {
                yield return part with { Usage = step.Usage, ReasoningTokens = reasoning, Seed = generation.Seed };
                enough |= part.Kind == AnswerPartKind.ToolCall && !options.AllowMultipleToolCalls;
                if (enough)
                {
                    break;
                }
            }

            if (enough)
            {
                break;
            }
        }

        yield return new AnswerPart
        {
            Kind = AnswerPartKind.End,
            Text = "",
            FinishReason = enough ? FinishReason.Stop : last.FinishReason,
            Usage = last.Usage,
            ReasoningTokens = reasoning,
            Seed = generation.Seed,
        };

        void Read(string? text, bool final)
        {
            if (parser is null)
            {
                if (!string.IsNullOrEmpty(text))
                {
                    parts.Add(new AnswerPart { Kind = AnswerPartKind.Text, Text = text });
                }

                return;
            }

            if (!string.IsNullOrEmpty(text))
            {
                parser.Append(text, parts);
            }

            if (final)
            {
                parser.Finish(parts);
            }
        }
    }
}
