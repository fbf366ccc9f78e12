using Antiphon.Engine;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;

namespace Antiphon.Server;

/// <summary>How the server is: for <c>/health</c> and <c>/ready</c>, and as health checks that an application can put with its own.</summary>
internal sealed class ServerHealth(ModelRegistry models, StartupState startup, IOptions<AntiphonServerOptions> options)
{
    /// <summary>What is wrong so that only a restart helps; null: nothing.</summary>
    public string? Trouble()
    {
        foreach (ServedModel model in models.Loaded())
        {
            EngineStatistics statistics = model.Engine.GetStatistics();
            if (statistics.State == EngineState.Faulted)
            {
                return $"{model.Id}: the engine failed";
            }

            if (statistics.StepAge > options.Value.WatchdogTimeout)
            {
                return $"{model.Id}: a step has been running for {statistics.StepAge.TotalSeconds:F0} s";
            }
        }

        return null;
    }

    /// <summary>Why requests are not taken; null: they are.</summary>
    public string? NotReady() => !startup.Ready ? "loading" : models.Loaded().All(model => model.Engine.State == EngineState.Running) ? null : "not taking requests";
}

/// <summary>Whether the server lives (tag <c>live</c>).</summary>
internal sealed class LiveCheck(ServerHealth health) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(health.Trouble() is string trouble ? HealthCheckResult.Unhealthy(trouble) : HealthCheckResult.Healthy());
}

/// <summary>Whether the server takes requests (tags <c>ready</c> and <c>startup</c>).</summary>
internal sealed class ReadyCheck(ServerHealth health) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(health.NotReady() is string reason ? HealthCheckResult.Unhealthy(reason) : HealthCheckResult.Healthy());
}
