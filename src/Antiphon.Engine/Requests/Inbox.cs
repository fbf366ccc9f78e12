using System.Diagnostics.CodeAnalysis;

namespace Antiphon.Engine;

/// <summary>The border between callers, on any thread, and the engine thread: new requests, cancellations, and the engine's state.</summary>
[SuppressMessage("Design", "CA1001", Justification = "Callers may signal after the engine has ended, so the event is left to the finalizer.")]
internal sealed class Inbox(EngineOptions options)
{
    private readonly Lock gate = new();
    private readonly Queue<Generation> mail = new();

    private readonly EventWaitHandle signal = new(false, EventResetMode.AutoReset);
    private volatile EngineState state;
    private Exception? fault;
    private int waiting;
    private bool hasMail;
    private bool hasCancels;
    private bool cancelsAll;
    private bool stops;

    public EngineState State => state;

    /// <summary>Why the engine failed for good.</summary>
    public Exception? Fault => Volatile.Read(ref fault);

    /// <summary>Whether the engine shall stop at once.</summary>
    public bool StopRequested => Volatile.Read(ref stops);

    /// <summary>Requests that the engine thread has not taken yet.</summary>
    public int MailCount => mail.Count;

    public bool HasMail => Volatile.Read(ref hasMail);

    // ---- callers ----

    /// <summary>Hands a request over.</summary>
    public void Post(Generation generation)
    {
        lock (gate)
        {
            if (state != EngineState.Running)
            {
                throw new EngineStoppedException(state == EngineState.Draining ? "the engine drains and takes no new requests" : "the engine has stopped", fault);
            }

            if (waiting >= options.QueueLimit)
            {
                throw new QueueFullException(options.QueueLimit);
            }

            waiting++;
            generation.ArrivalTimestamp = options.TimeProvider.GetTimestamp();
            mail.Enqueue(generation);
            Volatile.Write(ref hasMail, true);
        }

        signal.Set();
    }

    /// <summary>Says that a request, marked as cancelled, is to be ended.</summary>
    public void NoteCancel()
    {
        Volatile.Write(ref hasCancels, true);
        signal.Set();
    }

    /// <summary>Ends all requests.</summary>
    public void CancelAll()
    {
        Volatile.Write(ref cancelsAll, true);
        NoteCancel();
    }

    /// <summary>Refuses new requests from now on.</summary>
    public void Drain()
    {
        lock (gate)
        {
            state = state == EngineState.Running ? EngineState.Draining : state;
        }

        signal.Set();
    }

    /// <summary>Stops the engine thread.</summary>
    public void Stop()
    {
        Volatile.Write(ref stops, true);
        signal.Set();
    }

    // ---- the engine thread ----

    /// <summary>Sleeps until a caller did something.</summary>
    public void Wait() => signal.WaitOne();

    /// <summary>Takes the next request.</summary>
    public bool TryTake(out Generation generation)
    {
        generation = null!;
        if (!HasMail)
        {
            return false;
        }

        lock (gate)
        {
            bool taken = mail.TryDequeue(out generation!);
            hasMail = mail.Count > 0;
            return taken;
        }
    }

    /// <summary>Whether requests were cancelled since the last time, and whether all were.</summary>
    public bool TakeCancels(out bool all)
    {
        bool any = Volatile.Read(ref hasCancels) && Interlocked.Exchange(ref hasCancels, false);
        all = Volatile.Read(ref cancelsAll);
        return any;
    }

    /// <summary>A request counts against the queue's limit until it is admitted, or ends before that.</summary>
    public void LeaveQueue(Generation generation)
    {
        if (!generation.Admitted)
        {
            generation.Admitted = true;
            lock (gate)
            {
                waiting--;
            }
        }
    }

    /// <summary>Refuses everything from now on; what was posted before can still be taken.</summary>
    public void Close(EngineState last, Exception? reason)
    {
        lock (gate)
        {
            Volatile.Write(ref fault, reason);
            state = last;
        }
    }
}
