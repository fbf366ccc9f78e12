using Antiphon.Kernels;
using Antiphon.Kernels.Jit;
using Antiphon.Models;

namespace Antiphon.Cli;

/// <summary>What the machine can do at best with a team, measured again whenever asked: the limits that a model's figures are held against.</summary>
internal sealed class MachineLimits : IDisposable
{
    private readonly ComputeTeam team;
    private readonly PeakProbe? probe;
    private readonly NativeBuffer<byte>? buffer;
    private readonly bool tiles;
    private readonly bool dots;

    /// <summary>Prepares the measurements.</summary>
    /// <param name="team">Who measures.</param>
    /// <param name="precision">How matrices are multiplied, which says what unit does it.</param>
    public MachineLimits(ComputeTeam team, MatrixPrecision precision)
    {
        this.team = team;
        KernelTier tier = CpuFeatures.DefaultTier;
        if (tier >= KernelTier.Avx512 && CpuFeatures.Current.HasAvx512BFloat16)
        {
            try
            {
                probe = new PeakProbe();
            }
            catch (CodeGenerationException)
            {
                // What the vectors of .NET reach is the limit of a machine that denies generated code.
            }
        }

        bool rounded = probe is not null && precision == MatrixPrecision.Fast;
        tiles = rounded && tier == KernelTier.Amx;
        MultiplyUnit = tiles ? "AMX bf16" : rounded ? "AVX-512 bf16" : $"{tier.ToString().ToLowerInvariant()} FMA";
        dots = rounded && !tiles;
        if (probe is not null)
        {
            long size = Math.Max(256L << 20, 2 * CpuFeatures.Current.Level3Bytes) & -(1L << 20);
            buffer = new NativeBuffer<byte>(size);

            // Pages that were never written all stand for one page of zeros, which stays in the cache.
            for (long at = 0; at < size; at += 1 << 20)
            {
                buffer.Span(at, 1 << 20).Fill(1);
            }
        }
    }

    /// <summary>The unit that multiplies matrices.</summary>
    public string MultiplyUnit { get; }

    /// <summary>Bytes per second read from memory, the better of two passes.</summary>
    public double Read() => probe is not null && buffer is not null
        ? Math.Max(probe.MeasureRead(team, buffer), probe.MeasureRead(team, buffer))
        : BandwidthProbe.MeasureRead(team, passes: 2);

    /// <summary>Operations per second of the unit that multiplies matrices; a product and a sum are two. The best of three short runs.</summary>
    public double Multiply() => Enumerable.Range(0, 3).Max(_ =>
        tiles ? probe!.MeasureTilesBFloat16(team) : dots ? probe!.MeasureDotBFloat16(team) : BandwidthProbe.MeasurePeak(team, passes: 2));

    /// <inheritdoc/>
    public void Dispose()
    {
        probe?.Dispose();
        buffer?.Dispose();
    }
}
