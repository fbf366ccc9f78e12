using System.Globalization;
using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>How many cache blocks an engine gets.</summary>
internal static class PoolSize
{
    /// <summary>Blocks by options, or by free memory.</summary>
    /// <exception cref="InvalidRequestException">The options ask for more than can be, or for nothing.</exception>
    public static int Blocks(EngineOptions options, IBackend backend, long freeBytes)
    {
        int context = Math.Min(options.ContextLength ?? int.MaxValue, backend.ContextLength);
        long blockBytes = Math.Max(1, checked(backend.CacheBytesPerToken * options.BlockSize));
        long perSequence = ((long)context + options.BlockSize - 1) / options.BlockSize;

        long blocks;
        if (options.BlockCount is { } count)
        {
            blocks = count;
        }
        else if (options.CacheBytes is { } bytes)
        {
            blocks = bytes / blockBytes;
            if (blocks < 1)
            {
                throw new InvalidRequestException(nameof(EngineOptions.CacheBytes), $"{bytes} bytes hold no cache block: one of {options.BlockSize} tokens takes {blockBytes} bytes");
            }
        }
        else
        {
            long half = freeBytes / 2 / blockBytes;
            long most = freeBytes / 4 * 3 / blockBytes;
            blocks = Math.Max(1, Math.Min(options.MaxSequences * perSequence, perSequence <= most ? Math.Max(half, perSequence) : half));
        }

        // More than every sequence at full length can use only caches prefixes; the bound is that of the bookkeeping's arrays.
        long limit = Array.MaxLength / options.BlockSize;
        return blocks <= limit ? (int)blocks
            : options.BlockCount is null && options.CacheBytes is null ? (int)limit
            : throw new InvalidRequestException(options.BlockCount is null ? nameof(EngineOptions.CacheBytes) : nameof(EngineOptions.BlockCount), $"{blocks} blocks are too many: at most {limit}");
    }

    /// <summary>Bytes of memory that can be taken without harm: what the runtime may use and the machine has available, whichever is less.</summary>
    public static long FreeBytes()
    {
        long limit = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes - Environment.WorkingSet;
        try
        {
            foreach (string line in File.ReadLines("/proc/meminfo"))
            {
                string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (words is ["MemAvailable:", var kilobytes, ..] && long.TryParse(kilobytes, NumberStyles.None, CultureInfo.InvariantCulture, out long available))
                {
                    limit = Math.Min(limit, available * 1024);
                }
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            // Not Linux: the runtime's own figure has to do.
        }

        return Math.Max(0, limit);
    }
}
