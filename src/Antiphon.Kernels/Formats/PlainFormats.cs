namespace Antiphon.Kernels;

/// <summary>Decoders of the formats without blocks, and of the 32-element formats with one scale and perhaps one offset.</summary>
internal static unsafe class PlainFormats
{
    /// <summary>The float32 nearest to an unsigned integer, rounded once.</summary>
    public static float Nearest(ulong value) =>
        value <= long.MaxValue ? (float)(long)value : (float)(long)((value >> 1) | (value & 1)) * 2; // The last bit is kept sticky.

    public static void Q1_0(byte* x, float* y)
    {
        float d = Half(x);
        for (int j = 0; j < 128; j++)
        {
            y[j] = ((x[2 + (j / 8)] >> (j % 8)) & 1) != 0 ? d : -d;
        }
    }

    public static void Q4_0(byte* x, float* y)
    {
        float d = Half(x);
        for (int j = 0; j < 16; j++)
        {
            y[j] = d * ((x[2 + j] & 15) - 8);
            y[j + 16] = d * ((x[2 + j] >> 4) - 8);
        }
    }

    public static void Q4_1(byte* x, float* y)
    {
        float d = Half(x);
        float m = Half(x + 2);
        for (int j = 0; j < 16; j++)
        {
            y[j] = (d * (x[4 + j] & 15)) + m;
            y[j + 16] = (d * (x[4 + j] >> 4)) + m;
        }
    }

    public static void Q5_0(byte* x, float* y)
    {
        float d = Half(x);
        uint high = *(uint*)(x + 2);
        for (int j = 0; j < 16; j++)
        {
            y[j] = d * (((x[6 + j] & 15) | (int)(((high >> j) & 1) << 4)) - 16);
            y[j + 16] = d * (((x[6 + j] >> 4) | (int)(((high >> (j + 16)) & 1) << 4)) - 16);
        }
    }

    public static void Q5_1(byte* x, float* y)
    {
        float d = Half(x);
        float m = Half(x + 2);
        uint high = *(uint*)(x + 4);
        for (int j = 0; j < 16; j++)
        {
            y[j] = (d * ((x[8 + j] & 15) | (int)(((high >> j) & 1) << 4))) + m;
            y[j + 16] = (d * ((x[8 + j] >> 4) | (int)(((high >> (j + 16)) & 1) << 4))) + m;
        }
    }

    public static void Q8_0(byte* x, float* y) => Bytes(Half(x), (sbyte*)x + 2, y, 32);

    public static void Q8_1(byte* x, float* y) => Bytes(Half(x), (sbyte*)x + 4, y, 32);

    public static void Q8_K(byte* x, float* y) => Bytes(*(float*)x, (sbyte*)x + 4, y, 256);

    /// <summary>The half float at an address.</summary>
    internal static float Half(byte* x) => HalfConversions.F16ToF32(*(ushort*)x);

    private static void Bytes(float d, sbyte* q, float* y, int count)
    {
        for (int j = 0; j < count; j++)
        {
            y[j] = d * q[j];
        }
    }
}
