using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;

namespace Antiphon.Kernels;

/// <summary>A piece of work that a <see cref="ComputeTeam"/> splits into chunks.</summary>
public interface IParallelWork
{
    /// <summary>Does one chunk. Chunks run in any order and on any worker; they must not write the same memory.</summary>
    /// <param name="chunk">Which chunk, from 0.</param>
    /// <param name="worker">Which worker runs it, from 0 to the team's size - 1: an index for scratch memory.</param>
    void Execute(int chunk, int worker);
}

/// <summary>A fixed team of compute threads. The caller is worker 0 and takes part; the others park when there is nothing to do.</summary>
/// <remarks>
/// Workers claim chunks one by one from a counter, so a slow worker takes fewer. The counter shares a word with the number of the run:
/// a claim can only succeed on the run it was read from, and while a claimed chunk is unfinished that run's fields stay as they are.
/// That makes it safe for a worker to arrive late, and no run waits for workers that never showed up.
/// </remarks>
public sealed unsafe class ComputeTeam : IDisposable
{
    // Long enough to bridge the gaps between the kernels of a step, short enough that an idle engine costs nothing.
    private static readonly long SpinTicks = Stopwatch.Frequency / 10_000;

    private const int SpinsBeforeYield = 1000;
    private const long InitialScratch = 2 << 20;

    private readonly Thread[] threads;
    private readonly NativeBuffer<byte>[] scratch;
    private readonly object gate = new();
    private readonly int[] processors;

    private nint workAddress;
    private delegate*<nint, int, int, void> workCode;
    private int workChunks;
    private Exception? failure;
    private int busy;
    private int parked;
    private bool stopping;
    private PaddedCounters counters;

    /// <summary>Starts a team of <paramref name="size"/> workers, the caller included.</summary>
    /// <param name="size">Number of workers, at least 1.</param>
    /// <param name="pin">Whether to bind each thread of the team to a hardware thread of its own; the caller is left alone.</param>
    public ComputeTeam(int size, bool pin = false)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(size, 1);
        Size = size;
        scratch = new NativeBuffer<byte>[size];
        for (int worker = 0; worker < size; worker++)
        {
            // Chunks fall to workers by chance, so a worker may meet a need late; memory that is not touched costs nothing.
            scratch[worker] = new NativeBuffer<byte>(InitialScratch, hugePages: true);
        }

        processors = pin ? ThreadPlacement.AllowedProcessors() : [];
        threads = new Thread[size - 1];
        for (int i = 0; i < threads.Length; i++)
        {
            int worker = i + 1;
            threads[i] = new Thread(() => Serve(worker), 1 << 20)
            {
                IsBackground = true,
                Name = string.Create(CultureInfo.InvariantCulture, $"antiphon-compute-{worker}"),
            };
            threads[i].Start();
        }
    }

    /// <summary>Number of workers, the caller included.</summary>
    public int Size { get; }

    /// <summary>Workers that wait without using the processor.</summary>
    internal int Parked => Volatile.Read(ref parked);

    /// <summary>Runs all chunks and returns when the last is done. Not re-entrant; one caller at a time.</summary>
    /// <typeparam name="TWork">A struct, so that no call allocates.</typeparam>
    /// <remarks>If a chunk throws, chunks that have not begun are dropped, and the first exception is thrown here once no chunk runs any more.</remarks>
    /// <exception cref="InvalidOperationException">The team is already running something.</exception>
    /// <exception cref="ObjectDisposedException">The team has been disposed.</exception>
    public void Run<TWork>(ref TWork work, int chunks)
        where TWork : struct, IParallelWork
    {
        ArgumentOutOfRangeException.ThrowIfNegative(chunks);
        if (Interlocked.CompareExchange(ref busy, 1, 0) != 0)
        {
            throw new InvalidOperationException("the compute team is already running: one caller at a time, and never from inside a chunk");
        }

        try
        {
            ObjectDisposedException.ThrowIf(stopping, this);
            if (chunks <= 1 || threads.Length == 0)
            {
                for (int chunk = 0; chunk < chunks; chunk++)
                {
                    work.Execute(chunk, 0);
                }

                return;
            }

            // The work usually lies on the caller's stack; pinning also covers work inside an object.
            fixed (byte* address = &Unsafe.As<TWork, byte>(ref work))
            {
                Share((nint)address, &ExecuteChunk<TWork>, chunks);
            }
        }
        finally
        {
            Volatile.Write(ref busy, 0);
        }
    }

    /// <summary>Memory for a worker's intermediate values, aligned to 64 bytes; its content is undefined. Valid until the worker's next call.</summary>
    /// <param name="worker">The worker that <see cref="IParallelWork.Execute"/> was given.</param>
    /// <param name="bytes">How much is needed; allocates only when that is more than ever before.</param>
    public byte* Scratch(int worker, long bytes)
    {
        NativeBuffer<byte> buffer = scratch[worker];
        if (buffer.Length < bytes)
        {
            // A need that creeps up must not allocate each time.
            scratch[worker] = new NativeBuffer<byte>(bytes + (bytes / 4), hugePages: true);
            buffer.Dispose();
            buffer = scratch[worker];
        }

        return buffer.Pointer;
    }

    /// <summary>Waits for the run in progress, if any, and ends the team's threads. Not to be called from inside a chunk.</summary>
    public void Dispose()
    {
        SpinWait wait = default;
        while (Interlocked.CompareExchange(ref busy, 1, 0) != 0)
        {
            wait.SpinOnce();
        }

        stopping = true;
        Volatile.Write(ref busy, 0);
        lock (gate)
        {
            Monitor.PulseAll(gate);
        }

        foreach (Thread thread in threads)
        {
            thread.Join();
        }

        for (int i = 0; i < scratch.Length; i++)
        {
            scratch[i].Dispose();
        }
    }

    private static void ExecuteChunk<TWork>(nint work, int chunk, int worker)
        where TWork : struct, IParallelWork => Unsafe.AsRef<TWork>((void*)work).Execute(chunk, worker);

    private void Share(nint address, delegate*<nint, int, int, void> code, int chunks)
    {
        workAddress = address;
        workCode = code;
        workChunks = chunks;
        Volatile.Write(ref counters.Unfinished, chunks);
        Interlocked.Exchange(ref counters.Ticket, (((counters.Ticket >>> 32) + 1) << 32) | (uint)chunks);
        if (Volatile.Read(ref parked) > 0)
        {
            lock (gate)
            {
                Monitor.PulseAll(gate);
            }
        }

        ExecuteClaimed(0);
        for (int spins = 0; Volatile.Read(ref counters.Unfinished) != 0; spins++)
        {
            // The last chunks take microseconds; a yield on a busy machine costs milliseconds. One is due when a worker is not running at all.
            if (spins < SpinsBeforeYield)
            {
                Thread.SpinWait(1);
            }
            else
            {
                Thread.Yield();
            }
        }

        if (failure is { } exception)
        {
            failure = null;
            ExceptionDispatchInfo.Throw(exception);
        }
    }

    /// <summary>Claims and executes chunks until none is left.</summary>
    private void ExecuteClaimed(int worker)
    {
        while (true)
        {
            long ticket = Volatile.Read(ref counters.Ticket);
            int left = (int)ticket;
            if (left == 0)
            {
                return;
            }

            if (Interlocked.CompareExchange(ref counters.Ticket, ticket - 1, ticket) != ticket)
            {
                continue;
            }

            try
            {
                if (Volatile.Read(ref failure) is null)
                {
                    workCode(workAddress, workChunks - left, worker);
                }
            }
#pragma warning disable CA1031 // Any exception belongs to the caller of Run.
            catch (Exception exception)
#pragma warning restore CA1031
            {
                Interlocked.CompareExchange(ref failure, exception, null);
            }

            Interlocked.Decrement(ref counters.Unfinished);
        }
    }

    private void Serve(int worker)
    {
        if (processors.Length > 0)
        {
            ThreadPlacement.TryPin(processors[worker % processors.Length]);
        }

        while (AwaitChunks())
        {
            ExecuteClaimed(worker);
        }
    }

    /// <summary>Waits until there is a chunk to claim; false when the team ends.</summary>
    private bool AwaitChunks()
    {
        long end = Stopwatch.GetTimestamp() + SpinTicks;
        do
        {
            for (int i = 0; i < 32; i++)
            {
                if ((int)Volatile.Read(ref counters.Ticket) != 0)
                {
                    return true;
                }

                Thread.SpinWait(4);
            }
        }
        while (Stopwatch.GetTimestamp() < end);

        lock (gate)
        {
            // A full fence between telling that this worker is parked and looking again: the caller does the two in the other order.
            Interlocked.Increment(ref parked);
            while ((int)Volatile.Read(ref counters.Ticket) == 0 && !stopping)
            {
                Monitor.Wait(gate);
            }

            Interlocked.Decrement(ref parked);
            return !stopping;
        }
    }

    /// <summary>The two words that all workers write, on cache lines of their own.</summary>
    [System.Runtime.InteropServices.StructLayout(System.Runtime.InteropServices.LayoutKind.Explicit, Size = 256)]
    private struct PaddedCounters
    {
        /// <summary>High half: number of the run. Low half: chunks that nobody has claimed.</summary>
        [System.Runtime.InteropServices.FieldOffset(64)]
        public long Ticket;

        /// <summary>Chunks that are not done.</summary>
        [System.Runtime.InteropServices.FieldOffset(128)]
        public int Unfinished;
    }
}
