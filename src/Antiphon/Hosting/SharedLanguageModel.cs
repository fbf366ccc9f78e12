namespace Antiphon;

/// <summary>
/// A model that is loaded once, when it is first asked for, and shared by all who ask. What <c>AddAntiphonModel</c> registers; the container disposes it.
/// All members are safe to call from any thread.
/// </summary>
public sealed class SharedLanguageModel : IAsyncDisposable, IDisposable
{
    private readonly Lock gate = new();
    private readonly Func<CancellationToken, Task<LanguageModel>> load;
    private readonly CancellationTokenSource lifetime = new();
    private readonly bool owns;
    private Task<LanguageModel>? loading;
    private bool disposed;

    /// <summary>A model that is loaded when it is asked for, and disposed with this object.</summary>
    /// <param name="load">Loads the model. Called again when it failed and someone asks again.</param>
    public SharedLanguageModel(Func<CancellationToken, Task<LanguageModel>> load)
    {
        ArgumentNullException.ThrowIfNull(load);
        this.load = load;
        owns = true;
    }

    /// <summary>A model that is there already and belongs to someone else.</summary>
    internal SharedLanguageModel(LanguageModel model)
    {
        loading = Task.FromResult(model);
        load = _ => loading;
    }

    /// <summary>The model, if it is loaded.</summary>
    public LanguageModel? Current => Volatile.Read(ref loading) is { IsCompletedSuccessfully: true } loaded ? loaded.Result : null;

    /// <summary>The model, loaded if it is not yet.</summary>
    /// <param name="cancellationToken">Gives up waiting; the load goes on for others.</param>
    /// <exception cref="ObjectDisposedException">This object was disposed.</exception>
    public Task<LanguageModel> GetAsync(CancellationToken cancellationToken = default)
    {
        lock (gate)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            if (loading is null or { IsFaulted: true } or { IsCanceled: true })
            {
                // On the thread pool, so that nobody waits for a loader's first part with the lock held.
                loading = Task.Run(() => load(lifetime.Token));
            }

            return loading.WaitAsync(cancellationToken);
        }
    }

    /// <summary>Ends a load under way, or the model's requests, and frees the model.</summary>
    public async ValueTask DisposeAsync()
    {
        lock (gate)
        {
            if (disposed)
            {
                return;
            }

            disposed = true;
        }

        if (owns)
        {
            await lifetime.CancelAsync().ConfigureAwait(false);
            if (loading is not null)
            {
                await ((Task)loading).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                if (Current is { } model)
                {
                    await model.DisposeAsync().ConfigureAwait(false);
                }
            }
        }

        lifetime.Dispose();
    }

    /// <inheritdoc cref="DisposeAsync"/>
    public void Dispose() => DisposeAsync().AsTask().GetAwaiter().GetResult();
}
