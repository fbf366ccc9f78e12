using static Antiphon.Kernels.PlainFormats;

namespace Antiphon.Kernels;

/// <summary>Decoders of the formats with super-blocks of 256 elements and quantised sub-block scales.</summary>
internal static unsafe class KQuants
{
    public static void Q2_K(byte* x, float* y)
    {
        float d = Half(x + 80);
        float dmin = Half(x + 82);
        for (int k = 0; k < 16; k++)
        {
            float scale = d * (x[k] & 15);
            float least = dmin * (x[k] >> 4);
            byte* q = x + 16 + (32 * (k / 8)) + (16 * (k % 2));
            int shift = k % 8 / 2 * 2;
            for (int l = 0; l < 16; l++)
            {
                *y++ = (scale * ((q[l] >> shift) & 3)) - least;
            }
        }
    }

    public static void Q3_K(byte* x, float* y)
    {
        float d = Half(x + 108);
        byte* scales = x + 96;
        for (int k = 0; k < 16; k++)
        {
            int s = ((scales[k % 8] >> (4 * (k / 8))) & 15) | (((scales[8 + (k % 4)] >> (2 * (k / 4))) & 3) << 4);
            float scale = d * (s - 32);
            byte* high = x + (16 * (k % 2));
            byte* q = x + 32 + (32 * (k / 8)) + (16 * (k % 2));
            int shift = k % 8 / 2 * 2;
            for (int l = 0; l < 16; l++)
            {
                *y++ = scale * (((q[l] >> shift) & 3) - (4 & ~((high[l] >> (k / 2)) << 2)));
            }
        }
    }

    public static void Q4_K(byte* x, float* y)
    {
        float d = Half(x);
        float dmin = Half(x + 2);
        for (int k = 0; k < 8; k++)
        {
            (int s, int m) = SixBits(x + 4, k);
            float scale = d * s;
            float least = dmin * m;
            byte* q = x + 16 + (32 * (k / 2));
            int shift = 4 * (k % 2);
            for (int l = 0; l < 32; l++)
            {
                *y++ = (scale * ((q[l] >> shift) & 15)) - least;
            }
        }
    }

    public static void Q5_K(byte* x, float* y)
    {
        float d = Half(x);
        float dmin = Half(x + 2);
        byte* high = x + 16;
        for (int k = 0; k < 8; k++)
        {
            (int s, int m) = SixBits(x + 4, k);
            float scale = d * s;
            float least = dmin * m;
            byte* q = x + 48 + (32 * (k / 2));
            int shift = 4 * (k % 2);
            for (int l = 0; l < 32; l++)
            {
                *y++ = (scale * (((q[l] >> shift) & 15) | (((high[l] >> k) & 1) << 4))) - least;
            }
        }
    }

    public static void Q6_K(byte* x, float* y)
    {
        float d = Half(x + 208);
        for (int g = 0; g < 16; g++)
        {
            float scale = d * (sbyte)x[192 + g];
            int h = g / 8;
            int k = g % 8 / 2;
            byte* low = x + (64 * h) + (32 * (k % 2)) + (16 * (g % 2));
            byte* high = x + 128 + (32 * h) + (16 * (g % 2));
            for (int l = 0; l < 16; l++)
            {
                int q = ((low[l] >> (4 * (k / 2))) & 15) | (((high[l] >> (2 * k)) & 3) << 4);
                *y++ = scale * (q - 32);
            }
        }
    }

    /// <summary>Scale and minimum of sub-block k in the 12 packed bytes of Q4_K and Q5_K.</summary>
    internal static (int Scale, int Minimum) SixBits(byte* packed, int k) => k < 4
        ? (packed[k] & 63, packed[k + 4] & 63)
        : ((packed[k + 4] & 15) | (packed[k - 4] >> 6 << 4), (packed[k + 4] >> 4) | (packed[k] >> 6 << 4));
}
