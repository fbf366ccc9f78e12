namespace Antiphon.Kernels.Tuning;

/// <summary>
/// One operation on one shape, and the ways to do it that agree bit for bit. The calls of a model that answers are the measurements: each takes the next candidate
/// until every one was timed often enough. The first candidate is the default.
/// </summary>
/// <remarks>
/// What looks best must be faster than the default by its median, and then again in a second series of those two alone: one lucky series among many candidates is
/// no rarity on a machine that others use, too. So the choice is never one that was measured to be slower than the default.
/// </remarks>
internal sealed class TuningUnit
{
    /// <summary>Timed calls of each candidate in a series; one more, before them, warms up.</summary>
    public const int Rounds = 9;

    // Share of the default's time that a candidate must stay below.
    private const double Needed = 0.98;

    private readonly Lock gate = new();
    private readonly long[][] times;
    private int[] series;
    private int next;
    private int round = -1;
    private bool confirming;
    private int choice = -1;

    /// <summary>Begins to measure.</summary>
    /// <param name="key">Operation and shape.</param>
    /// <param name="candidates">Names, the default first; one or more.</param>
    /// <param name="choice">The candidate that was chosen earlier, or -1.</param>
    public TuningUnit(string key, IReadOnlyList<string> candidates, int choice = -1)
    {
        ArgumentOutOfRangeException.ThrowIfZero(candidates.Count);
        Key = key;
        Candidates = candidates;
        this.choice = candidates.Count == 1 ? 0 : choice;
        series = [.. Enumerable.Range(0, candidates.Count)];
        times = [.. candidates.Select(_ => new long[Rounds])];
    }

    /// <summary>Operation and shape.</summary>
    public string Key { get; }

    /// <summary>Names, the default first.</summary>
    public IReadOnlyList<string> Candidates { get; }

    /// <summary>The candidate that is used from now on; -1 while it is measured.</summary>
    public int Choice => Volatile.Read(ref choice);

    /// <summary>Time of the choice as a share of the default's, as measured last; NaN where it was not measured here.</summary>
    public double Gain { get; private set; } = double.NaN;

    /// <summary>The candidate for the next call.</summary>
    /// <param name="timed">Whether <see cref="Observe"/> wants to know how long it took.</param>
    public int Take(out bool timed)
    {
        int chosen = Volatile.Read(ref choice);
        timed = chosen < 0;
        if (!timed)
        {
            return chosen;
        }

        lock (gate)
        {
            return series[next];
        }
    }

    /// <summary>Takes in a call's time. Calls may overlap; times of a candidate that is not next are dropped.</summary>
    /// <returns>Whether the choice was made with this.</returns>
    public bool Observe(int candidate, long ticks)
    {
        lock (gate)
        {
            if (choice >= 0 || series[next] != candidate)
            {
                return false;
            }

            if (round >= 0)
            {
                times[candidate][round] = ticks;
            }

            if (++next < series.Length)
            {
                return false;
            }

            next = 0;
            return ++round == Rounds && Judge();
        }
    }

    private bool Judge()
    {
        long standard = Median(0);
        int best = series.MinBy(Median);
        double share = (double)Median(best) / Math.Max(1, standard);
        if (best == 0 || share > Needed)
        {
            Gain = 1;
            Volatile.Write(ref choice, 0);
            return true;
        }

        if (confirming)
        {
            Gain = share;
            Volatile.Write(ref choice, best);
            return true;
        }

        confirming = true;
        series = [0, best];
        round = -1;
        return false;
    }

    private long Median(int candidate)
    {
        Span<long> sorted = stackalloc long[Rounds];
        times[candidate].CopyTo(sorted);
        sorted.Sort();
        return sorted[Rounds / 2];
    }
}
