using Microsoft.Extensions.Options;

namespace Antiphon.Server;

/// <summary>Whether the models that load at start are loaded.</summary>
internal sealed class StartupState
{
    private volatile bool ready;

    public bool Ready
    {
        get => ready;
        set => ready = value;
    }
}

/// <summary>Loads models when the server starts, and lets requests finish when it stops.</summary>
internal sealed class ModelStartup(
    ModelRegistry models, StartupState state, ApiKeys keys, IOptions<AntiphonServerOptions> options, ILogger<ModelStartup> logger) : IHostedLifecycleService, IDisposable
{
    private readonly CancellationTokenSource stopping = new();
    private Task loading = Task.CompletedTask;

    public void Dispose() => stopping.Dispose();

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        if (!keys.Required)
        {
            ServerLog.NoKeys(logger);
        }

        loading = LoadAsync(stopping.Token);
        return Task.CompletedTask;
    }

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        state.Ready = false;
        await stopping.CancelAsync();
        ServerLog.Draining(logger, options.Value.DrainTimeout);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(options.Value.DrainTimeout);
        try
        {
            await models.DrainAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            // What is left now ends with the engines.
        }
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await loading;
        await models.DisposeAsync();
    }

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    private async Task LoadAsync(CancellationToken cancellationToken)
    {
        foreach (ServedModelOptions model in options.Value.Models)
        {
            if (!model.Preload)
            {
                continue;
            }

            try
            {
                using ModelLease lease = await models.AcquireAsync(model.Id, cancellationToken);
            }
            catch (ApiException)
            {
                // Logged where it happened; the server stays up, not ready, so that an operator can look.
                return;
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }

        state.Ready = true;
    }
}
