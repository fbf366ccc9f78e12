using Antiphon.Kernels;

namespace Antiphon.Benchmarks.Matrix;

/// <summary>What the machine can do at best, measured again whenever asked; also on processors for which <see cref="PeakProbe"/> has no code.</summary>
internal sealed class Limits : IDisposable
{
    private readonly ComputeTeam team;
    private readonly PeakProbe? probe;
    private readonly NativeBuffer<byte>? buffer;

    public Limits(ComputeTeam team)
    {
        this.team = team;
        if (CpuFeatures.Current.HasAvx512BFloat16)
        {
            probe = new PeakProbe();
            buffer = new NativeBuffer<byte>(1L << 29);
            buffer.Span(0, 1 << 29).Fill(1);
        }
    }

    /// <summary>Bytes per second read from memory.</summary>
    public double Read() => probe is not null ? Math.Max(probe.MeasureRead(team, buffer!), probe.MeasureRead(team, buffer!)) : BandwidthProbe.MeasureRead(team, passes: 3);

    /// <summary>Float32 operations per second of fused multiply-adds on the tier in use.</summary>
    public double MultiplyAdd() => BandwidthProbe.MeasurePeak(team, passes: 3);

    public void Dispose()
    {
        probe?.Dispose();
        buffer?.Dispose();
    }
}
