using System.Runtime.ExceptionServices;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// Packs weights on threads of its own while their model is already in use: one matrix after the other, and before all others the one that somebody waits for.
/// </summary>
/// <remarks>Packing as such has no influence on results: whoever needs weights waits until they are packed.</remarks>
public sealed class PackingQueue : IDisposable
{
    private readonly object gate = new();
    private readonly LinkedList<Entry> entries = new();
    private readonly Thread thread;
    private readonly int workers;
    private PackedStrips? wanted;
    private ExceptionDispatchInfo? failure;
    private long pendingBytes;
    private bool closed;
    private bool stopping;

    /// <summary>An empty queue.</summary>
    /// <param name="workers">Threads that pack, at least 1.</param>
    public PackingQueue(int workers)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(workers, 1);
        this.workers = workers;
        thread = new Thread(Work) { IsBackground = true, Name = "antiphon-packing" };
        thread.Start();
    }

    /// <summary>Bytes of memory that packing will still take.</summary>
    public long PendingBytes => Volatile.Read(ref pendingBytes);

    /// <summary>Tells that nothing more is added; the threads end when everything is packed.</summary>
    public void Close()
    {
        lock (gate)
        {
            closed = true;
            Monitor.PulseAll(gate);
        }
    }

    /// <summary>Waits until everything that was added is packed.</summary>
    /// <exception cref="ObjectDisposedException">The queue was disposed before.</exception>
    public void Wait()
    {
        lock (gate)
        {
            while (entries.Count > 0)
            {
                ThrowIfEnded();
                Monitor.Wait(gate);
            }
        }
    }

    /// <summary>Stops after the matrix that is being packed. Whoever waits for another gets an <see cref="ObjectDisposedException"/>.</summary>
    public void Dispose()
    {
        lock (gate)
        {
            stopping = true;
            Monitor.PulseAll(gate);
        }

        thread.Join();
    }

    /// <summary>Adds weights to be packed.</summary>
    /// <param name="strips">The weights.</param>
    /// <param name="bytes">Memory that they will take.</param>
    /// <param name="pack">Packs them.</param>
    internal void Add(PackedStrips strips, long bytes, Action<ComputeTeam> pack)
    {
        strips.Queue = this;
        lock (gate)
        {
            entries.AddLast(new Entry(strips, bytes, pack));
            pendingBytes += bytes;
            Monitor.PulseAll(gate);
        }
    }

    /// <summary>Waits until weights are packed.</summary>
    internal void Await(PackedStrips strips)
    {
        lock (gate)
        {
            while (strips.Queue is not null)
            {
                ThrowIfEnded();
                wanted = strips;
                Monitor.Wait(gate);
            }
        }
    }

    private void ThrowIfEnded()
    {
        failure?.Throw();
        ObjectDisposedException.ThrowIf(stopping, this);
    }

    private void Work()
    {
        using var team = new ComputeTeam(workers);
        try
        {
            while (Next() is { } node)
            {
                Entry entry = node.Value;
                entry.Pack(team);
                lock (gate)
                {
                    entry.Strips.Queue = null;
                    entries.Remove(node);
                    pendingBytes -= entry.Bytes;
                    wanted = wanted == entry.Strips ? null : wanted;
                    Monitor.PulseAll(gate);
                }
            }
        }
#pragma warning disable CA1031 // Any failure belongs to those who wait for the weights.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            lock (gate)
            {
                failure = ExceptionDispatchInfo.Capture(exception);
                Monitor.PulseAll(gate);
            }
        }
    }

    /// <summary>What to pack next; null: nothing any more.</summary>
    private LinkedListNode<Entry>? Next()
    {
        lock (gate)
        {
            while (entries.Count == 0 && !closed && !stopping)
            {
                Monitor.Wait(gate);
            }

            LinkedListNode<Entry>? node = stopping ? null : entries.First;

            // The list is searched only for somebody who waits: a model of many experts has many matrices.
            for (LinkedListNode<Entry>? other = wanted is null ? null : node; other is not null; other = other.Next)
            {
                if (other.Value.Strips == wanted)
                {
                    return other;
                }
            }

            return node;
        }
    }

    private sealed record Entry(PackedStrips Strips, long Bytes, Action<ComputeTeam> Pack);
}
