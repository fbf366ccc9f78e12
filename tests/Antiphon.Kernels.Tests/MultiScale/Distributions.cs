namespace Antiphon.Kernels.Tests.MultiScale;

/// <summary>Rows of activations of many kinds.</summary>
internal static class Distributions
{
    public static string[] Names => ["gaussian", "uniform", "laplace", "outliers", "cauchy", "zero", "single", "subnormal", "tiny", "bfloat16 extremes"];

    public static void Fill(string kind, Span<float> row, Random random)
    {
        row.Clear();
        for (int i = 0; i < row.Length; i++)
        {
            row[i] = kind switch
            {
                "gaussian" => (float)Gaussian(random),
                "uniform" => (random.NextSingle() * 2) - 1,
                "laplace" => (float)(-Math.Log(1 - random.NextDouble()) * (random.Next(2) == 0 ? 1 : -1)),
                "outliers" => (float)(Gaussian(random) * (random.Next(200) == 0 ? 100 : 1)),
                "cauchy" => (float)Math.Clamp(Math.Tan(Math.PI * (random.NextDouble() - 0.5)), -1e30, 1e30),
                "subnormal" => BitConverter.UInt32BitsToSingle((uint)random.Next(1 << 23) | ((uint)random.Next(2) << 31)),
                "tiny" => (float)Gaussian(random) * 1e-30f,
                "bfloat16 extremes" => BitConverter.UInt32BitsToSingle(random.Next(2) == 0 ? 0x7F7F0000u : 0xFF7F0000u),
                _ => 0,
            };
        }

        if (kind == "single")
        {
            row[random.Next(row.Length)] = (float)Gaussian(random);
        }
    }

    public static double Largest(ReadOnlySpan<float> row)
    {
        double largest = 0;
        foreach (float value in row)
        {
            largest = Math.Max(largest, Math.Abs((double)value));
        }

        return largest;
    }

    public static double Gaussian(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
