namespace Antiphon.Kernels;

/// <summary>Decoders of the formats of 4-bit floats with 8-bit float scales.</summary>
internal static unsafe class Fp4
{
    public static void MXFP4(byte* x, float* y)
    {
        ReadOnlySpan<sbyte> levels = Codebooks.E2M1Doubled;
        float d = SmallFloats.E8M0Half[x[0]];
        for (int j = 0; j < 16; j++)
        {
            y[j] = d * levels[x[1 + j] & 15];
            y[j + 16] = d * levels[x[1 + j] >> 4];
        }
    }

    public static void NVFP4(byte* x, float* y)
    {
        ReadOnlySpan<sbyte> levels = Codebooks.E2M1Doubled;
        for (int k = 0; k < 4; k++)
        {
            float d = SmallFloats.UE4M3Half[x[k]];
            byte* q = x + 4 + (8 * k);
            for (int j = 0; j < 8; j++)
            {
                y[(16 * k) + j] = d * levels[q[j] & 15];
                y[(16 * k) + j + 8] = d * levels[q[j] >> 4];
            }
        }
    }
}
