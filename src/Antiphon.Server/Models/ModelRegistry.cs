using System.Collections.Concurrent;
using Antiphon.Engine;
using Microsoft.Extensions.Options;

namespace Antiphon.Server;

/// <summary>What a caller sees of a model.</summary>
internal sealed record ModelStatus(string Id, IReadOnlyList<string> Aliases, string State, DateTimeOffset Created, int? ContextLength);

/// <summary>Keeps a model loaded while a request uses it.</summary>
internal sealed class ModelLease(ServedModel model, Action release) : IDisposable
{
    private Action? release = release;

    public ServedModel Model => model;

    public void Dispose() => Interlocked.Exchange(ref release, null)?.Invoke();
}

/// <summary>The models of a server: loads them once, lends them to requests, unloads idle ones.</summary>
internal sealed class ModelRegistry : IAsyncDisposable
{
    /// <summary>How long requests that were ended may take to say so.</summary>
    private static readonly TimeSpan EndOfRequests = TimeSpan.FromSeconds(5);

    private readonly Lock gate = new();
    private readonly Dictionary<string, Entry> entries = new(StringComparer.Ordinal);
    private readonly List<string> order = [];
    private readonly TimeProvider time;
    private readonly ILogger<ModelRegistry> logger;
    private readonly ITimer sweeper;
    private readonly TimeSpan drainTimeout;
    private Task retirements = Task.CompletedTask;
    private bool stopping;

    public ModelRegistry(IOptions<AntiphonServerOptions> options, TimeProvider time, ILogger<ModelRegistry> logger)
    {
        this.time = time;
        this.logger = logger;
        drainTimeout = options.Value.DrainTimeout;
        foreach (ServedModelOptions model in options.Value.Models)
        {
            Add(model);
        }

        sweeper = time.CreateTimer(_ => Sweep(), null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));
    }

    /// <summary>The error for a name that nothing answers to.</summary>
    public static ApiException Unknown(string name) =>
        new(404, "invalid_request_error", $"the model \"{(name.Length <= 128 ? name : name[..128] + "…")}\" does not exist: GET /v1/models lists those that do", "model", "model_not_found");

    /// <summary>All models, in configuration order.</summary>
    public IReadOnlyList<ModelStatus> List()
    {
        lock (gate)
        {
            return [.. order.Select(id => entries[id].Status())];
        }
    }

    /// <summary>The loaded ones.</summary>
    public IReadOnlyList<ServedModel> Loaded()
    {
        lock (gate)
        {
            return [.. order.Select(id => entries[id].Current).OfType<ServedModel>()];
        }
    }

    /// <summary>Lends a model, loading it when it sleeps.</summary>
    /// <param name="name">Its name or an alias; null: the first.</param>
    /// <param name="cancellationToken">Gives up waiting; the load goes on for others.</param>
    public async Task<ModelLease> AcquireAsync(string? name, CancellationToken cancellationToken)
    {
        while (true)
        {
            Entry entry;
            Task<ServedModel>? loading = null;
            Task retiring = Task.CompletedTask;
            lock (gate)
            {
                if (stopping)
                {
                    throw Stopping();
                }

                entry = Find(name) ?? throw (name is null
                    ? new ApiException(503, "service_unavailable", "no model is configured", null, "no_model")
                    : Unknown(name));
                if (entry.Retiring is null)
                {
                    loading = entry.Loading ??= LoadAsync(entry.Options);
                    entry.Users++;
                }
                else
                {
                    retiring = entry.Retiring;
                }
            }

            if (loading is null)
            {
                // There is never a second copy: what is being unloaded gives its memory back first. Then the name may be gone, which the next round finds out.
                await retiring.WaitAsync(cancellationToken);
                continue;
            }

            try
            {
                ServedModel model = await loading.WaitAsync(cancellationToken);
                return new ModelLease(model, () => Release(entry));
            }
            catch (Exception exception)
            {
                Release(entry);
                if (exception is OperationCanceledException && cancellationToken.IsCancellationRequested)
                {
                    throw;
                }

                Forget(entry, loading, exception);
                throw new ApiException(503, "service_unavailable", $"the model \"{entry.Options.Id}\" could not be loaded; the server's log says why", "model", "load_failed") { RetryAfter = 30 };
            }
        }
    }

    /// <summary>Adds a model at run time and loads it; one that cannot be loaded is not added.</summary>
    /// <exception cref="ApiException">The name is taken, or the model cannot be loaded.</exception>
    public async Task AddAsync(ServedModelOptions options, CancellationToken cancellationToken)
    {
        Entry added;
        lock (gate)
        {
            added = Add(options);
        }

        try
        {
            using ModelLease lease = await AcquireAsync(options.Id, cancellationToken);
        }
        catch (ApiException failure)
        {
            lock (gate)
            {
                if (entries.GetValueOrDefault(options.Id) == added)
                {
                    entries.Remove(options.Id);
                    order.Remove(options.Id);
                }
            }

            throw failure.Code == "load_failed" ? ApiException.Invalid("path", "no model can be loaded from it; the server's log says why", failure.Code) : failure;
        }
    }

    /// <summary>
    /// Unloads a model when the requests that use it have ended, for which they have the drain timeout; what is left then is ended. With <paramref name="forget"/>
    /// the model is no longer offered, from now on; otherwise the next request loads it again.
    /// </summary>
    public Task UnloadAsync(string id, bool forget)
    {
        lock (gate)
        {
            Entry entry = Find(id) ?? throw Unknown(id);
            if (forget)
            {
                entries.Remove(entry.Options.Id);
                order.Remove(entry.Options.Id);
            }

            return Retire(entry);
        }
    }

    /// <summary>Takes no more requests and lets those under way finish.</summary>
    public async Task DrainAsync(CancellationToken cancellationToken)
    {
        (ServedModel Model, string? CacheFile)[] models;
        Task others;
        lock (gate)
        {
            stopping = true;
            models = [.. entries.Values.Where(entry => entry.Current is not null).Select(entry => (entry.Current!, entry.Options.CacheFile))];
            others = retirements;
        }

        await Task.WhenAll(models.Select(async model =>
        {
            await model.Model.Engine.DrainAsync(cancellationToken);
            await SaveCacheAsync(model.Model, model.CacheFile);
        }));
        await others.WaitAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await sweeper.DisposeAsync();
        Entry[] all;
        Task others;
        lock (gate)
        {
            stopping = true;
            all = [.. entries.Values];
            others = retirements;
        }

        await others;
        foreach (Entry entry in all)
        {
            if (entry.Current is ServedModel model)
            {
                entry.Loading = null;
                await model.Model.DisposeAsync();
            }
        }
    }

    private static ApiException Stopping() => new(503, "service_unavailable", "the server is shutting down", null, "shutting_down") { RetryAfter = 10 };

    // Under the gate.
    private Entry Add(ServedModelOptions options)
    {
        foreach (string name in options.Aliases.Prepend(options.Id))
        {
            if (Find(name) is not null)
            {
                throw ApiException.Invalid("id", $"the name \"{name}\" is taken", "name_taken");
            }
        }

        var entry = new Entry(options, time.GetUtcNow(), time.GetTimestamp());
        entries.Add(options.Id, entry);
        order.Add(options.Id);
        return entry;
    }

    private Entry? Find(string? name)
    {
        if (name is null)
        {
            return order.Count == 0 ? null : entries[order[0]];
        }

        return entries.TryGetValue(name, out Entry? entry) ? entry : entries.Values.FirstOrDefault(candidate => candidate.Options.Aliases.Contains(name));
    }

    private void Release(Entry entry)
    {
        lock (gate)
        {
            entry.LastUse = time.GetTimestamp();
            if (--entry.Users == 0)
            {
                entry.Idle?.TrySetResult();
            }
        }
    }

    /// <summary>A load failed: the next request tries again.</summary>
    private void Forget(Entry entry, Task<ServedModel> failed, Exception reason)
    {
        lock (gate)
        {
            if (entry.Loading != failed)
            {
                return;
            }

            entry.Loading = null;
        }

        ServerLog.LoadFailed(logger, reason, entry.Options.Id);
    }

    private void Sweep()
    {
        lock (gate)
        {
            foreach (Entry entry in entries.Values)
            {
                if (entry.Options.KeepAlive is TimeSpan keep && entry.Users == 0 && entry.Current is not null && time.GetElapsedTime(entry.LastUse) > keep)
                {
                    ServerLog.Sleeping(logger, entry.Options.Id);
                    Retire(entry);
                }
            }
        }
    }

    // Under the gate.
    private Task Retire(Entry entry)
    {
        if (entry.Retiring is null && entry.Loading is { } loading)
        {
            entry.Idle = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            if (entry.Users == 0)
            {
                entry.Idle.SetResult();
            }

            entry.Retiring = RetireAsync(entry, loading, entry.Idle.Task);
            retirements = Task.WhenAll(retirements, entry.Retiring);
        }

        return entry.Retiring ?? Task.CompletedTask;
    }

    private async Task RetireAsync(Entry entry, Task<ServedModel> loading, Task idle)
    {
        await Task.Yield();
        try
        {
            ServedModel model = await loading;
            if (await Task.WhenAny(idle, Task.Delay(drainTimeout, time)) != idle)
            {
                // Their requests end with an error now; whoever then still holds on is a client that does not read.
                ServerLog.DrainedByForce(logger, entry.Options.Id, drainTimeout);
                await model.Engine.DrainAsync(new CancellationToken(true));
                await Task.WhenAny(idle, Task.Delay(EndOfRequests, time));
            }

            await model.Engine.DrainAsync();
            await SaveCacheAsync(model, entry.Options.CacheFile);
            await model.Model.DisposeAsync();
        }
        catch (Exception failure)
        {
            // The load failed, which is as good as unloaded, or the end did: the model is not used again in either case.
            ServerLog.UnloadFailed(logger, failure, entry.Options.Id);
        }

        lock (gate)
        {
            (entry.Loading, entry.Retiring, entry.Idle) = (null, null, null);
        }
    }

    private async Task SaveCacheAsync(ServedModel model, string? file)
    {
        try
        {
            if (file is not null)
            {
                ServerLog.CacheMoved(logger, model.Id, await model.Model.SaveCacheAsync(file), "written to", file);
            }
        }
        catch (Exception failure) when (failure is EngineException or IOException or UnauthorizedAccessException)
        {
            ServerLog.CacheFailed(logger, model.Id, file!, failure.Message);
        }
    }

    private async Task RestoreCacheAsync(LanguageModel model, string id, string? file)
    {
        try
        {
            if (File.Exists(file))
            {
                ServerLog.CacheMoved(logger, id, await model.RestoreCacheAsync(file), "restored from", file);
            }
        }
        catch (Exception failure) when (failure is EngineException or IOException or UnauthorizedAccessException)
        {
            ServerLog.CacheFailed(logger, id, file!, failure.Message);
        }
    }

    private async Task<ServedModel> LoadAsync(ServedModelOptions options)
    {
        await Task.Yield();
        ServerLog.Loading(logger, options.Id, options.Path);
        LanguageModelOptions load = options.Load with { Name = options.Id };
        LanguageModel model = await (options.Loader is null ? LanguageModel.LoadAsync(options.Path, load) : options.Loader(load, CancellationToken.None));
        await RestoreCacheAsync(model, options.Id, options.CacheFile);
        ServerLog.Loaded(logger, options.Id, model.Engine.ContextLength);
        return new ServedModel(options.Id, model, time.GetUtcNow());
    }

    /// <summary>A model and who uses it. Guarded by the registry's gate.</summary>
    private sealed class Entry(ServedModelOptions options, DateTimeOffset created, long now)
    {
        public ServedModelOptions Options => options;

        /// <summary>The model, once it is loaded; null while it sleeps.</summary>
        public Task<ServedModel>? Loading { get; set; }

        /// <summary>The unloading of the model; null when there is none.</summary>
        public Task? Retiring { get; set; }

        /// <summary>Completes when the last user lets go of a model that is being unloaded.</summary>
        public TaskCompletionSource? Idle { get; set; }

        /// <summary>Requests that have the model, or wait for it to load.</summary>
        public int Users { get; set; }

        public long LastUse { get; set; } = now;

        /// <summary>The model when requests can have it at once.</summary>
        public ServedModel? Current => Retiring is null && Loading is { IsCompletedSuccessfully: true } ? Loading.Result : null;

        public ModelStatus Status() => new(
            options.Id,
            [.. options.Aliases],
            Retiring is not null ? "unloading" : Loading is null ? "sleeping" : Loading.IsCompletedSuccessfully ? "loaded" : Loading.IsCompleted ? "failed" : "loading",
            created,
            Current?.Engine.ContextLength);
    }
}
