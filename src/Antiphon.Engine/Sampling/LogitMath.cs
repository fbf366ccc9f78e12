using System.Numerics;
using Antiphon.Kernels;

namespace Antiphon.Engine;

/// <summary>Reductions over a row of logits.</summary>
internal static unsafe class LogitMath
{
    // Values that are summed as floats, before their sum joins one of double precision.
    private const int SumPiece = 1024;

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

    /// <summary>Index of the first value above a bound; -1: none is.</summary>
    public static int FirstAbove(ReadOnlySpan<float> values, float bound)
    {
        int lanes = Vector<float>.Count;
        Vector<float> bounds = new(bound);
        int i = 0;
        while (i <= values.Length - lanes && !Vector.GreaterThanAny(new Vector<float>(values[i..]), bounds))
        {
            i += lanes;
        }

        for (; i < values.Length; i++)
        {
            if (values[i] > bound)
            {
                return i;
            }
        }

        return -1;
    }

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

    /// <summary>target = (source - highest) / temperature. However small the temperature, the highest becomes 0.</summary>
    public static void Scale(ReadOnlySpan<float> source, float highest, float temperature, Span<float> target)
    {
        Vector<float> offset = new(highest), divisor = new(temperature);
        int i = 0;
        for (; i <= source.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            ((new Vector<float>(source[i..]) - offset) / divisor).CopyTo(target[i..]);
        }

        for (; i < source.Length; i++)
        {
            target[i] = (source[i] - highest) / temperature;
        }
    }

    /// <summary>values *= factor.</summary>
    public static void Multiply(Span<float> values, float factor)
    {
        fixed (float* x = values)
        {
            VectorKernels.Default.Scale(factor, x, values.Length);
        }
    }

    /// <summary>Exponentials, in place; their sum.</summary>
    public static double Exp(Span<float> values)
    {
        double sum = 0;
        fixed (float* x = values)
        {
            for (int i = 0; i < values.Length; i += SumPiece)
            {
                int count = Math.Min(SumPiece, values.Length - i);
                VectorKernels.Default.Exp(x + i, count);
                sum += VectorKernels.Default.Sum(x + i, count);
            }
        }

        return sum;
    }

    /// <summary>Draws by weight.</summary>
    /// <param name="weights">Not negative, some above 0.</param>
    /// <param name="sum">What they sum up to; another order of additions is tolerated.</param>
    /// <param name="uniform">In [0, 1).</param>
    /// <returns>The index of one above 0.</returns>
    public static int Draw(ReadOnlySpan<float> weights, double sum, double uniform)
    {
        double target = uniform * sum;
        double before = 0;
        double passed = 0;
        int from = 0;
        fixed (float* x = weights)
        {
            for (int i = 0; i < weights.Length && passed <= target; i += SumPiece)
            {
                float piece = VectorKernels.Default.Sum(x + i, Math.Min(SumPiece, weights.Length - i));
                if (piece > 0)
                {
                    (from, before) = (i, passed);
                    passed += piece;
                }
            }
        }

        // Where rounding leaves less than the target, the last one is taken.
        int last = from;
        for (int i = from; i < Math.Min(from + SumPiece, weights.Length) && before <= target; i++)
        {
            if (weights[i] > 0)
            {
                before += weights[i];
                last = i;
            }
        }

        return last;
    }
}
