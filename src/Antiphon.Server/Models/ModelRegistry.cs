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
    private readonly Lock gate = new();
    private readonly Dictionary<string, Entry> entries = new(StringComparer.Ordinal);
    private readonly List<string> order = [];
    private readonly TimeProvider time;
    private readonly ILogger<ModelRegistry> logger;
    private readonly ITimer sweeper;
    private bool stopping;

    public ModelRegistry(IOptions<AntiphonServerOptions> options, TimeProvider time, ILogger<ModelRegistry> logger)
    {
        this.time = time;
        this.logger = logger;
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
            Task<ServedModel> loading;
            lock (gate)
            {
                if (stopping)
                {
                    throw Stopping();
                }

                entry = Find(name) ?? throw (name is null
                    ? new ApiException(503, "service_unavailable", "no model is configured", null, "no_model")
                    : Unknown(name));
                loading = entry.Loading ??= LoadAsync(entry.Options);
                entry.Users++;
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

                lock (gate)
                {
                    if (entry.Loading == loading)
                    {
                        entry.Loading = null;
                    }
                }

                ServerLog.LoadFailed(logger, exception, entry.Options.Id);
                throw new ApiException(503, "service_unavailable", $"the model \"{entry.Options.Id}\" could not be loaded; the server's log says why", "model", "load_failed") { RetryAfter = 30 };
            }
        }
    }

    /// <summary>Adds a model at run time.</summary>
    public void Add(ServedModelOptions options)
    {
        lock (gate)
        {
            foreach (string name in options.Aliases.Prepend(options.Id))
            {
                if (Find(name) is not null)
                {
                    throw ApiException.Invalid("id", $"the name \"{name}\" is taken");
                }
            }

            entries.Add(options.Id, new Entry(options, time.GetUtcNow()));
            order.Add(options.Id);
        }
    }

    /// <summary>Unloads a model when its last request ends; with <paramref name="forget"/> it is no longer offered.</summary>
    public async Task UnloadAsync(string id, bool forget)
    {
        Entry entry;
        lock (gate)
        {
            entry = Find(id) ?? throw Unknown(id);
            if (forget)
            {
                entries.Remove(entry.Options.Id);
                order.Remove(entry.Options.Id);
            }
        }

        await entry.RetireAsync(gate);
    }

    /// <summary>Takes no more requests and lets those under way finish.</summary>
    public async Task DrainAsync(CancellationToken cancellationToken)
    {
        ServedModel[] models;
        lock (gate)
        {
            stopping = true;
            models = [.. entries.Values.Select(entry => entry.Current).OfType<ServedModel>()];
        }

        await Task.WhenAll(models.Select(model => model.Engine.DrainAsync(cancellationToken)));
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await sweeper.DisposeAsync();
        Entry[] all;
        lock (gate)
        {
            stopping = true;
            all = [.. entries.Values];
        }

        foreach (Entry entry in all)
        {
            await entry.CloseAsync();
        }
    }

    private static ApiException Stopping() => new(503, "service_unavailable", "the server is shutting down", null, "shutting_down") { RetryAfter = 10 };

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
            entry.Users--;
            entry.LastUse = time.GetTimestamp();
        }
    }

    private void Sweep()
    {
        List<Entry> idle = [];
        lock (gate)
        {
            foreach (Entry entry in entries.Values)
            {
                if (entry.Options.KeepAlive is TimeSpan keep && entry.Users == 0 && entry.Current is not null && time.GetElapsedTime(entry.LastUse) > keep)
                {
                    idle.Add(entry);
                }
            }
        }

        foreach (Entry entry in idle)
        {
            ServerLog.Sleeping(logger, entry.Options.Id);
            _ = entry.RetireAsync(gate);
        }
    }

    private async Task<ServedModel> LoadAsync(ServedModelOptions options)
    {
        await Task.Yield();
        ServerLog.Loading(logger, options.Id, options.Path);
        LanguageModelOptions load = options.Load with { Name = options.Id };
        LanguageModel model = await (options.Loader is null ? LanguageModel.LoadAsync(options.Path, load) : options.Loader(load, CancellationToken.None));
        ServerLog.Loaded(logger, options.Id, model.Engine.ContextLength);
        return new ServedModel(options.Id, model, time.GetUtcNow());
    }

    private sealed class Entry(ServedModelOptions options, DateTimeOffset created)
    {
        public ServedModelOptions Options => options;

        public Task<ServedModel>? Loading { get; set; }

        public int Users { get; set; }

        public long LastUse { get; set; } = Environment.TickCount64;

        public ServedModel? Current => Loading is { IsCompletedSuccessfully: true } ? Loading.Result : null;

        public ModelStatus Status() => new(
            options.Id,
            [.. options.Aliases],
            Loading is null ? "sleeping" : Loading.IsCompletedSuccessfully ? "loaded" : Loading.IsCompleted ? "failed" : "loading",
            created,
            Current?.Engine.ContextLength);

        /// <summary>Waits until nobody uses the model, then unloads it; a new request meanwhile loads another copy of its own.</summary>
        public async Task RetireAsync(Lock gate)
        {
            Task<ServedModel>? retired;
            lock (gate)
            {
                retired = Loading;
                Loading = null;
            }

            if (retired is null)
            {
                return;
            }

            ServedModel model = await retired;
            await model.Engine.DrainAsync();
            await model.Model.DisposeAsync();
        }

        public async Task CloseAsync()
        {
            if (Current is ServedModel model)
            {
                Loading = null;
                await model.Model.DisposeAsync();
            }
        }
    }
}
