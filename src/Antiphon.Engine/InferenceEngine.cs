using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>Requests in, tokens out: one model, one cache, one engine thread, any number of callers. All members are safe to call from any thread.</summary>
public sealed class InferenceEngine : IAsyncDisposable, IDisposable
{
    private readonly EngineLoop loop;
    private readonly EngineTelemetry telemetry;
    private readonly ITokenText? text;
    private readonly BreakerTokens breakers;
    private readonly Thread thread;

    /// <summary>Creates the cache and starts the engine thread.</summary>
    /// <param name="backend">What runs the model. The engine is its only user and does not dispose it.</param>
    /// <param name="text">How tokens become text; null: requests get tokens only.</param>
    /// <param name="options">Options; null: the defaults.</param>
    /// <exception cref="InvalidRequestException">An option has a value that is not allowed.</exception>
    public InferenceEngine(IBackend backend, ITokenText? text = null, EngineOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(backend);
        Options = options ?? new EngineOptions();
        CheckOptions(Options);
        this.text = text;
        VocabularySize = backend.VocabularySize;
        EmbeddingWidth = backend.Width;
        CanGenerate = backend.HasHead;
        breakers = new BreakerTokens(text, VocabularySize);
        int blocks = PoolSize.Blocks(Options, backend, Math.Max(0, PoolSize.FreeBytes() - backend.PendingBytes));
        ContextLength = (int)Math.Min(Math.Min(backend.ContextLength, Options.ContextLength ?? int.MaxValue), (long)blocks * Options.BlockSize);
        if (ContextLength < 2)
        {
            throw new InvalidRequestException(nameof(EngineOptions.BlockCount), "the pool holds a single token: at least two are needed");
        }

        telemetry = new EngineTelemetry(Options, GetStatistics);
        loop = new EngineLoop(backend, text, Options, backend.CreateCache(Options.BlockSize, blocks), new AutoregressiveDecoder(), telemetry);
        thread = new Thread(loop.Run) { Name = "Antiphon engine", IsBackground = true };
        thread.Start();
    }

    /// <summary>The options in use.</summary>
    public EngineOptions Options { get; }

    /// <summary>Longest sequence, prompt and answer together: the least of what the model, the options and the pool allow (n_ctx).</summary>
    public int ContextLength { get; }

    /// <summary>Number of tokens.</summary>
    public int VocabularySize { get; }

    /// <summary>Number of values in a text's vector.</summary>
    public int EmbeddingWidth { get; }

    /// <summary>Whether the model generates; if not, it was made for embeddings alone.</summary>
    public bool CanGenerate { get; }

    /// <summary>The state.</summary>
    public EngineState State => loop.Inbox.State;

    /// <summary>Why the engine failed for good; null unless <see cref="State"/> is <see cref="EngineState.Faulted"/>.</summary>
    public Exception? Fault => loop.Inbox.Fault;

    /// <summary>Puts a request into the queue.</summary>
    /// <param name="request">The request. It is copied: later changes to its lists have no effect.</param>
    /// <param name="cancellationToken">Stops the request within one step.</param>
    /// <exception cref="InvalidRequestException">A field has a value that is not allowed.</exception>
    /// <exception cref="ContextFullException">The prompt leaves no room for an answer.</exception>
    /// <exception cref="QueueFullException">Too many requests wait.</exception>
    /// <exception cref="EngineStoppedException">The engine drains, stopped or failed.</exception>
    public Generation Submit(GenerationRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (!CanGenerate)
        {
            throw new InvalidRequestException(nameof(request), "the model was made for embeddings and has no head, so it cannot generate: use EmbedAsync, or another model");
        }

        GenerationRequest copy = RequestValidator.Check(request, VocabularySize, ContextLength, text is not null);
        int maxTokens = Math.Min(copy.MaxTokens ?? int.MaxValue, ContextLength - copy.PromptTokens.Count);
        HashSet<int> stops = [.. copy.StopTokens];
        if (!copy.IgnoreEos && text is not null)
        {
            stops.UnionWith(text.EndTokens);
        }

        return Post(new Generation(loop.Inbox, copy, maxTokens, stops, breakers.Of(copy.Sampling), cancellationToken));
    }

    /// <summary>Turns a text into a vector, in the same steps as all other requests; none changes another's result.</summary>
    /// <param name="request">The text. It is copied: later changes have no effect.</param>
    /// <param name="cancellationToken">Stops the request within one step.</param>
    /// <exception cref="InvalidRequestException">A field has a value that is not allowed.</exception>
    /// <exception cref="ContextFullException">The text is longer than the context.</exception>
    /// <exception cref="QueueFullException">Too many requests wait.</exception>
    /// <exception cref="EngineException">The request failed, or the engine drains, stopped or failed.</exception>
    /// <exception cref="OperationCanceledException">The caller cancelled.</exception>
    public async Task<EmbeddingResult> EmbedAsync(EmbeddingRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        cancellationToken.ThrowIfCancellationRequested();
        GenerationRequest copy = RequestValidator.Check(request, VocabularySize, ContextLength);
        using Generation generation = Post(new Generation(loop.Inbox, copy, 0, [], [], cancellationToken) { Pooling = request.Pooling });
        GenerationUsage usage = default;
        await foreach (GenerationEvent item in generation.ConfigureAwait(false))
        {
            usage = item.Usage;
        }

        return new EmbeddingResult(generation.Embedding ?? throw new EngineStoppedException("the engine drains and has ended its requests"), usage);
    }

    private Generation Post(Generation generation)
    {
        generation.FollowCancellation();
        try
        {
            loop.Inbox.Post(generation);
        }
        catch
        {
            generation.Complete();
            throw;
        }

        return generation;
    }

    /// <summary>A snapshot of counters and gauges.</summary>
    public EngineStatistics GetStatistics()
    {
        long started = loop.StepStarted;
        int idle = loop.IdleBlocks;
        return new EngineStatistics
        {
            State = State,
            Running = loop.Running,
            Waiting = loop.Waiting,
            CacheBlocks = loop.Cache.BlockCount,
            CacheBlocksUsed = Math.Clamp(loop.Cache.BlockCount - loop.Cache.FreeBlocks - idle, 0, loop.Cache.BlockCount),
            CacheBlocksIdle = idle,
            PrefixQueryTokens = telemetry.PrefixQueryTokens,
            PrefixHitTokens = telemetry.PrefixHitTokens,
            PrefixEvictions = loop.Evictions,
            PromptTokens = telemetry.PromptTokens,
            GeneratedTokens = telemetry.GeneratedTokens,
            Finished = telemetry.Finished,
            Preemptions = telemetry.Preemptions,
            Steps = telemetry.Steps,
            ForwardFailures = telemetry.ForwardFailures,
            StepAge = started == 0 ? TimeSpan.Zero : Options.TimeProvider.GetElapsedTime(started),
        };
    }

    /// <summary>Takes no new requests, lets the others finish, and returns when they have. Cancelling ends them instead, and still waits for the end.</summary>
    public async Task DrainAsync(CancellationToken cancellationToken = default)
    {
        loop.Inbox.Drain();
        using (cancellationToken.UnsafeRegister(static self => ((Inbox)self!).CancelAll(), loop.Inbox))
        {
            await loop.Drained.ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Writes the cached prefixes, to be read by <see cref="RestoreCacheAsync"/> after a restart. Requests wait meanwhile, so call it when there are few: best after
    /// <see cref="DrainAsync"/>. What is written holds users' texts.
    /// </summary>
    /// <param name="stream">Where to.</param>
    /// <param name="modelHash">32 bytes that tell this model from others: whatever changes keys and values must change them.</param>
    /// <returns>Number of blocks.</returns>
    /// <exception cref="CacheFileException">The model has recurrent layers, whose state is not saved, or prefixes are not cached.</exception>
    /// <exception cref="EngineStoppedException">The engine has ended.</exception>
    public Task<int> SaveCacheAsync(Stream stream, ReadOnlyMemory<byte> modelHash) => OnEngineThread(stream, modelHash, loop.SaveCache);

    /// <summary>Reads what <see cref="SaveCacheAsync"/> wrote. Before the first request only. Of a cache larger than the pool the prefixes used last are taken.</summary>
    /// <param name="stream">Where from. A damaged or hostile one changes nothing, but one that is neither can claim any answer: read only your own.</param>
    /// <param name="modelHash">As it was given when saving.</param>
    /// <returns>Number of blocks.</returns>
    /// <exception cref="CacheFileException">The stream is damaged or belongs to another model or block size, or the cache is in use.</exception>
    /// <exception cref="EngineStoppedException">The engine has ended.</exception>
    public Task<int> RestoreCacheAsync(Stream stream, ReadOnlyMemory<byte> modelHash) => OnEngineThread(stream, modelHash, loop.RestoreCache);

    private Task<int> OnEngineThread(Stream stream, ReadOnlyMemory<byte> modelHash, CacheTransfer transfer)
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentOutOfRangeException.ThrowIfNotEqual(modelHash.Length, CacheFile.HashBytes, nameof(modelHash));
        if (!Options.PrefixCaching)
        {
            throw new CacheFileException("prefixes are not cached (EngineOptions.PrefixCaching is false), so there is nothing to save or restore");
        }

        var done = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        loop.Inbox.Post(alive =>
        {
            try
            {
                done.SetResult(alive ? transfer(stream, modelHash.Span) : throw new EngineStoppedException("the engine was stopped"));
            }
            catch (Exception failure)
            {
                done.SetException(failure);
            }
        });
        return done.Task;
    }

    private delegate int CacheTransfer(Stream stream, ReadOnlySpan<byte> modelHash);

    /// <summary>Stops at the end of the current step; requests under way fail with <see cref="EngineStoppedException"/>.</summary>
    public void Dispose()
    {
        loop.Inbox.Stop();
        if (Thread.CurrentThread != thread)
        {
            thread.Join();
        }

        telemetry.Dispose();
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => new(Task.Run(Dispose));

    private static void CheckOptions(EngineOptions options)
    {
        Check.Given(nameof(options.Name), options.Name);
        Check.Given(nameof(options.Policy), options.Policy);
        Check.Given(nameof(options.TimeProvider), options.TimeProvider);
        Check.Range(nameof(options.BlockSize), options.BlockSize, 1, 1024);
        Check.Range(nameof(options.BlockCount), options.BlockCount ?? 1, 1, int.MaxValue);
        Check.Range(nameof(options.CacheBytes), options.CacheBytes ?? 1, 1, long.MaxValue);
        Check.Range(nameof(options.ContextLength), options.ContextLength ?? 2, 2, int.MaxValue);
        Check.Range(nameof(options.MaxSequences), options.MaxSequences, 1, 4096);
        Check.Range(nameof(options.TokenBudget), options.TokenBudget, options.MaxSequences, 1 << 20);
        Check.Range(nameof(options.PrefillTime), options.PrefillTime.Ticks, 0, TimeSpan.TicksPerMinute);
        Check.Range(nameof(options.PrefillChunk), options.PrefillChunk, 1, 1 << 20);
        Check.Range(nameof(options.QueueLimit), options.QueueLimit, 1, 1 << 20);
        Check.Positive(nameof(options.PrefixShare), (float)options.PrefixShare, 1);
        Check.Range(nameof(options.MaxForwardFailures), options.MaxForwardFailures, 1, int.MaxValue);
    }
}
