using System.Diagnostics;

namespace Antiphon.Kernels.Tuning;

/// <summary>The choices for matrices of one shape: a <see cref="TuningUnit"/> for each class of batch sizes and each number of matrices that share a pass with it.</summary>
/// <param name="tuning">Keeps the units.</param>
/// <param name="operation">Kernel, format and shape.</param>
/// <param name="classes">Number of classes.</param>
internal sealed class MatrixTuning(KernelTuning tuning, string operation, int classes)
{
    private readonly TuningUnit?[] units = new TuningUnit?[classes * WeightMatrix.MostTogether];

    /// <summary>The plan for the next product.</summary>
    /// <param name="plans">The plans of a class, always the same ones, the usually fastest first.</param>
    /// <param name="index">The class.</param>
    /// <param name="className">Names it.</param>
    /// <param name="together">Matrices in one pass, this one first.</param>
    /// <param name="call">What to tell when the product is made.</param>
    public TPlan Take<TPlan>(TPlan[] plans, int index, Func<int, string> className, int together, out TimedCall call)
        where TPlan : struct
    {
        together = Math.Min(together, WeightMatrix.MostTogether);
        TuningUnit unit = units[(index * WeightMatrix.MostTogether) + together - 1] ??= tuning.Unit(
            $"{operation}{(together > 1 ? $" and {together - 1} more" : "")}, {className(index)}", [.. plans.Select(plan => plan.ToString()!)]);
        int candidate = unit.Take(out bool timed);
        call = timed ? new TimedCall(tuning, unit, candidate) : default;
        return plans[candidate];
    }
}

/// <summary>A product whose time somebody wants to know; the default: nobody does.</summary>
internal readonly struct TimedCall(KernelTuning tuning, TuningUnit unit, int candidate)
{
    private readonly long start = Stopwatch.GetTimestamp();

    /// <summary>Tells that the product is made.</summary>
    public void End()
    {
        if (unit is not null)
        {
            tuning.Observe(unit, candidate, Stopwatch.GetTimestamp() - start);
        }
    }
}
