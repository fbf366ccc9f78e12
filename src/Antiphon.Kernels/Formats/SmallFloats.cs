namespace Antiphon.Kernels;

/// <summary>
/// The values of the 8-bit and 4-bit floats, by code. Two conventions meet here: the OCP standard's, and that of the GGUF types MXFP4 and NVFP4,
/// in which codes are doubled (<see cref="Codebooks.E2M1Doubled"/>), scales halved, and nothing is NaN.
/// </summary>
public static class SmallFloats
{
    private static readonly float[] e4m3 = Table(256, code => (code & 127) == 127 ? float.NaN : Signed(code, Magnitude(code, 3, 7)));
    private static readonly float[] e5m2 = Table(256, code => HalfConversions.F16ToF32((ushort)(code << 8)));
    private static readonly float[] e8m0 = Table(256, code => code == 255 ? float.NaN : MathF.ScaleB(1, code - 127));
    private static readonly float[] e8m0Half = Table(256, code => MathF.ScaleB(1, code - 128));
    private static readonly float[] ue4m3Half = Table(256, code => code == 127 ? 0 : Magnitude(code & 127, 3, 7) / 2);
    private static readonly float[] e2m1 = Table(16, code => Codebooks.E2M1Doubled[code & 7] * (code < 8 ? 0.5f : -0.5f));

    /// <summary>FP8 E4M3 (the finite form: no infinity, 0x7f and 0xff are NaN), 256 values.</summary>
    public static ReadOnlySpan<float> E4M3 => e4m3;

    /// <summary>FP8 E5M2, 256 values.</summary>
    public static ReadOnlySpan<float> E5M2 => e5m2;

    /// <summary>E8M0 of the standard, 256 values: 2^(code - 127), 255 is NaN.</summary>
    public static ReadOnlySpan<float> E8M0 => e8m0;

    /// <summary>E8M0 as MXFP4 in GGUF uses it, 256 values: 2^(code - 128), no NaN.</summary>
    public static ReadOnlySpan<float> E8M0Half => e8m0Half;

    /// <summary>Unsigned E4M3 as NVFP4 in GGUF uses it, 256 values: half the standard's value; 127 gives 0; the top bit is not looked at, but 255 gives 240.</summary>
    public static ReadOnlySpan<float> UE4M3Half => ue4m3Half;

    /// <summary>FP4 E2M1 of the standard, 16 values.</summary>
    public static ReadOnlySpan<float> E2M1 => e2m1;

    private static float Magnitude(int code, int mantissaBits, int bias)
    {
        int mantissa = code & ((1 << mantissaBits) - 1);
        int exponent = (code & 127) >> mantissaBits;
        return exponent == 0
            ? MathF.ScaleB(mantissa, 1 - bias - mantissaBits)
            : MathF.ScaleB(mantissa + (1 << mantissaBits), exponent - bias - mantissaBits);
    }

    private static float Signed(int code, float magnitude) => code < 128 ? magnitude : -magnitude;

    private static float[] Table(int count, Func<int, float> value) => [.. Enumerable.Range(0, count).Select(value)];
}
