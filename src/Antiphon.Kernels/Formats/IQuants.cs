using static Antiphon.Kernels.PlainFormats;

namespace Antiphon.Kernels;

/// <summary>Decoders of the formats whose elements are entries of a codebook.</summary>
internal static unsafe class IQuants
{
    public static void IQ4_NL(byte* x, float* y) => Levels(Half(x), x + 2, y);

    public static void IQ4_XS(byte* x, float* y)
    {
        float d = Half(x);
        int high = *(ushort*)(x + 2);
        for (int k = 0; k < 8; k++)
        {
            int s = ((x[4 + (k / 2)] >> (4 * (k % 2))) & 15) | (((high >> (2 * k)) & 3) << 4);
            Levels(d * (s - 32), x + 8 + (16 * k), y + (32 * k));
        }
    }

    public static void IQ2_XXS(byte* x, float* y)
    {
        float d = Half(x);
        for (int g = 0; g < 8; g++)
        {
            byte* index = x + 2 + (8 * g);
            uint w = *(uint*)(index + 4);
            float scale = d * (0.5f + (w >> 28)) * 0.25f;
            for (int c = 0; c < 4; c++, y += 8)
            {
                Eight(scale, Codebooks.IQ2XXS + (8 * index[c]), Codebooks.Signs[(w >> (7 * c)) & 127], y);
            }
        }
    }

    public static void IQ2_XS(byte* x, float* y)
    {
        float d = Half(x);
        ushort* q = (ushort*)(x + 2);
        for (int c = 0; c < 32; c++, y += 8)
        {
            float scale = d * (0.5f + ((x[66 + (c / 4)] >> (4 * (c % 4 / 2))) & 15)) * 0.25f;
            Eight(scale, Codebooks.IQ2XS + (8 * (q[c] & 511)), Codebooks.Signs[q[c] >> 9], y);
        }
    }

    public static void IQ2_S(byte* x, float* y)
    {
        float d = Half(x);
        for (int c = 0; c < 32; c++, y += 8)
        {
            float scale = d * (0.5f + ((x[74 + (c / 4)] >> (4 * (c % 4 / 2))) & 15)) * 0.25f;
            int index = x[2 + c] | (((x[66 + (c / 4)] >> (2 * (c % 4))) & 3) << 8);
            Eight(scale, Codebooks.IQ2S + (8 * index), x[34 + c], y);
        }
    }

    public static void IQ3_XXS(byte* x, float* y)
    {
        float d = Half(x);
        for (int g = 0; g < 8; g++)
        {
            uint w = *(uint*)(x + 66 + (4 * g));
            float scale = d * (0.5f + (w >> 28)) * 0.5f;
            for (int c = 0; c < 4; c++, y += 8)
            {
                byte* index = x + 2 + (8 * g) + (2 * c);
                int signs = Codebooks.Signs[(w >> (7 * c)) & 127];
                Four(scale, Codebooks.IQ3XXS + (4 * index[0]), signs, y);
                Four(scale, Codebooks.IQ3XXS + (4 * index[1]), signs >> 4, y + 4);
            }
        }
    }

    public static void IQ3_S(byte* x, float* y)
    {
        float d = Half(x);
        for (int c = 0; c < 64; c++, y += 4)
        {
            float scale = d * (1 + (2 * ((x[106 + (c / 16)] >> (4 * (c % 16 / 8))) & 15)));
            int index = x[2 + c] | (((x[66 + (c / 8)] >> (c % 8)) & 1) << 8);
            Four(scale, Codebooks.IQ3S + (4 * index), x[74 + (c / 2)] >> (4 * (c % 2)), y);
        }
    }

    public static void IQ1_S(byte* x, float* y)
    {
        float d = Half(x);
        for (int c = 0; c < 32; c++, y += 8)
        {
            int h = *(ushort*)(x + 34 + (2 * (c / 4)));
            int index = x[2 + c] | (((h >> (3 * (c % 4))) & 7) << 8);
            Shifted(d * ((2 * ((h >> 12) & 7)) + 1), Codebooks.IQ1 + (8 * index), (h & 0x8000) != 0, y);
        }
    }

    public static void IQ1_M(byte* x, float* y)
    {
        ushort* scales = (ushort*)(x + 48);
        float d = HalfConversions.F16ToF32((ushort)((scales[0] >> 12) | ((scales[1] >> 8) & 0xf0) | ((scales[2] >> 4) & 0xf00) | (scales[3] & 0xf000)));
        for (int c = 0; c < 32; c++, y += 8)
        {
            int n = (x[32 + (c / 2)] >> (4 * (c % 2))) & 15;
            int s = (scales[c / 8] >> (3 * (c % 8 / 2))) & 7;
            Shifted(d * ((2 * s) + 1), Codebooks.IQ1 + (8 * (x[c] | ((n & 7) << 8))), (n & 8) != 0, y);
        }
    }

    private static void Levels(float d, byte* q, float* y)
    {
        ReadOnlySpan<sbyte> levels = Codebooks.IQ4;
        for (int j = 0; j < 16; j++)
        {
            y[j] = d * levels[q[j] & 15];
            y[j + 16] = d * levels[q[j] >> 4];
        }
    }

    private static void Eight(float scale, sbyte* entry, int signs, float* y)
    {
        Four(scale, entry, signs, y);
        Four(scale, entry + 4, signs >> 4, y + 4);
    }

    private static void Four(float scale, sbyte* entry, int signs, float* y)
    {
        for (int j = 0; j < 4; j++)
        {
            float value = scale * entry[j];
            y[j] = ((signs >> j) & 1) != 0 ? -value : value;
        }
    }

    private static void Shifted(float scale, sbyte* entry, bool down, float* y)
    {
        float delta = down ? -0.125f : 0.125f;
        for (int j = 0; j < 8; j++)
        {
            y[j] = scale * (entry[j] + delta);
        }
    }
}
