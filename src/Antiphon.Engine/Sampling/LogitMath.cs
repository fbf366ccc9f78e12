using System.Numerics;

namespace Antiphon.Engine;

/// <summary>Reductions over a row of logits.</summary>
internal static class LogitMath
{
    /// <summary>The highest value. Throws when one is not a number, or when none is above minus infinity.</summary>
    public static float CheckedMax(ReadOnlySpan<float> values)
    {
        Vector<float> sum = Vector<float>.Zero;
        float rest = 0;
        int i = 0;
        for (; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            // x * 0 is 0 for every number and not a number for infinities and for what is none; minus infinity is allowed.
            Vector<float> part = new(values[i..]);
            sum += Vector.ConditionalSelect(Vector.Equals(part, new Vector<float>(float.NegativeInfinity)), Vector<float>.Zero, part * 0f);
        }

        for (; i < values.Length; i++)
        {
            rest += values[i] == float.NegativeInfinity ? 0 : values[i] * 0f;
        }

        if (float.IsNaN(Vector.Sum(sum) + rest))
        {
            throw new DecodingFailedException("the logits hold a value that is not a number or infinite");
        }

        float highest = Max(values);
        return highest > float.NegativeInfinity ? highest : throw new DecodingFailedException("no token is allowed next");
    }

    /// <summary>The highest value.</summary>
    public static float Max(ReadOnlySpan<float> values)
    {
        float highest = float.NegativeInfinity;
        int i = 0;
        if (values.Length >= Vector<float>.Count)
        {
            Vector<float> highs = new(values);
            for (i = Vector<float>.Count; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
            {
                highs = Vector.Max(highs, new Vector<float>(values[i..]));
            }

            for (int lane = 0; lane < Vector<float>.Count; lane++)
            {
                highest = Math.Max(highest, highs[lane]);
            }
        }

        for (; i < values.Length; i++)
        {
            highest = Math.Max(highest, values[i]);
        }

        return highest;
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
