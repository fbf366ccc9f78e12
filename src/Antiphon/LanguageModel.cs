using System.Runtime.CompilerServices;
using Antiphon.Engine;
using Antiphon.Kernels;
using Antiphon.Kernels.Tuning;
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
    private readonly KernelTuning? tuning;
    private readonly IReadOnlyList<string> adapters;
    private readonly MatrixPrecision precision;
    private readonly KvFormat kvFormat;
    private readonly Lazy<TextEmbedder> embedder;
    private int disposed;

    private LanguageModel(LoadedModel loaded, ModelText text, KernelTuning? tuning, LanguageModelOptions options)
    {
        this.loaded = loaded;
        this.tuning = tuning;
        adapters = options.Adapters;
        precision = options.Precision;
        kvFormat = options.KvFormat;
        Text = text;
        DefaultSampling = options.DefaultSampling ?? text.RecommendedSampling ?? FallbackSampling;
        Name = options.Name ?? text.Name ?? Path.GetFileNameWithoutExtension(loaded.Source.Path.TrimEnd('/', '\\'));
        embedder = new Lazy<TextEmbedder>(() => new TextEmbedder(Engine!, Text.Tokenizer, EmbeddingSpec.Read(loaded.Source)));
        Engine = new InferenceEngine(loaded.Backend, new TokenizerText(text.Tokenizer, [.. loaded.EosTokenIds.Union(text.EndTokens)]), options.Engine);
    }

    /// <summary>The model's name.</summary>
    public string Name { get; }

    /// <summary>The tokenizer, the chat template, and what else the files say beside the weights.</summary>
    public ModelText Text { get; }

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
    /// <param name="options">Options; null: the defaults.</param>
    /// <param name="progress">Told how far it is.</param>
    /// <param name="cancellationToken">Stops loading; what was loaded is freed.</param>
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
        Text.Tokenizer.Encode(text, addSpecialTokens, parseSpecialTokens);

    /// <inheritdoc cref="ModelText.Render(IEnumerable{ChatMessage}, GenerationOptions?, bool)"/>
    public RenderedPrompt RenderChat(IEnumerable<ChatMessage> messages, GenerationOptions? options = null, bool addGenerationPrompt = true) =>
        Text.Render(messages, options, addGenerationPrompt);

    /// <summary>Answers a single message of a user. A model without chat template continues the text instead.</summary>
    /// <inheritdoc cref="GenerateAsync(IEnumerable{ChatMessage}, GenerationOptions?, CancellationToken)"/>
    /// <param name="prompt">What the user says.</param>
    /// <param name="options">Options; null: the defaults.</param>
    /// <param name="cancellationToken">Stops the model.</param>
    public IAsyncEnumerable<AnswerPart> GenerateAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return Text.ChatTemplate is null
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
        ObjectDisposedException.ThrowIf(Volatile.Read(ref disposed) != 0, this);
        options ??= new GenerationOptions();
        RenderedPrompt prompt = RenderChat(messages, options);
        bool hasTools = options.Tools.Any(t => t is AIFunctionDeclaration);
        var parser = new AnswerParser(prompt.Text, hasTools);
        await foreach (AnswerPart part in RunAsync(Text.Encode(prompt), parser, options, cancellationToken).ConfigureAwait(false))
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
        ObjectDisposedException.ThrowIf(Volatile.Read(ref disposed) != 0, this);
        return RunAsync(Text.Tokenizer.Encode(text, addSpecialTokens: true), parser: null, options ?? new GenerationOptions(), cancellationToken);
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
    public IChatClient AsChatClient() => new AntiphonChatClient(new SharedLanguageModel(this));

    /// <summary>How the model's files say that embeddings are made.</summary>
    /// <exception cref="ModelFormatException">These files are damaged.</exception>
    /// <exception cref="UnsupportedModelException">The model's embeddings are of a kind that this version does not make.</exception>
    public EmbeddingSpec Embeddings => embedder.Value.Spec;

    /// <summary>The vector of a text. Texts share the engine's steps with all other requests.</summary>
    /// <param name="text">The text. It is never cut unless the options say so; control tokens in it are text.</param>
    /// <param name="options">Options; null: the defaults.</param>
    /// <param name="cancellationToken">Stops the request within one step.</param>
    /// <exception cref="ObjectDisposedException">The model was disposed.</exception>
    /// <exception cref="InvalidRequestException">An option has a value that is not allowed, or the text has no tokens.</exception>
    /// <exception cref="ContextFullException">The text is too long.</exception>
    /// <exception cref="QueueFullException">Too many requests wait.</exception>
    /// <exception cref="EngineException">The request could not be finished.</exception>
    /// <exception cref="ModelFormatException">What the model's files say of embeddings is damaged.</exception>
    /// <exception cref="UnsupportedModelException">The model's embeddings are of a kind that this version does not make.</exception>
    public Task<EmbeddingResult> EmbedAsync(string text, EmbeddingOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        ObjectDisposedException.ThrowIf(Volatile.Read(ref disposed) != 0, this);
        return embedder.Value.EmbedAsync(text, options ?? new EmbeddingOptions(), cancellationToken);
    }

    /// <summary>The vector of a text in tokens, to which neither a prompt nor the tokens that begin and end a text are added.</summary>
    /// <inheritdoc cref="EmbedAsync(string, EmbeddingOptions?, CancellationToken)"/>
    /// <param name="tokens">At least one, each in the vocabulary.</param>
    /// <param name="options">Options; null: the defaults.</param>
    /// <param name="cancellationToken">Stops the request within one step.</param>
    public Task<EmbeddingResult> EmbedAsync(IReadOnlyList<int> tokens, EmbeddingOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        ObjectDisposedException.ThrowIf(Volatile.Read(ref disposed) != 0, this);
        return embedder.Value.EmbedAsync(tokens, options ?? new EmbeddingOptions(), cancellationToken);
    }

    /// <summary>The model as an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/>, for any number of callers at once. Disposing the generator does not dispose the model.</summary>
    /// <remarks>
    /// The additional properties <c>pooling</c> (mean, last, first), <c>normalize</c>, <c>truncate</c>, <c>prompt_name</c> and <c>prompt</c> are known; others, and
    /// another model's id, are listed in the result's additional properties under <c>antiphon.ignored_options</c>. A raw representation is an
    /// <see cref="EmbeddingOptions"/> on which the other options are put.
    /// </remarks>
    /// <param name="defaults">What holds where a call says nothing; null: the defaults.</param>
    /// <exception cref="ModelFormatException">What the model's files say of embeddings is damaged.</exception>
    /// <exception cref="UnsupportedModelException">The model's embeddings are of a kind that this version does not make.</exception>
    public IEmbeddingGenerator<string, Embedding<float>> AsEmbeddingGenerator(EmbeddingOptions? defaults = null)
    {
        _ = embedder.Value;
        return new AntiphonEmbeddingGenerator(new SharedLanguageModel(this), defaults);
    }

    /// <summary>Writes the cached prefixes of past conversations to a file, whole or not at all, readable by its owner only. It holds users' texts.</summary>
    /// <param name="path">The file; replaced if there is one.</param>
    /// <returns>Number of cache blocks written.</returns>
    /// <exception cref="CacheFileException">The model has recurrent layers, or prefixes are not cached.</exception>
    /// <exception cref="EngineStoppedException">The engine has ended.</exception>
    public async Task<int> SaveCacheAsync(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string partial = $"{path}.{Guid.NewGuid():N}.part";
        try
        {
            int blocks;
            var create = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, BufferSize = 1 << 20 };
            if (!OperatingSystem.IsWindows())
            {
                create.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            var file = new FileStream(partial, create);
            await using (file.ConfigureAwait(false))
            {
                blocks = await Engine.SaveCacheAsync(file, CacheKey()).ConfigureAwait(false);
            }

            File.Move(partial, path, overwrite: true);
            return blocks;
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }

    /// <summary>Reads what <see cref="SaveCacheAsync"/> wrote, for this model with these adapters on this kind of processor; before the first request.</summary>
    /// <param name="path">The file. Read only your own: one made to deceive can claim any answer.</param>
    /// <returns>Number of cache blocks restored.</returns>
    /// <exception cref="CacheFileException">The file is damaged or belongs to another model, or the cache is in use. Nothing was changed.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public async Task<int> RestoreCacheAsync(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var file = new FileStream(path, new FileStreamOptions { BufferSize = 1 << 20, Options = FileOptions.SequentialScan });
        await using (file.ConfigureAwait(false))
        {
            return await Engine.RestoreCacheAsync(file, CacheKey()).ConfigureAwait(false);
        }
    }

    /// <summary>What keys and values depend on. Kernels of different tiers round differently, and with bfloat16 than without, so their caches do not mix; formats of keys and values do not either.</summary>
    private byte[] CacheKey() => ModelFingerprint.Of(
        loaded.Source, adapters, $"{CpuFeatures.DefaultTier} {precision} {kvFormat}{(CpuFeatures.Current.HasAvx512BFloat16 ? "" : " without bfloat16")}");

    /// <summary>Ends the requests under way with <see cref="EngineStoppedException"/>, then frees the model.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref disposed, 1) == 0)
        {
            await Engine.DisposeAsync().ConfigureAwait(false);
            loaded.Dispose();
            try
            {
                tuning?.Save();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // A folder that cannot be written costs a few measurements the next time, no more.
            }
        }
    }

    private static LanguageModel Load(Func<ModelSource> open, LanguageModelOptions options, IProgress<LoadProgress>? progress, CancellationToken cancellationToken)
    {
        progress?.Report(new LoadProgress("opening", 0));
        ModelSource source = open();
        LoadedModel? loaded = null;
        Task<ModelText>? reading = null;
        try
        {
            // The vocabulary takes about as long as the weights, most of it on one processor.
            cancellationToken.ThrowIfCancellationRequested();
            reading = Task.Run(() => ModelText.Read(source, options.ChatTemplate), CancellationToken.None);
            progress?.Report(new LoadProgress("reading the weights", 0.05));
            KernelTuning? tuning = options.TuningFile is { } path ? new KernelTuning(path, CpuFeatures.DefaultTier, options.Threads ?? Environment.ProcessorCount) : null;
            loaded = ModelLoader.Load(source, new ModelLoadOptions
            {
                Threads = options.Threads ?? 0,
                Tuning = tuning,
                Precision = options.Precision,
                KvFormat = options.KvFormat,
                PackInBackground = options.PackInBackground,
                Adapters = options.Adapters,
                Progress = new WeightProgress(progress, reading, cancellationToken),
            });
            progress?.Report(new LoadProgress("reading the tokenizer", 0.9));
            ModelText text = reading.GetAwaiter().GetResult();
            if (text.Tokenizer.VocabularySize > loaded.Backend.VocabularySize)
            {
                throw new ModelFormatException(
                    $"{source.Path}: the tokenizer has {text.Tokenizer.VocabularySize} tokens, but the weights know only {loaded.Backend.VocabularySize}; they do not belong together, fetch both from one place");
            }

            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new LoadProgress("starting the engine", 0.95));
            var model = new LanguageModel(loaded, text, tuning, options);
            progress?.Report(new LoadProgress("ready", 1));
            return model;
        }
        catch
        {
            // The source stays open until nobody reads it any more; the first failure is the one to tell.
            _ = reading?.ContinueWith(static task => task.Exception, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default).GetAwaiter().GetResult();
            (loaded ?? (IDisposable)source).Dispose();
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

    /// <summary>The loader's share of the whole; a report is also where loading can be stopped, by the caller or by a tokenizer that cannot be read.</summary>
    private sealed class WeightProgress(IProgress<LoadProgress>? progress, Task<ModelText> reading, CancellationToken cancellationToken) : IProgress<double>
    {
        public void Report(double value)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (reading.IsFaulted)
            {
                reading.GetAwaiter().GetResult();
            }

            progress?.Report(new LoadProgress("reading the weights", 0.05 + (0.85 * value)));
        }
    }
}
