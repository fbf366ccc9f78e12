namespace Antiphon.Engine;

/// <summary>
/// A request under way. Read it once: either event by event (<c>await foreach</c>), or as a whole with <see cref="CompleteAsync"/>.
/// Either way a failure is thrown after the last event: the typed <see cref="EngineException"/> of <see cref="Error"/>, or
/// <see cref="OperationCanceledException"/> when the token given to <see cref="InferenceEngine.Submit"/> was cancelled. <see cref="Cancel"/> throws nothing.
/// Disposing, or leaving the <c>await foreach</c>, cancels what is not finished.
/// </summary>
public sealed partial class Generation : IAsyncEnumerable<GenerationEvent>, IDisposable
{
    /// <summary>The request.</summary>
    public GenerationRequest Request { get; } = null!;

    /// <summary>The seed in use: the request's, or the one that was drawn for it.</summary>
    public long Seed { get; }

    /// <summary>Why it failed; null unless a choice ended with <see cref="FinishReason.Error"/>.</summary>
    public EngineException? Error { get; }

    /// <summary>Log-probabilities of the prompt's tokens when asked for, complete when the first event arrives; the first is null, since nothing predicts it.</summary>
    public IReadOnlyList<PositionLogprobs?> PromptLogprobs { get; } = [];

    /// <summary>Ends all choices within one step, with <see cref="FinishReason.Cancelled"/>.</summary>
    public void Cancel() => throw new NotImplementedException();

    /// <summary>Waits for the end and returns the whole.</summary>
    /// <param name="cancellationToken">Stops the request itself.</param>
    public Task<GenerationResult> CompleteAsync(CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <inheritdoc/>
    public IAsyncEnumerator<GenerationEvent> GetAsyncEnumerator(CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <inheritdoc/>
    public void Dispose() => Cancel();
}
