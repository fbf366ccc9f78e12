using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Antiphon.Engine;

namespace Antiphon.Server;

/// <summary>The generations of one HTTP request: one for each prompt, submitted together, read as one stream.</summary>
internal sealed class GenerationSet : IDisposable
{
    private readonly Generation[] generations;

    private GenerationSet(Generation[] generations) => this.generations = generations;

    /// <summary>The generations, one for each prompt.</summary>
    public IReadOnlyList<Generation> Generations => generations;

    /// <summary>Submits all, or, when one is refused, none.</summary>
    /// <param name="engine">The engine.</param>
    /// <param name="requests">What to submit.</param>
    /// <param name="promptField">The field from which the prompts came.</param>
    /// <param name="cancellationToken">Stops all.</param>
    /// <exception cref="ApiException">One was refused.</exception>
    public static GenerationSet Submit(InferenceEngine engine, IReadOnlyList<GenerationRequest> requests, string promptField, CancellationToken cancellationToken)
    {
        var started = new List<Generation>(requests.Count);
        try
        {
            foreach (GenerationRequest request in requests)
            {
                started.Add(engine.Submit(request, cancellationToken));
            }

            return new GenerationSet([.. started]);
        }
        catch (EngineException exception)
        {
            foreach (Generation generation in started)
            {
                generation.Dispose();
            }

            throw ApiException.From(exception, promptField);
        }
    }

    /// <summary>All events as they come, each with the index of its prompt.</summary>
    /// <exception cref="EngineException">A generation failed, or was ended by the server: a part of an answer is not passed off as a whole one.</exception>
    public async IAsyncEnumerable<(int Prompt, GenerationEvent Event)> ReadAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (generations.Length == 1)
        {
            await foreach (GenerationEvent item in generations[0].WithCancellation(cancellationToken))
            {
                CheckEnd(item, cancellationToken);
                yield return (0, item);
            }

            yield break;
        }

        Channel<(int Prompt, GenerationEvent Event)> merged = Channel.CreateUnbounded<(int Prompt, GenerationEvent Event)>(new() { SingleReader = true });
        Task[] readers = [.. generations.Select((generation, index) => PumpAsync(generation, index, merged.Writer, cancellationToken))];
        _ = Task.WhenAll(readers).ContinueWith(
            done => merged.Writer.TryComplete(done.Exception?.InnerException), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        await foreach ((int Prompt, GenerationEvent Event) item in merged.Reader.ReadAllAsync(cancellationToken))
        {
            yield return item;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Generation generation in generations)
        {
            generation.Dispose();
        }
    }

    private static async Task PumpAsync(
        Generation generation, int index, ChannelWriter<(int Prompt, GenerationEvent Event)> writer, CancellationToken cancellationToken)
    {
        await foreach (GenerationEvent item in generation.WithCancellation(cancellationToken))
        {
            CheckEnd(item, cancellationToken);
            await writer.WriteAsync((index, item), cancellationToken);
        }
    }

    private static void CheckEnd(in GenerationEvent item, CancellationToken cancellationToken)
    {
        if (item.FinishReason == FinishReason.Cancelled && !cancellationToken.IsCancellationRequested)
        {
            throw new EngineStoppedException("the server ended the request");
        }
    }
}
