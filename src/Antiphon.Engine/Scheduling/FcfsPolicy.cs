namespace Antiphon.Engine;

/// <summary>First come, first served: nobody is overtaken, so nobody starves.</summary>
public sealed class FcfsPolicy : ISchedulingPolicy
{
    /// <inheritdoc/>
    public string Name => "fcfs";

    /// <inheritdoc/>
    public bool PreemptsForAdmission => false;

    /// <inheritdoc/>
    public int Compare(in SchedulingEntry left, in SchedulingEntry right) => left.Order.CompareTo(right.Order);
}
