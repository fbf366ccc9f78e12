using Antiphon.Server;
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
        services.TryAddSingleton<ServerHealth>();
        services.AddHealthChecks()
            .AddCheck<LiveCheck>("antiphon-live", tags: ["live"])
            .AddCheck<ReadyCheck>("antiphon-ready", tags: ["ready", "startup"]);
        services.AddHostedService<ModelStartup>();
        services.AddRouting();
        services.AddCors();
        return services;
    }
}
