using System.Threading.Tasks.Sources;

namespace Antiphon.Engine;

/// <summary>
/// The way of events from the engine thread to the one reader of a generation. Adding and waking allocate nothing once the ring is large enough;
/// the reader continues on the thread pool, never on the engine thread.
/// </summary>
internal sealed class EventQueue : IValueTaskSource<bool>, IThreadPoolWorkItem
{
    private readonly Lock gate = new();
    private GenerationEvent[] ring = new GenerationEvent[16];
    private ManualResetValueTaskSourceCore<bool> source;
    private int head;
    private int count;
    private bool completed;
    private bool waiting;

    /// <summary>Adds an event; the reader is not told before <see cref="Wake"/>.</summary>
    public void Add(in GenerationEvent item)
    {
        lock (gate)
        {
            if (count == ring.Length)
            {
                GenerationEvent[] larger = new GenerationEvent[ring.Length * 2];
                for (int i = 0; i < count; i++)
                {
                    larger[i] = ring[(head + i) % ring.Length];
                }

                (ring, head) = (larger, 0);
            }

            ring[(head + count) % ring.Length] = item;
            count++;
        }
    }

    /// <summary>Says that no event follows.</summary>
    public void Complete()
    {
        lock (gate)
        {
            completed = true;
        }
    }

    /// <summary>Lets a waiting reader go on.</summary>
    public void Wake()
    {
        lock (gate)
        {
            if (!waiting || (count == 0 && !completed))
            {
                return;
            }

            waiting = false;
        }

        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    /// <summary>Takes the next event.</summary>
    public bool TryRead(out GenerationEvent item)
    {
        lock (gate)
        {
            if (count == 0)
            {
                item = default;
                return false;
            }

            item = ring[head];
            ring[head] = default;
            head = (head + 1) % ring.Length;
            count--;
            return true;
        }
    }

    /// <summary>Waits until there is an event (true) or none can follow (false).</summary>
    public ValueTask<bool> WaitAsync()
    {
        lock (gate)
        {
            if (count > 0 || completed)
            {
                return new ValueTask<bool>(count > 0);
            }

            source.Reset();
            waiting = true;
            return new ValueTask<bool>(this, source.Version);
        }
    }

    void IThreadPoolWorkItem.Execute()
    {
        bool more;
        lock (gate)
        {
            more = count > 0;
        }

        source.SetResult(more);
    }

    bool IValueTaskSource<bool>.GetResult(short token) => source.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<bool>.GetStatus(short token) => source.GetStatus(token);

    void IValueTaskSource<bool>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        source.OnCompleted(continuation, state, token, flags);
}
