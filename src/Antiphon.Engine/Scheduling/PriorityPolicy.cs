namespace Antiphon.Engine;

/// <summary>
/// Lower <see cref="GenerationRequest.Priority"/> first, and waiting counts: one level of priority is worth <see cref="Patience"/> of waiting.
/// The rank is the virtual deadline <c>arrival + priority × patience</c>, which never changes, so a stream of urgent requests delays
/// another by at most its distance in priority and nobody starves.
/// </summary>
public sealed class PriorityPolicy : ISchedulingPolicy
{
    /// <summary>Creates the policy.</summary>
    /// <param name="patience">What one level of priority is worth; default 60 seconds.</param>
    public PriorityPolicy(TimeSpan? patience = null)
    {
        Patience = patience ?? TimeSpan.FromSeconds(60);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Patience.Ticks, nameof(patience));
    }

    /// <summary>What one level of priority is worth.</summary>
    public TimeSpan Patience { get; }

    /// <inheritdoc/>
    public string Name => "priority";

    /// <inheritdoc/>
    public bool PreemptsForAdmission => true;

    /// <inheritdoc/>
    public int Compare(in SchedulingEntry left, in SchedulingEntry right)
    {
        int byDeadline = Deadline(left).CompareTo(Deadline(right));
        return byDeadline != 0 ? byDeadline : left.Order.CompareTo(right.Order);
    }

    private Int128 Deadline(in SchedulingEntry entry) => entry.Arrival.Ticks + ((Int128)entry.Priority * Patience.Ticks);
}
