using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>Requests in, tokens out: one model, one cache, one engine thread, any number of callers. All members are safe to call from any thread.</summary>
public sealed class InferenceEngine : IAsyncDisposable, IDisposable
{
    /// <summary>Creates the cache and starts the engine thread.</summary>
    /// <param name="backend">What runs the model. The engine is its only user and does not dispose it.</param>
    /// <param name="text">How tokens become text; null: requests get tokens only.</param>
    /// <param name="options">Options; null: the defaults.</param>
    /// <exception cref="InvalidRequestException">An option has a value that is not allowed.</exception>
    public InferenceEngine(IBackend backend, ITokenText? text = null, EngineOptions? options = null) => throw new NotImplementedException();

    /// <summary>The options in use.</summary>
    public EngineOptions Options { get; } = null!;

    /// <summary>Longest sequence, prompt and answer together: the least of what the model, the options and the pool allow (n_ctx).</summary>
    public int ContextLength { get; }

    /// <summary>Number of tokens.</summary>
    public int VocabularySize { get; }

    /// <summary>The state.</summary>
    public EngineState State { get; }

    /// <summary>Why the engine failed for good; null unless <see cref="State"/> is <see cref="EngineState.Faulted"/>.</summary>
    public Exception? Fault { get; }

    /// <summary>Puts a request into the queue.</summary>
    /// <param name="request">The request.</param>
    /// <param name="cancellationToken">Stops the request within one step.</param>
    /// <exception cref="InvalidRequestException">A field has a value that is not allowed.</exception>
    /// <exception cref="ContextFullException">The prompt leaves no room for an answer.</exception>
    /// <exception cref="QueueFullException">Too many requests wait.</exception>
    /// <exception cref="EngineStoppedException">The engine drains, stopped or failed.</exception>
    public Generation Submit(GenerationRequest request, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <summary>A snapshot of counters and gauges.</summary>
    public EngineStatistics GetStatistics() => throw new NotImplementedException();

    /// <summary>Takes no new requests, lets the others finish, and returns when they have. Cancelling cancels them.</summary>
    public Task DrainAsync(CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <summary>Stops at the end of the current step; requests under way fail with <see cref="EngineStoppedException"/>.</summary>
    public void Dispose() => throw new NotImplementedException();

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => throw new NotImplementedException();
}
