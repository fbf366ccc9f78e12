namespace Antiphon.Server;

/// <summary>A histogram in the form that Prometheus reads.</summary>
internal sealed class Histogram(params double[] bounds)
{
    private readonly long[] counts = new long[bounds.Length + 1];
    private readonly Lock gate = new();
    private double sum;

    /// <summary>Adds a value.</summary>
    public void Observe(double value)
    {
        int bucket = 0;
        while (bucket < bounds.Length && value > bounds[bucket])
        {
            bucket++;
        }

        lock (gate)
        {
            counts[bucket]++;
            sum += value;
        }
    }

    /// <summary>Writes the metric.</summary>
    public void Write(MetricsText text, string name, string help)
    {
        long[] snapshot;
        double total;
        lock (gate)
        {
            snapshot = [.. counts];
            total = sum;
        }

        text.Header(name, "histogram", help);
        long running = 0;
        for (int i = 0; i < snapshot.Length; i++)
        {
            running += snapshot[i];
            text.Sample($"{name}_bucket", running, ("le", i < bounds.Length ? MetricsText.Number(bounds[i]) : "+Inf"));
        }

        text.Sample($"{name}_sum", total);
        text.Sample($"{name}_count", running);
    }
}
