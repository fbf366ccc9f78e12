using Antiphon;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Hosting;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>
/// Registers models as <see cref="IChatClient"/> and <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/>. All services are singletons. A model is loaded once:
/// while the host starts, or, without a host, when it is first used; callers meanwhile wait. It is disposed with the container.
/// </summary>
/// <remarks>
/// The overloads with a path or a loader give the client a model of its own. To share one model, add it with <c>AddAntiphonModel</c> and then the clients without
/// a path. For middleware, add the client under a key and build on it: with Microsoft.Extensions.AI,
/// <c>services.AddChatClient(p => p.GetRequiredKeyedService&lt;IChatClient&gt;("bare")).UseFunctionInvocation()</c>.
/// </remarks>
public static class AntiphonClientServiceCollectionExtensions
{
    /// <summary>Adds a model, as <see cref="SharedLanguageModel"/>, for the clients that are added without a path.</summary>
    /// <param name="services">The services.</param>
    /// <param name="path">A .gguf file or a Hugging Face folder.</param>
    /// <param name="options">Options; null: the defaults.</param>
    public static IServiceCollection AddAntiphonModel(this IServiceCollection services, string path, LanguageModelOptions? options = null) =>
        services.AddKeyedAntiphonModel(null, path, options);

    /// <inheritdoc cref="AddAntiphonModel(IServiceCollection, string, LanguageModelOptions?)"/>
    /// <param name="services">The services.</param>
    /// <param name="load">Loads the model: <c>(_, stop) => Tales.LoadAsync(cancellationToken: stop)</c>.</param>
    public static IServiceCollection AddAntiphonModel(this IServiceCollection services, Func<IServiceProvider, CancellationToken, Task<LanguageModel>> load) =>
        services.AddKeyedAntiphonModel(null, load);

    /// <inheritdoc cref="AddAntiphonModel(IServiceCollection, string, LanguageModelOptions?)"/>
    /// <param name="services">The services.</param>
    /// <param name="serviceKey">The key of the model and of its clients; null: none.</param>
    /// <param name="path">A .gguf file or a Hugging Face folder.</param>
    /// <param name="options">Options; null: the defaults.</param>
    public static IServiceCollection AddKeyedAntiphonModel(this IServiceCollection services, object? serviceKey, string path, LanguageModelOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return services.AddKeyedAntiphonModel(serviceKey, (_, stop) => LanguageModel.LoadAsync(path, options, progress: null, stop));
    }

    /// <inheritdoc cref="AddAntiphonModel(IServiceCollection, string, LanguageModelOptions?)"/>
    /// <param name="services">The services.</param>
    /// <param name="serviceKey">The key of the model and of its clients; null: none.</param>
    /// <param name="load">Loads the model: <c>(_, stop) => Tales.LoadAsync(cancellationToken: stop)</c>.</param>
    public static IServiceCollection AddKeyedAntiphonModel(
        this IServiceCollection services, object? serviceKey, Func<IServiceProvider, CancellationToken, Task<LanguageModel>> load)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(load);
        services.AddKeyedSingleton(serviceKey, (provider, _) => new SharedLanguageModel(stop => load(provider, stop)));

        // Not AddHostedService, which keeps one of a kind.
        return services.AddSingleton<IHostedService>(provider => new ModelWarmUp(provider.GetRequiredKeyedService<SharedLanguageModel>(serviceKey)));
    }

    /// <summary>Adds an <see cref="IChatClient"/> of the model that was added without a key.</summary>
    public static IServiceCollection AddAntiphonChatClient(this IServiceCollection services) => services.AddChatClient(null, null);

    /// <summary>Adds an <see cref="IChatClient"/> with a model of its own.</summary>
    /// <inheritdoc cref="AddAntiphonModel(IServiceCollection, string, LanguageModelOptions?)"/>
    public static IServiceCollection AddAntiphonChatClient(this IServiceCollection services, string path, LanguageModelOptions? options = null) =>
        services.AddKeyedAntiphonChatClient(null, path, options);

    /// <summary>Adds an <see cref="IChatClient"/> under a key, of the model that was added under that key.</summary>
    public static IServiceCollection AddKeyedAntiphonChatClient(this IServiceCollection services, object? serviceKey) => services.AddChatClient(serviceKey, serviceKey);

    /// <summary>Adds an <see cref="IChatClient"/> under a key, with a model of its own.</summary>
    /// <inheritdoc cref="AddKeyedAntiphonModel(IServiceCollection, object?, string, LanguageModelOptions?)"/>
    public static IServiceCollection AddKeyedAntiphonChatClient(this IServiceCollection services, object? serviceKey, string path, LanguageModelOptions? options = null)
    {
        object own = new();
        return services.AddKeyedAntiphonModel(own, path, options).AddChatClient(serviceKey, own);
    }

    /// <summary>Adds an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/> of the model that was added without a key.</summary>
    /// <param name="services">The services.</param>
    /// <param name="defaults">What holds where a call says nothing; null: the defaults.</param>
    public static IServiceCollection AddAntiphonEmbeddingGenerator(this IServiceCollection services, EmbeddingOptions? defaults = null) =>
        services.AddGenerator(null, null, defaults);

    /// <summary>Adds an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/> with a model of its own.</summary>
    /// <inheritdoc cref="AddAntiphonModel(IServiceCollection, string, LanguageModelOptions?)"/>
    /// <param name="services">The services.</param>
    /// <param name="path">A .gguf file or a Hugging Face folder.</param>
    /// <param name="options">Options; null: the defaults.</param>
    /// <param name="defaults">What holds where a call says nothing; null: the defaults.</param>
    public static IServiceCollection AddAntiphonEmbeddingGenerator(
        this IServiceCollection services, string path, LanguageModelOptions? options = null, EmbeddingOptions? defaults = null) =>
        services.AddKeyedAntiphonEmbeddingGenerator(null, path, options, defaults);

    /// <summary>Adds an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/> under a key, of the model that was added under that key.</summary>
    /// <param name="services">The services.</param>
    /// <param name="serviceKey">The key.</param>
    /// <param name="defaults">What holds where a call says nothing; null: the defaults.</param>
    public static IServiceCollection AddKeyedAntiphonEmbeddingGenerator(this IServiceCollection services, object? serviceKey, EmbeddingOptions? defaults = null) =>
        services.AddGenerator(serviceKey, serviceKey, defaults);

    /// <summary>Adds an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/> under a key, with a model of its own.</summary>
    /// <inheritdoc cref="AddKeyedAntiphonModel(IServiceCollection, object?, string, LanguageModelOptions?)"/>
    /// <param name="services">The services.</param>
    /// <param name="serviceKey">The key of the generator; null: none.</param>
    /// <param name="path">A .gguf file or a Hugging Face folder.</param>
    /// <param name="options">Options; null: the defaults.</param>
    /// <param name="defaults">What holds where a call says nothing; null: the defaults.</param>
    public static IServiceCollection AddKeyedAntiphonEmbeddingGenerator(
        this IServiceCollection services, object? serviceKey, string path, LanguageModelOptions? options = null, EmbeddingOptions? defaults = null)
    {
        object own = new();
        return services.AddKeyedAntiphonModel(own, path, options).AddGenerator(serviceKey, own, defaults);
    }

    private static IServiceCollection AddChatClient(this IServiceCollection services, object? serviceKey, object? modelKey)
    {
        ArgumentNullException.ThrowIfNull(services);
        return services.AddKeyedSingleton<IChatClient>(serviceKey, (provider, _) => new AntiphonChatClient(provider.GetRequiredKeyedService<SharedLanguageModel>(modelKey)));
    }

    private static IServiceCollection AddGenerator(this IServiceCollection services, object? serviceKey, object? modelKey, EmbeddingOptions? defaults)
    {
        ArgumentNullException.ThrowIfNull(services);
        return services.AddKeyedSingleton<IEmbeddingGenerator<string, Embedding<float>>>(
            serviceKey, (provider, _) => new AntiphonEmbeddingGenerator(provider.GetRequiredKeyedService<SharedLanguageModel>(modelKey), defaults));
    }
}
