using Microsoft.Extensions.Hosting;

namespace Antiphon;

/// <summary>Loads a model while its host starts. A model that cannot be loaded ends the host, unless HostOptions.BackgroundServiceExceptionBehavior says otherwise.</summary>
internal sealed class ModelWarmUp(SharedLanguageModel model) : BackgroundService
{
    protected override Task ExecuteAsync(CancellationToken stoppingToken) => model.GetAsync(stoppingToken);
}
