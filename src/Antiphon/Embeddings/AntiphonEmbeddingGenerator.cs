using Antiphon.Engine;
using Microsoft.Extensions.AI;

namespace Antiphon;

/// <summary>
/// A language model as an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/>. Any number of callers may use one generator at once: their texts share the
/// engine's steps with all other requests, and none changes another's vector. Disposing the generator leaves the model alone.
/// </summary>
internal sealed class AntiphonEmbeddingGenerator(SharedLanguageModel shared, EmbeddingOptions? defaults) : IEmbeddingGenerator<string, Embedding<float>>
{
    private readonly EmbeddingOptions defaults = defaults ?? new EmbeddingOptions();

    public async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        string[] texts = [.. values];
        if (Array.IndexOf(texts, null) is int missing and >= 0)
        {
            throw new ArgumentException($"text {missing} is null", nameof(values));
        }

        LanguageModel model = await shared.GetAsync(cancellationToken).ConfigureAwait(false);
        var mapping = new EmbeddingOptionsMapping(options, this, defaults, model.Name);
        EmbeddingResult[] results = await EmbedAsync(model, texts, mapping.Options, cancellationToken).ConfigureAwait(false);
        DateTimeOffset created = DateTimeOffset.UtcNow;
        long tokens = results.Sum(r => (long)r.Usage.PromptTokens);
        var generated = new GeneratedEmbeddings<Embedding<float>>(
            results.Select(r => new Embedding<float>(r.Vector) { CreatedAt = created, ModelId = model.Name }))
        {
            Usage = new UsageDetails { InputTokenCount = tokens, CachedInputTokenCount = results.Sum(r => (long)r.Usage.CachedTokens), TotalTokenCount = tokens },
        };
        if (mapping.Ignored.Count > 0)
        {
            generated.AdditionalProperties = new AdditionalPropertiesDictionary { [AntiphonChatClient.IgnoredKey] = mapping.Ignored };
        }

        return generated;
    }

    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        if (serviceKey is not null)
        {
            return null;
        }

        LanguageModel? model = shared.Current;
        return serviceType == typeof(EmbeddingGeneratorMetadata)
                ? new EmbeddingGeneratorMetadata("antiphon", null, model?.Name, defaults.Dimensions ?? model?.Engine.EmbeddingWidth)
            : serviceType == typeof(InferenceEngine) ? model?.Engine
            : serviceType == typeof(LanguageModel) ? model
            : serviceType.IsInstanceOfType(this) ? this : null;
    }

    public void Dispose()
    {
        // The model belongs to who loaded it, and may have other users.
    }

    /// <summary>Hands over as many texts at a time as keep the engine busy, so that one call with many texts leaves the queue to others. The first failure ends the rest.</summary>
    private static async Task<EmbeddingResult[]> EmbedAsync(LanguageModel model, string[] texts, EmbeddingOptions options, CancellationToken cancellationToken)
    {
        int window = Math.Min(model.Engine.Options.MaxSequences, model.Engine.Options.QueueLimit);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var tasks = new List<Task<EmbeddingResult>>(texts.Length);
        try
        {
            for (int i = 0; i < texts.Length; i++)
            {
                if (i >= window)
                {
                    await tasks[i - window].ConfigureAwait(false);
                }

                tasks.Add(model.EmbedAsync(texts[i], options, ending.Token));
            }

            return await Task.WhenAll(tasks).ConfigureAwait(false);
        }
        catch (Exception)
        {
            await ending.CancelAsync().ConfigureAwait(false);
            await ((Task)Task.WhenAll(tasks)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
            throw;
        }
    }
}
