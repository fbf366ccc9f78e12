using Antiphon.Engine;
using Antiphon.Models;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Antiphon.Tests;

/// <summary>Models in a container: loaded once, when first needed or while the host starts, shared, and disposed with the container.</summary>
public sealed class ServiceTests
{
    private static readonly ChatOptions Greedy = new() { Temperature = 0 };

    private int loads;

    [Fact]
    public async Task A_model_is_loaded_once_for_all_its_clients_and_disposed_with_the_container()
    {
        ServiceProvider services = new ServiceCollection()
            .AddAntiphonModel(LoadAsync)
            .AddAntiphonChatClient()
            .AddAntiphonEmbeddingGenerator(new EmbeddingOptions { Dimensions = 9 })
            .BuildServiceProvider(new ServiceProviderOptions { ValidateOnBuild = true, ValidateScopes = true });
        IChatClient chat = services.GetRequiredService<IChatClient>();
        IEmbeddingGenerator<string, Embedding<float>> embeddings = services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        Assert.Same(chat, services.GetRequiredService<IChatClient>());
        Assert.Equal(0, loads);
        Assert.Null(chat.GetService<LanguageModel>());
        Assert.Null(chat.GetService<ChatClientMetadata>()!.DefaultModelId);
        Task<ChatResponse>[] callers = [.. Enumerable.Range(0, 8).Select(_ => Task.Run(() => chat.GetResponseAsync("Hello!", Greedy)))];
        Assert.Equal(9, (await embeddings.GenerateAsync(["Hello!"]))[0].Dimensions);
        Assert.All(await Task.WhenAll(callers), r => Assert.Equal("Hello! Would you like a story or a sum?", r.Text));
        Assert.Equal(1, loads);
        LanguageModel model = chat.GetService<LanguageModel>()!;
        Assert.Same(model, embeddings.GetService<LanguageModel>());
        Assert.Same(model, services.GetRequiredService<SharedLanguageModel>().Current);
        Assert.Equal("Tales", chat.GetService<ChatClientMetadata>()!.DefaultModelId);
        await services.DisposeAsync();
        Assert.Equal(EngineState.Stopped, model.Engine.State);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => chat.GetResponseAsync("Hello!"));
    }

    [Fact]
    public async Task Keys_keep_models_apart_and_clients_can_be_built_upon()
    {
        using ServiceProvider services = new ServiceCollection()
            .AddKeyedAntiphonModel("bare", LoadAsync)
            .AddKeyedAntiphonChatClient("bare")
            .AddKeyedAntiphonEmbeddingGenerator("bare")
            .AddKeyedAntiphonModel("other", LoadAsync)
            .AddKeyedAntiphonChatClient("other")
            .AddSingleton<IChatClient>(p => new Shouting(p.GetRequiredKeyedService<IChatClient>("bare")))
            .BuildServiceProvider();
        IChatClient loud = services.GetRequiredService<IChatClient>();
        Assert.Equal("HELLO! WOULD YOU LIKE A STORY OR A SUM?", (await loud.GetResponseAsync("Hello!", Greedy)).Text);
        Assert.Equal("antiphon", loud.GetService<ChatClientMetadata>()!.ProviderName);
        Assert.Equal(1, loads);
        IChatClient other = services.GetRequiredKeyedService<IChatClient>("other");
        await other.GetResponseAsync("Hello!", Greedy);
        Assert.NotSame(loud.GetService<LanguageModel>(), other.GetService<LanguageModel>());
        await services.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>("bare").GenerateAsync(["Hello!"]);
        Assert.Equal(2, loads);
        Assert.Null(services.GetService<SharedLanguageModel>());
    }

    [Fact]
    public async Task A_host_loads_every_model_while_it_starts()
    {
        await using ServiceProvider services = new ServiceCollection()
            .AddAntiphonModel(LoadAsync)
            .AddKeyedAntiphonModel("second", LoadAsync)
            .BuildServiceProvider();
        IHostedService[] hosted = [.. services.GetServices<IHostedService>()];
        Assert.Equal(2, hosted.Length);
        foreach (IHostedService service in hosted)
        {
            await service.StartAsync(CancellationToken.None);
        }

        await Task.WhenAll(hosted.Cast<BackgroundService>().Select(s => s.ExecuteTask!));
        Assert.NotNull(services.GetRequiredService<SharedLanguageModel>().Current);
        Assert.NotNull(services.GetRequiredKeyedService<SharedLanguageModel>("second").Current);
        Assert.Equal(2, loads);
    }

    [Fact]
    public async Task A_load_that_fails_is_told_to_every_caller_and_tried_again()
    {
        bool fails = true;
        await using ServiceProvider services = new ServiceCollection()
            .AddAntiphonModel((_, stop) => fails ? throw new ModelFormatException("broken") : LoadAsync(null!, stop))
            .AddAntiphonChatClient()
            .AddKeyedAntiphonChatClient("missing", "/no/such/model.gguf")
            .AddKeyedAntiphonEmbeddingGenerator("missing", "/no/such/model.gguf")
            .BuildServiceProvider();
        IChatClient chat = services.GetRequiredService<IChatClient>();
        await Assert.ThrowsAsync<ModelFormatException>(() => chat.GetResponseAsync("Hello!", Greedy));
        await Assert.ThrowsAsync<ModelFormatException>(() => services.GetRequiredKeyedService<IChatClient>("missing").GetResponseAsync("Hello!"));
        await Assert.ThrowsAsync<ModelFormatException>(
            () => services.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>("missing").GenerateAsync(["Hello!"]));
        fails = false;
        Assert.NotEqual("", (await chat.GetResponseAsync("Hello!", Greedy)).Text);
    }

    [Fact]
    public async Task Waiting_can_be_given_up_and_disposal_ends_a_load()
    {
        var loading = new TaskCompletionSource();
        CancellationToken lifetime = default;
        var shared = new SharedLanguageModel(async stop =>
        {
            lifetime = stop;
            loading.SetResult();
            await Task.Delay(Timeout.Infinite, stop);
            throw new InvalidOperationException();
        });
        using var impatient = new CancellationTokenSource();
        Task<LanguageModel> first = shared.GetAsync(impatient.Token);
        Task<LanguageModel> second = shared.GetAsync();
        await loading.Task;
        await impatient.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first);
        Assert.False(lifetime.IsCancellationRequested);
        Assert.False(second.IsCompleted);
        await shared.DisposeAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => second);
        await Assert.ThrowsAsync<ObjectDisposedException>(() => shared.GetAsync());
        await shared.DisposeAsync();
    }

    private Task<LanguageModel> LoadAsync(IServiceProvider services, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref loads);
        return Tales.LoadAsync(new LanguageModelOptions { Threads = 1, Engine = new EngineOptions { BlockCount = 128 } }, null, cancellationToken);
    }

    /// <summary>Middleware, as the builder of Microsoft.Extensions.AI stacks it.</summary>
    private sealed class Shouting(IChatClient inner) : DelegatingChatClient(inner)
    {
        public override async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        {
            ChatResponse response = await base.GetResponseAsync(messages, options, cancellationToken);
            return new ChatResponse(new ChatMessage(ChatRole.Assistant, response.Text.ToUpperInvariant()));
        }
    }
}
