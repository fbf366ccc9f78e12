namespace Antiphon.Kernels;

/// <content>Formats with one scale a block, ternary and 4-bit float formats.</content>
public static unsafe partial class BlockEncoder
{
    private static void Q1_0(float* x, byte* y)
    {
        // The mean magnitude is the scale with the least squared error.
        double sum = 0;
        for (int j = 0; j < 128; j++)
        {
            sum += Math.Abs(x[j]);
            y[2 + (j / 8)] |= (byte)(x[j] > 0 ? 1 << (j % 8) : 0);
        }

        StoreHalf((float)(sum / 128), y);
    }

    private static void Q4_0(float* x, byte* y)
    {
        // The code -8 has no counterpart: giving it to the extreme value spends no code on nothing.
        float d = StoreHalf(Extreme(x, 32) / -8, y);
        for (int j = 0; j < 32; j++)
        {
            y[2 + (j % 16)] |= (byte)((Nearest(x[j], d, -8, 7) + 8) << (4 * (j / 16)));
        }
    }

    private static void Q4_1(float* x, byte* y)
    {
        (float least, float most) = Range(x, 32);
        float d = StoreHalf((most - least) / 15, y);
        float m = StoreHalf(least, y + 2);
        for (int j = 0; j < 32; j++)
        {
            y[4 + (j % 16)] |= (byte)(Nearest(x[j] - m, d, 0, 15) << (4 * (j / 16)));
        }
    }

    private static void Q5_0(float* x, byte* y)
    {
        float d = StoreHalf(Extreme(x, 32) / -16, y);
        for (int j = 0; j < 32; j++)
        {
            Five(Nearest(x[j], d, -16, 15) + 16, j, y + 2);
        }
    }

    private static void Q5_1(float* x, byte* y)
    {
        (float least, float most) = Range(x, 32);
        float d = StoreHalf((most - least) / 31, y);
        float m = StoreHalf(least, y + 2);
        for (int j = 0; j < 32; j++)
        {
            Five(Nearest(x[j] - m, d, 0, 31), j, y + 4);
        }
    }

    /// <summary>Writes element j of the five-bit formats: four bits of high bits, then split halves.</summary>
    private static void Five(int code, int j, byte* y)
    {
        *(uint*)y |= (uint)(code >> 4) << j;
        y[4 + (j % 16)] |= (byte)((code & 15) << (4 * (j / 16)));
    }

    private static void Q8_0(float* x, byte* y)
    {
        float d = StoreHalf(MathF.Abs(Extreme(x, 32)) / 127, y);
        for (int j = 0; j < 32; j++)
        {
            y[2 + j] = (byte)Nearest(x[j], d, -127, 127);
        }
    }

    private static void Q8_1(float* x, byte* y)
    {
        float d = StoreHalf(MathF.Abs(Extreme(x, 32)) / 127, y);
        int sum = 0;
        for (int j = 0; j < 32; j++)
        {
            int q = Nearest(x[j], d, -127, 127);
            y[4 + j] = (byte)q;
            sum += q;
        }

        StoreHalf(d * sum, y + 2);
    }

    private static void Q8_K(float* x, byte* y)
    {
        float d = MathF.Abs(Extreme(x, 256)) / 127;
        *(float*)y = d;
        for (int j = 0; j < 256; j++)
        {
            int q = Nearest(x[j], d, -127, 127);
            y[4 + j] = (byte)q;
            ((short*)(y + 260))[j / 16] += (short)q;
        }
    }

    private static void TQ1_0(float* x, byte* y)
    {
        float d = StoreHalf(MathF.Abs(Extreme(x, 256)), y + 52);
        for (int i = 0; i < 52; i++)
        {
            // Elements of byte i lie apart by the bytes of its group.
            (int first, int stride, int digits) = i < 32 ? (i, 32, 5) : i < 48 ? (160 + i - 32, 16, 5) : (240 + i - 48, 4, 4);
            int number = 0;
            for (int n = 0; n < 5; n++)
            {
                number = (3 * number) + (n < digits ? Nearest(x[first + (n * stride)], d, -1, 1) + 1 : 0);
            }

            // The byte is the fraction number / 243 in 256ths, rounded up, so that its leading digits are exact.
            y[i] = (byte)(((number * 256) + 242) / 243);
        }
    }

    private static void TQ2_0(float* x, byte* y)
    {
        float d = StoreHalf(MathF.Abs(Extreme(x, 256)), y + 64);
        for (int j = 0; j < 256; j++)
        {
            y[(32 * (j / 128)) + (j % 32)] |= (byte)((Nearest(x[j], d, -1, 1) + 1) << (2 * (j % 128 / 32)));
        }
    }

    private static void MXFP4(float* x, byte* y)
    {
        float extreme = MathF.Abs(Extreme(x, 32));

        // The exponent at which the extreme value lies between 4 and 8 may cut it at 6; the next one never cuts.
        int exponent = extreme == 0 ? 0 : Math.Clamp(Math.ILogB(extreme) - 2 + 127, 0, 253);
        byte* block = stackalloc byte[17];
        float* back = stackalloc float[32];
        double error = double.PositiveInfinity;
        for (int e = exponent; e <= exponent + 1; e++)
        {
            block[0] = (byte)e;
            float d = SmallFloats.E8M0Half[e];
            for (int j = 0; j < 32; j++)
            {
                int code = NearestLevel(x[j] / d, Codebooks.E2M1Doubled);
                block[1 + (j % 16)] = (byte)(j < 16 ? code : block[1 + (j % 16)] | (code << 4));
            }

            Fp4.MXFP4(block, back);
            double sum = 0;
            for (int j = 0; j < 32; j++)
            {
                sum += ((double)x[j] - back[j]) * ((double)x[j] - back[j]);
            }

            if (sum < error)
            {
                error = sum;
                Buffer.MemoryCopy(block, y, 17, 17);
            }
        }
    }

    private static void NVFP4(float* x, byte* y)
    {
        ReadOnlySpan<float> scales = SmallFloats.UE4M3Half;
        for (int k = 0; k < 4; k++)
        {
            float* values = x + (16 * k);
            float wanted = MathF.Abs(Extreme(values, 16)) / 12;
            if (wanted > scales[126] * 1.1f)
            {
                throw new ArgumentException($"a block needs a scale of {wanted}, past the largest of NVFP4; choose another format");
            }

            int code = 0;
            for (int c = 1; c < 127; c++)
            {
                code = MathF.Abs(scales[c] - wanted) < MathF.Abs(scales[code] - wanted) ? c : code;
            }

            y[k] = (byte)code;
            for (int j = 0; j < 16; j++)
            {
                int level = code == 0 ? 0 : NearestLevel(values[j] / scales[code], Codebooks.E2M1Doubled);
                y[4 + (8 * k) + (j % 8)] |= (byte)(level << (4 * (j / 8)));
            }
        }
    }
}
