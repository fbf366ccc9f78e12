using System.Numerics;

namespace Antiphon.Engine;

/// <summary>Reductions over a row of logits.</summary>
internal static class LogitMath
{
    /// <summary>The highest value. Throws when one is not a number, or when none is above minus infinity.</summary>
    public static float CheckedMax(ReadOnlySpan<float> values)
    {
        (float highest, bool isSound) = Reduce(values);
        return !isSound ? throw new DecodingFailedException("the logits hold a value that is not a number or infinite")
            : highest > float.NegativeInfinity ? highest
            : throw new DecodingFailedException("no token is allowed next");
    }

    /// <summary>The highest value.</summary>
    public static float Max(ReadOnlySpan<float> values) => Reduce(values).Highest;

    /// <summary>The highest value, and whether all are finite or minus infinity. One pass in four chains, which do not wait for each other.</summary>
    private static (float Highest, bool IsSound) Reduce(ReadOnlySpan<float> values)
    {
        int lanes = Vector<float>.Count;
        Vector<float> most = new(float.MaxValue);
        Vector<float> a = new(float.NegativeInfinity), b = a, c = a, d = a;
        Vector<int> sound = Vector<int>.AllBitsSet;
        ReadOnlySpan<float> rest = values;
        for (; rest.Length >= 4 * lanes; rest = rest[(4 * lanes)..])
        {
            Vector<float> w = new(rest), x = new(rest[lanes..]), y = new(rest[(2 * lanes)..]), z = new(rest[(3 * lanes)..]);
            sound &= Vector.LessThanOrEqual(w, most) & Vector.LessThanOrEqual(x, most) & Vector.LessThanOrEqual(y, most) & Vector.LessThanOrEqual(z, most);
            a = Vector.Max(a, w);
            b = Vector.Max(b, x);
            c = Vector.Max(c, y);
            d = Vector.Max(d, z);
        }

        a = Vector.Max(Vector.Max(a, b), Vector.Max(c, d));
        float highest = float.NegativeInfinity;
        for (int lane = 0; lane < lanes; lane++)
        {
            highest = Math.Max(highest, a[lane]);
        }

        bool isSound = Vector.EqualsAll(sound, Vector<int>.AllBitsSet);
        foreach (float value in rest)
        {
            highest = Math.Max(highest, value);
            isSound &= value <= float.MaxValue;
        }

        return (highest, isSound);
    }

    /// <summary>Logarithm of the sum of the exponentials.</summary>
    public static double LogSumExp(ReadOnlySpan<float> values)
    {
        float highest = Max(values);
        double sum = 0;
        foreach (float value in values)
        {
            sum += Math.Exp((double)value - highest);
        }

        return highest + Math.Log(sum);
    }
}
