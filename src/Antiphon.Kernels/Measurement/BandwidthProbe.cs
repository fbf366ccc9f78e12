using System.Diagnostics;

namespace Antiphon.Kernels;

/// <summary>Measures what a team can reach on this machine: the limits that other measurements are held against.</summary>
public static unsafe class BandwidthProbe
{
    /// <summary>Bytes per second that the team reads from memory, the best of some passes over a buffer larger than the caches.</summary>
    /// <param name="team">Who reads.</param>
    /// <param name="bytes">Size of the buffer; 0: 256 MiB, or twice the third-level cache where that is more.</param>
    /// <param name="passes">Number of passes, at least 1.</param>
    public static double MeasureRead(ComputeTeam team, long bytes = 0, int passes = 8)
    {
        long size = (bytes > 0 ? bytes : Math.Max(256L << 20, 2 * CpuFeatures.Current.Level3Bytes)) & ~(ReadPass.ChunkBytes - 1L);
        using NativeBuffer<float> buffer = new(size / sizeof(float));

        // Pages that were never written all stand for one page of zeros, which stays in the cache.
        for (long at = 0; at < size; at += ReadPass.ChunkBytes)
        {
            new Span<float>(buffer.Pointer + (at / sizeof(float)), ReadPass.ChunkBytes / sizeof(float)).Fill(1);
        }

        return BestRate(team, new ReadPass(buffer.Pointer, CpuFeatures.Current.BestTier), (int)(size / ReadPass.ChunkBytes), size, passes);
    }

    /// <summary>Bytes per second that the team reads from a buffer that has been written to, of which whole megabytes count.</summary>
    /// <param name="team">Who reads.</param>
    /// <param name="buffer">A buffer larger than the caches.</param>
    /// <param name="passes">Number of passes, at least 1.</param>
    public static double MeasureRead(ComputeTeam team, NativeBuffer<byte> buffer, int passes = 2)
    {
        int chunks = (int)(buffer.Length / ReadPass.ChunkBytes);
        return BestRate(team, new ReadPass((float*)buffer.Pointer, CpuFeatures.Current.BestTier), chunks, (double)chunks * ReadPass.ChunkBytes, passes);
    }

    /// <summary>Floating-point operations per second (a fused multiply-add is two) that the team reaches on the widest vectors of a tier, from registers.</summary>
    public static double MeasurePeak(ComputeTeam team, KernelTier? tier = null, int passes = 8)
    {
        int chunks = 8 * team.Size;
        return BestRate(team, new FmaPass(CpuFeatures.Resolve(tier)), chunks, chunks * FmaPass.Operations, passes);
    }

    private static double BestRate<TWork>(ComputeTeam team, TWork work, int chunks, double amount, int passes)
        where TWork : struct, IParallelWork
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(passes, 1);
        double best = double.PositiveInfinity;
        for (int pass = 0; pass < passes; pass++)
        {
            long start = Stopwatch.GetTimestamp();
            team.Run(ref work, chunks);
            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        return amount / best;
    }
}
