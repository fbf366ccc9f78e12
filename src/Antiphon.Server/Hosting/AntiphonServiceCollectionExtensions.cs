using Antiphon.Server;
using Microsoft.AspNetCore.HostFiltering;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers the server's parts.</summary>
public static class AntiphonServiceCollectionExtensions
{
    /// <summary>Adds models and everything that the endpoints of <c>MapAntiphon</c> need. Options are checked at start.</summary>
    public static IServiceCollection AddAntiphon(this IServiceCollection services, Action<AntiphonServerOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configure);
        services.AddOptions<AntiphonServerOptions>().Configure(configure).ValidateOnStart();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<AntiphonServerOptions>, OptionsCheck>());
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton<ApiKeys>();
        services.TryAddSingleton<ModelRegistry>();
        services.TryAddSingleton<ServerTelemetry>();
        services.TryAddSingleton<OpenApiDocument>();
        services.TryAddSingleton<StartupState>();
        services.AddHostedService<ModelStartup>();
        services.AddOptions<HostFilteringOptions>().PostConfigure<IOptions<AntiphonServerOptions>>(static (filter, server) =>
        {
            filter.AllowedHosts = [.. server.Value.AllowedHosts];
            filter.IncludeFailureMessage = false;
        });
        services.AddRouting();
        services.AddCors();
        return services;
    }
}
