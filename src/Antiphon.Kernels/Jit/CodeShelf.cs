using System.Diagnostics;

namespace Antiphon.Kernels.Jit;

/// <summary>Makes kernels on first use, each once, and counts the time that takes. Places are the caller's, one for each kernel; finding a kernel that is there takes no lock.</summary>
internal sealed class CodeShelf
{
    private readonly Lock gate = new();
    private long generationTicks;

    /// <summary>Time spent on generating code so far.</summary>
    public TimeSpan GenerationTime => Stopwatch.GetElapsedTime(0, Volatile.Read(ref generationTicks));

    /// <summary>The kernel of a place, made now if it is not there yet.</summary>
    /// <exception cref="CodeGenerationException">The system denies executable memory.</exception>
    public GeneratedCode Get<TKey>(ref GeneratedCode? place, TKey key, Func<TKey, GeneratedCode> generate)
    {
        if (Volatile.Read(ref place) is { } existing)
        {
            return existing;
        }

        lock (gate)
        {
            if (place is null)
            {
                Volatile.Write(ref place, Make(key, generate));
            }

            return place;
        }
    }

    /// <summary>A kernel without a place.</summary>
    /// <exception cref="CodeGenerationException">The system denies executable memory.</exception>
    public GeneratedCode Make<TKey>(TKey key, Func<TKey, GeneratedCode> generate)
    {
        long start = Stopwatch.GetTimestamp();
        GeneratedCode code = generate(key);
        Interlocked.Add(ref generationTicks, Stopwatch.GetTimestamp() - start);
        return code;
    }

    /// <summary>Frees kernels, none of which is being made meanwhile.</summary>
    public void Free(ReadOnlySpan<GeneratedCode?> codes)
    {
        lock (gate)
        {
            foreach (GeneratedCode? code in codes)
            {
                code?.Dispose();
            }
        }
    }
}
