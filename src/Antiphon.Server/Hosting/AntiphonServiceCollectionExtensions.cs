using System.Diagnostics.CodeAnalysis;
using Antiphon.Server;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers the server's parts.</summary>
public static class AntiphonServiceCollectionExtensions
{
    private const string Reflects = "Options are bound by reflection, which trimming and ahead-of-time compilation do not see: name them in code with the other overload.";

    /// <summary>
    /// As the overload without it, with options from a section of the configuration (<c>builder.Configuration.GetSection("Antiphon")</c>), whose names are those of the properties:
    /// <c>{"Models": [{"Id": "small", "Path": "model.gguf", "Load": {"Threads": 4}}]}</c>. A name that is no property is an error at start.
    /// </summary>
    /// <param name="services">The services.</param>
    /// <param name="section">The section.</param>
    /// <param name="configure">What is set in code afterwards; null: nothing.</param>
    [RequiresUnreferencedCode(Reflects)]
    [RequiresDynamicCode(Reflects)]
    public static IServiceCollection AddAntiphon(this IServiceCollection services, IConfiguration section, Action<AntiphonServerOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(section);
        return services.AddAntiphon(options =>
        {
            try
            {
                section.Bind(options, static binder => binder.ErrorOnUnknownConfiguration = true);
            }
            catch (InvalidOperationException wrong)
            {
                // What is wrong is in the innermost exception: each list around it wraps another.
                throw new OptionsValidationException(Microsoft.Extensions.Options.Options.DefaultName, typeof(AntiphonServerOptions), [wrong.GetBaseException().Message]);
            }

            configure?.Invoke(options);
        });
    }

    /// <summary>Adds models and everything that the endpoints of <c>MapAntiphon</c> need. Options are checked at start.</summary>
    /// <param name="services">The services.</param>
    /// <param name="configure">Sets the options.</param>
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
