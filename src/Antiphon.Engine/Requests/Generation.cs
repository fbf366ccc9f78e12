using System.Runtime.CompilerServices;
using System.Text;
using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>
/// A request under way. Read it once: either event by event (<c>await foreach</c>), or as a whole with <see cref="CompleteAsync"/>.
/// Either way a failure is thrown after the last event: the typed <see cref="EngineException"/> of <see cref="Error"/>, or
/// <see cref="OperationCanceledException"/> when a token that the caller gave was cancelled. <see cref="Cancel"/> throws nothing.
/// Disposing, or leaving the <c>await foreach</c>, cancels what is not finished.
/// </summary>
public sealed class Generation : IAsyncEnumerable<GenerationEvent>, IDisposable
{
    private readonly Inbox inbox;
    private readonly CancellationToken cancellation;
    private CancellationTokenRegistration registration;
    private bool cancelRequested;
    private int readers;

    internal Generation(Inbox inbox, GenerationRequest request, int maxTokens, HashSet<int> stopTokens, HashSet<int> breakers, CancellationToken cancellation)
    {
        this.inbox = inbox;
        this.cancellation = cancellation;
        Request = request;
        Seed = request.Seed ?? Random.Shared.NextInt64(long.MinValue, long.MaxValue);
        Prompt = [.. request.PromptTokens];
        MaxTokens = maxTokens;
        StopTokens = stopTokens;
        Breakers = breakers;
        Choices = new Choice[request.N];
        for (int i = 0; i < Choices.Length; i++)
        {
            Choices[i] = new Choice(this, i);
        }

        Unfinished = Choices.Length;
        PromptLogprobs = request.PromptLogprobs ? new PositionLogprobs?[Prompt.Length] : [];
    }

    /// <summary>The request.</summary>
    public GenerationRequest Request { get; }

    /// <summary>The seed in use: the request's, or the one that was drawn for it.</summary>
    public long Seed { get; }

    /// <summary>Why it failed; null unless a choice ended with <see cref="FinishReason.Error"/>.</summary>
    public EngineException? Error { get; internal set; }

    /// <summary>Log-probabilities of the prompt's tokens when asked for, complete when the first token arrives; the first is null, since nothing predicts it.</summary>
    public IReadOnlyList<PositionLogprobs?> PromptLogprobs { get; }

    /// <summary>
    /// Why less than half of the prompt came from the prefix cache, when that is known: the index of the token at which it departs from a cached one. Known when the
    /// first event arrives; null when enough was found, or nothing that goes on like it.
    /// </summary>
    public int? DivergedAt { get; internal set; }

    internal int[] Prompt { get; }

    internal int MaxTokens { get; }

    /// <summary>What prompt and answer may grow to, the same from the start and after preemption.</summary>
    internal int PlannedLength => Prompt.Length + MaxTokens;

    internal HashSet<int> StopTokens { get; }

    internal HashSet<int> Breakers { get; }

    internal Choice[] Choices { get; }

    /// <summary>How the prompt becomes a vector; null when it is to be answered.</summary>
    internal Pooling? Pooling { get; init; }

    internal EventQueue Events { get; } = new();

    // What follows belongs to the engine thread.

    /// <summary>Choices that have not ended.</summary>
    internal int Unfinished { get; set; }

    /// <summary>Whether a choice was admitted; the request does not count as waiting any more.</summary>
    internal bool Admitted { get; set; }

    /// <summary>Whether choices behind the first were put into the queue.</summary>
    internal bool Forked { get; set; }

    /// <summary>Whether there are events of which the reader was not told.</summary>
    internal bool HasNews { get; set; }

    internal long ArrivalTimestamp { get; set; }

    internal int CachedTokens { get; set; }

    /// <summary>The prompt's vector, once it is there.</summary>
    internal float[]? Embedding { get; set; }

    internal int CompletionTokens { get; set; }

    /// <summary>Number of prompt positions whose log-probabilities are recorded, the first (which has none) included.</summary>
    internal int RecordedPrompt { get; set; } = 1;

    internal bool NeedsPromptLogprobs => Request.PromptLogprobs && RecordedPrompt < Prompt.Length;

    internal GenerationUsage Usage => new(Prompt.Length, CachedTokens, CompletionTokens);

    internal bool CancelRequested => Volatile.Read(ref cancelRequested);

    /// <summary>Ends all choices within one step, with <see cref="FinishReason.Cancelled"/>.</summary>
    public void Cancel()
    {
        if (!Interlocked.Exchange(ref cancelRequested, true))
        {
            inbox.NoteCancel();
        }
    }

    /// <summary>Waits for the end and returns the whole.</summary>
    /// <param name="cancellationToken">Cancels the request.</param>
    /// <exception cref="EngineException">The request failed.</exception>
    /// <exception cref="OperationCanceledException">A token that the caller gave was cancelled.</exception>
    /// <exception cref="InvalidOperationException">It is being read already.</exception>
    public async Task<GenerationResult> CompleteAsync(CancellationToken cancellationToken = default)
    {
        List<int>[] tokens = Collect(static () => new List<int>());
        StringBuilder[] texts = Collect(static () => new StringBuilder());
        List<PositionLogprobs>[] logprobs = Collect(static () => new List<PositionLogprobs>());
        GenerationEvent[] last = new GenerationEvent[Choices.Length];
        GenerationUsage usage = default;
        await foreach (GenerationEvent item in this.WithCancellation(cancellationToken).ConfigureAwait(false))
        {
            texts[item.Choice].Append(item.Text);
            last[item.Choice] = item;
            usage = item.Usage;
            if (item.Token is { } token)
            {
                tokens[item.Choice].Add(token);
                if (item.Logprob is { } logprob)
                {
                    logprobs[item.Choice].Add(new PositionLogprobs(new TokenLogprob(token, logprob), item.TopLogprobs ?? []));
                }
            }
        }

        GenerationChoice[] choices = new GenerationChoice[Choices.Length];
        for (int i = 0; i < choices.Length; i++)
        {
            choices[i] = new GenerationChoice(i, tokens[i], texts[i].ToString(), last[i].FinishReason, last[i].StopString, logprobs[i]);
        }

        return new GenerationResult(choices, usage, PromptLogprobs);
    }

    /// <inheritdoc/>
    public async IAsyncEnumerator<GenerationEvent> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        if (Interlocked.Increment(ref readers) != 1)
        {
            throw new InvalidOperationException("a generation can be read once");
        }

        bool cancelled = false;
        using (cancellationToken.UnsafeRegister(static self => ((Generation)self!).Cancel(), this))
        {
            try
            {
                do
                {
                    while (Events.TryRead(out GenerationEvent item))
                    {
                        cancelled |= item.FinishReason == FinishReason.Cancelled;
                        yield return item;
                    }
                }
                while (await Events.WaitAsync().ConfigureAwait(false));
            }
            finally
            {
                Cancel();
            }
        }

        if (Error is not null)
        {
            throw Error;
        }

        if (cancelled)
        {
            cancellationToken.ThrowIfCancellationRequested();
            cancellation.ThrowIfCancellationRequested();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Cancel();

    /// <summary>Follows the caller's token, once the engine knows the request.</summary>
    internal void FollowCancellation() =>
        registration = cancellation.UnsafeRegister(static self => ((Generation)self!).Cancel(), this);

    /// <summary>Called on the engine thread when the last choice has ended.</summary>
    internal void Complete()
    {
        // Not cancelled by anyone any more; this also keeps Cancel from waking the engine for nothing.
        Interlocked.Exchange(ref cancelRequested, true);
        registration.Unregister();
        Events.Complete();
    }

    private T[] Collect<T>(Func<T> create)
    {
        T[] items = new T[Choices.Length];
        for (int i = 0; i < items.Length; i++)
        {
            items[i] = create();
        }

        return items;
    }
}
