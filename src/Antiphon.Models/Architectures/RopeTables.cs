namespace Antiphon.Models;

/// <summary>Frequencies of rotary position embeddings under the published scalings.</summary>
internal static class RopeTables
{
    /// <summary>θ^(−2i/size) for each pair.</summary>
    public static double[] Plain(double theta, int size)
    {
        double[] frequencies = new double[size / 2];
        for (int i = 0; i < frequencies.Length; i++)
        {
            frequencies[i] = Math.Pow(theta, -2.0 * i / size);
        }

        return frequencies;
    }

    /// <summary>Divides every frequency by one factor, or each by its own.</summary>
    public static double[] Divide(double[] frequencies, ReadOnlySpan<float> factors)
    {
        double[] result = new double[frequencies.Length];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = frequencies[i] / factors[factors.Length == 1 ? 0 : i];
        }

        return result;
    }

    /// <summary>Llama 3: long waves are divided, short ones kept, those between are blended.</summary>
    public static double[] Llama3(double[] frequencies, double factor, double lowFactor, double highFactor, double originalLength)
    {
        double[] result = new double[frequencies.Length];
        for (int i = 0; i < result.Length; i++)
        {
            double wavelength = 2 * Math.PI / frequencies[i];
            double blend = Math.Clamp(((originalLength / wavelength) - lowFactor) / (highFactor - lowFactor), 0, 1);
            result[i] = (((1 - blend) / factor) + blend) * frequencies[i];
        }

        return result;
    }

    /// <summary>YaRN: pairs that turn often within the original context are kept, those that turn rarely are divided.</summary>
    public static double[] Yarn(
        double[] frequencies, double theta, double factor, double originalLength, double betaFast, double betaSlow, bool truncate)
    {
        int size = 2 * frequencies.Length;
        double low = Bound(betaFast);
        double high = Bound(betaSlow);
        if (truncate)
        {
            low = Math.Floor(low);
            high = Math.Ceiling(high);
        }

        low = Math.Max(low, 0);
        high = Math.Min(high, size - 1);
        if (low == high)
        {
            high += 0.001;
        }

        double[] result = new double[frequencies.Length];
        for (int i = 0; i < result.Length; i++)
        {
            double ramp = Math.Clamp((i - low) / (high - low), 0, 1);
            result[i] = (frequencies[i] / factor * ramp) + (frequencies[i] * (1 - ramp));
        }

        return result;

        double Bound(double turns) => size * Math.Log(originalLength / (2 * Math.PI * turns)) / (2 * Math.Log(theta));
    }

    /// <summary>YaRN's magnitude: 0.1 · weight · ln(factor) + 1.</summary>
    public static double YarnMagnitude(double factor, double weight) => factor <= 1 ? 1 : (0.1 * weight * Math.Log(factor)) + 1;

    /// <summary>LongRoPE's magnitude.</summary>
    public static double LongMagnitude(double factor, double originalLength) =>
        factor <= 1 ? 1 : Math.Sqrt(1 + (Math.Log(factor) / Math.Log(originalLength)));

    public static float[] ToSingle(double[] frequencies) => Array.ConvertAll(frequencies, static f => (float)f);
}
