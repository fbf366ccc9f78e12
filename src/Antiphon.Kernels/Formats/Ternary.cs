using static Antiphon.Kernels.PlainFormats;

namespace Antiphon.Kernels;

/// <summary>Decoders of the three-valued formats.</summary>
internal static unsafe class Ternary
{
    public static void TQ1_0(byte* x, float* y)
    {
        float d = Half(x + 52);
        y = Digits(d, x, 32, 5, y);
        y = Digits(d, x + 32, 16, 5, y);
        Digits(d, x + 48, 4, 4, y);
    }

    public static void TQ2_0(byte* x, float* y)
    {
        float d = Half(x + 64);
        for (int k = 0; k < 8; k++)
        {
            for (int l = 0; l < 32; l++)
            {
                *y++ = d * (((x[(32 * (k / 4)) + l] >> (2 * (k % 4))) & 3) - 1);
            }
        }
    }

    /// <summary>The first digits of all bytes, then the second ones, and so on. A digit is the whole part of three times the fraction byte / 256.</summary>
    private static float* Digits(float d, byte* bytes, int count, int digits, float* y)
    {
        for (int n = 0, power = 1; n < digits; n++, power *= 3)
        {
            for (int l = 0; l < count; l++)
            {
                *y++ = d * (((byte)(bytes[l] * power) * 3 >> 8) - 1);
            }
        }

        return y;
    }
}
