using System.Runtime.CompilerServices;

namespace Antiphon.Engine;

/// <summary>
/// Probability by distance from what is kept first, in bins of a fraction of a nat. It tells how far a truncation that keeps a share of the probability
/// reaches, so that only what lies about there needs sorting.
/// </summary>
[InlineArray(Count)]
internal struct MassBins
{
    private const int Count = 1024;
    private const float PerNat = 32;
    private double first;

    /// <summary>The bin of a distance, not negative; the last one takes all that is far.</summary>
    public static int Of(float distance) => (int)Math.Min(Count - 1, distance * PerNat);

    /// <summary>The distance at which a bin ends; infinity for the last.</summary>
    public static float End(int bin) => bin == Count - 1 ? float.PositiveInfinity : (bin + 1) / PerNat;

    public void Add(float distance, double mass) => this[Of(distance)] += mass;

    /// <summary>The bin in which so much is reached, or the last.</summary>
    /// <param name="mass">How much.</param>
    /// <param name="before">What the bins before it hold.</param>
    public readonly int Reaching(double mass, out double before)
    {
        before = 0;
        int bin = 0;
        while (bin < Count - 1 && before + this[bin] < mass)
        {
            before += this[bin++];
        }

        return bin;
    }
}
