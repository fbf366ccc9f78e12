namespace Antiphon.Kernels;

/// <content>Formats with super-blocks: sub-block scales are fitted by least squares, then rounded to multiples of the super-block's scale.</content>
public static unsafe partial class BlockEncoder
{
    private static void Q2_K(float* x, byte* y)
    {
        float* scales = stackalloc float[16];
        float* minima = stackalloc float[16];
        for (int k = 0; k < 16; k++)
        {
            (scales[k], minima[k]) = FitWithMinimum(x + (16 * k), 16, 3);
        }

        float d = StoreHalf(Extreme(scales, 16) / 15, y + 80);
        float dmin = StoreHalf(Extreme(minima, 16) / 15, y + 82);
        for (int k = 0; k < 16; k++)
        {
            int s = Nearest(scales[k], d, 0, 15);
            int m = Nearest(minima[k], dmin, 0, 15);
            y[k] = (byte)(s | (m << 4));
            for (int l = 0; l < 16; l++)
            {
                int q = Nearest(x[(16 * k) + l] + (dmin * m), d * s, 0, 3);
                y[16 + (32 * (k / 8)) + (16 * (k % 2)) + l] |= (byte)(q << (k % 8 / 2 * 2));
            }
        }
    }

    private static void Q3_K(float* x, byte* y)
    {
        float* scales = stackalloc float[16];
        for (int k = 0; k < 16; k++)
        {
            scales[k] = Fit(x + (16 * k), 16, -4, 3);
        }

        float d = StoreHalf(Extreme(scales, 16) / -32, y + 108);
        for (int k = 0; k < 16; k++)
        {
            int s = Nearest(scales[k], d, -32, 31);
            y[96 + (k % 8)] |= (byte)(((s + 32) & 15) << (4 * (k / 8)));
            y[96 + 8 + (k % 4)] |= (byte)(((s + 32) >> 4) << (2 * (k / 4)));
            for (int l = 0; l < 16; l++)
            {
                int q = Nearest(x[(16 * k) + l], d * s, -4, 3) + 4;
                y[32 + (32 * (k / 8)) + (16 * (k % 2)) + l] |= (byte)((q & 3) << (k % 8 / 2 * 2));
                y[(16 * (k % 2)) + l] |= (byte)((q >> 2) << (k / 2));
            }
        }
    }

    private static void Q4_K(float* x, byte* y) => FourOrFive(x, y, 15);

    private static void Q5_K(float* x, byte* y) => FourOrFive(x, y, 31);

    private static void FourOrFive(float* x, byte* y, int most)
    {
        float* scales = stackalloc float[8];
        float* minima = stackalloc float[8];
        for (int k = 0; k < 8; k++)
        {
            (scales[k], minima[k]) = FitWithMinimum(x + (32 * k), 32, most);
        }

        float d = StoreHalf(Extreme(scales, 8) / 63, y);
        float dmin = StoreHalf(Extreme(minima, 8) / 63, y + 2);
        byte* packed = y + 4;
        byte* low = most == 15 ? y + 16 : y + 48;
        for (int k = 0; k < 8; k++)
        {
            int s = Nearest(scales[k], d, 0, 63);
            int m = Nearest(minima[k], dmin, 0, 63);
            if (k < 4)
            {
                packed[k] |= (byte)s;
                packed[k + 4] |= (byte)m;
            }
            else
            {
                packed[k + 4] |= (byte)((s & 15) | ((m & 15) << 4));
                packed[k - 4] |= (byte)(s >> 4 << 6);
                packed[k] |= (byte)(m >> 4 << 6);
            }

            for (int l = 0; l < 32; l++)
            {
                int q = Nearest(x[(32 * k) + l] + (dmin * m), d * s, 0, most);
                low[(32 * (k / 2)) + l] |= (byte)((q & 15) << (4 * (k % 2)));
                if (most == 31)
                {
                    y[16 + l] |= (byte)((q >> 4) << k);
                }
            }
        }
    }

    private static void Q6_K(float* x, byte* y)
    {
        float* scales = stackalloc float[16];
        for (int g = 0; g < 16; g++)
        {
            scales[g] = Fit(x + (16 * g), 16, -32, 31);
        }

        float d = StoreHalf(Extreme(scales, 16) / -128, y + 208);
        for (int g = 0; g < 16; g++)
        {
            int s = Nearest(scales[g], d, -128, 127);
            y[192 + g] = (byte)s;
            int h = g / 8;
            int k = g % 8 / 2;
            for (int l = 0; l < 16; l++)
            {
                int q = Nearest(x[(16 * g) + l], d * s, -32, 31) + 32;
                y[(64 * h) + (32 * (k % 2)) + (16 * (g % 2)) + l] |= (byte)((q & 15) << (4 * (k / 2)));
                y[128 + (32 * h) + (16 * (g % 2)) + l] |= (byte)((q >> 4) << (2 * k));
            }
        }
    }

    private static void IQ4_NL(float* x, byte* y)
    {
        float d = StoreHalf(FitLevels(x), y);
        WriteLevels(x, d, y + 2);
    }

    private static void IQ4_XS(float* x, byte* y)
    {
        float* scales = stackalloc float[8];
        for (int k = 0; k < 8; k++)
        {
            scales[k] = FitLevels(x + (32 * k));
        }

        float d = StoreHalf(Extreme(scales, 8) / -32, y);
        for (int k = 0; k < 8; k++)
        {
            int s = Nearest(scales[k], d, -32, 31);
            *(ushort*)(y + 2) |= (ushort)(((s + 32) >> 4) << (2 * k));
            y[4 + (k / 2)] |= (byte)(((s + 32) & 15) << (4 * (k % 2)));
            WriteLevels(x + (32 * k), d * s, y + 8 + (16 * k));
        }
    }

    private static void WriteLevels(float* x, float d, byte* y)
    {
        for (int j = 0; j < 32; j++)
        {
            int code = NearestLevel(d == 0 ? 0 : x[j] / d, Codebooks.IQ4);
            y[j % 16] |= (byte)(code << (4 * (j / 16)));
        }
    }

    /// <summary>The scale with which whole numbers of a range come nearest to the values: several are tried, each refined by least squares.</summary>
    private static float Fit(float* x, int count, int least, int most)
    {
        float extreme = Extreme(x, count);
        float best = 0;
        double gain = 0;
        for (int step = -6; step <= 6 && extreme != 0; step++)
        {
            float scale = extreme / (least + (0.1f * step));
            double xq = 0;
            double qq = 0;
            for (int i = 0; i < count; i++)
            {
                int q = Nearest(x[i], scale, least, most);
                xq += (double)x[i] * q;
                qq += (double)q * q;
            }

            if (qq > 0 && xq * xq / qq > gain)
            {
                gain = xq * xq / qq;
                best = (float)(xq / qq);
            }
        }

        return best;
    }

    /// <summary>As <see cref="Fit"/>, with the levels of IQ4 for whole numbers and 32 values.</summary>
    private static float FitLevels(float* x)
    {
        float extreme = Extreme(x, 32);
        float best = 0;
        double gain = 0;
        for (int step = -6; step <= 6 && extreme != 0; step++)
        {
            float scale = extreme / (Codebooks.IQ4[0] + (3f * step));
            double xq = 0;
            double qq = 0;
            for (int i = 0; i < 32; i++)
            {
                int q = Codebooks.IQ4[NearestLevel(x[i] / scale, Codebooks.IQ4)];
                xq += (double)x[i] * q;
                qq += (double)q * q;
            }

            if (xq * xq / qq > gain)
            {
                gain = xq * xq / qq;
                best = (float)(xq / qq);
            }
        }

        return best;
    }

    /// <summary>Scale s and minimum m, neither negative, with which s q - m comes nearest to the values, q being 0 to <paramref name="most"/>.</summary>
    private static (float Scale, float Minimum) FitWithMinimum(float* x, int count, int most)
    {
        (float least, float top) = Range(x, count);
        least = MathF.Min(least, 0);
        (float Scale, float Minimum) best = ((top - least) / most, -least);
        double error = Error(x, count, most, best.Scale, best.Minimum);
        for (int step = 0; step <= 8 && top > least; step++)
        {
            // Fewer steps over the whole range cut the extremes but serve the rest better. Then a straight line through the chosen codes.
            float scale = (top - least) / (most + 1 - (0.25f * step));
            double sq = 0;
            double sqq = 0;
            double sx = 0;
            double sxq = 0;
            for (int i = 0; i < count; i++)
            {
                int q = Nearest(x[i] - least, scale, 0, most);
                sq += q;
                sqq += (double)q * q;
                sx += x[i];
                sxq += (double)x[i] * q;
            }

            double determinant = (count * sqq) - (sq * sq);
            if (determinant <= 0)
            {
                continue;
            }

            double slope = ((count * sxq) - (sq * sx)) / determinant;
            double minimum = -((sqq * sx) - (sq * sxq)) / determinant;
            if (minimum < 0)
            {
                minimum = 0;
                slope = sqq > 0 ? sxq / sqq : 0;
            }

            double candidate = slope > 0 ? Error(x, count, most, (float)slope, (float)minimum) : double.PositiveInfinity;
            if (candidate < error)
            {
                error = candidate;
                best = ((float)slope, (float)minimum);
            }
        }

        return best;
    }

    private static double Error(float* x, int count, int most, float scale, float minimum)
    {
        double sum = 0;
        for (int i = 0; i < count; i++)
        {
            double difference = x[i] - ((scale * Nearest(x[i] + minimum, scale, 0, most)) - minimum);
            sum += difference * difference;
        }

        return sum;
    }
}
