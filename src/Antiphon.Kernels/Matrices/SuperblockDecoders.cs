using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Antiphon.Kernels;

/// <summary>Decoders of the formats with blocks of 256 values, whose parts have small scales of their own.</summary>
internal static unsafe class SuperblockDecoders<T>
    where T : unmanaged, ILanes<T>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q2_K(byte* source, int count, float* values)
    {
        for (int b = 0; b < count / 256; b++, source += 84, values += 256)
        {
            float scale = ReadHalf(source + 80);
            float least = ReadHalf(source + 82);
            for (int part = 0; part < 16; part++)
            {
                // Parts run through the bit pairs of 32 bytes, sixteen bytes at a time, then through the next 32 bytes.
                Vector128<byte> q = Vector128.Load(source + 16 + (32 * (part / 8)) + (16 * (part % 2)));
                q = Bits(q, part % 8 / 2 * 2, 3);
                T.Fma(T.FromBytes(q), T.Broadcast(scale * (source[part] & 15)), T.Broadcast(-(least * (source[part] >> 4)))).Store(values + (16 * part));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q3_K(byte* source, int count, float* values)
    {
        for (int b = 0; b < count / 256; b++, source += 110, values += 256)
        {
            byte* scales = source + 96;
            float scale = ReadHalf(source + 108);
            for (int part = 0; part < 16; part++)
            {
                int small = ((part < 8 ? scales[part] & 15 : scales[part - 8] >> 4) | (((scales[8 + (part % 4)] >> (part / 4 * 2)) & 3) << 4)) - 32;
                Vector128<byte> q = Vector128.Load(source + 32 + (32 * (part / 8)) + (16 * (part % 2)));
                Vector128<byte> high = Vector128.Load(source + (16 * (part % 2)));
                q = Bits(q, part % 8 / 2 * 2, 3) | (Bits(high, part / 2, 1) << 2);
                float factor = scale * small;
                T.Fma(T.FromBytes(q), T.Broadcast(factor), T.Broadcast(-4 * factor)).Store(values + (16 * part));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q4_K(byte* source, int count, float* values)
    {
        for (int b = 0; b < count / 256; b++, source += 144, values += 256)
        {
            float scale = ReadHalf(source);
            float least = ReadHalf(source + 2);
            for (int pair = 0; pair < 4; pair++)
            {
                Vector128<byte> first = Vector128.Load(source + 16 + (32 * pair));
                Vector128<byte> second = Vector128.Load(source + 32 + (32 * pair));
                (int lowScale, int lowLeast) = SixBits(source + 4, 2 * pair);
                (int highScale, int highLeast) = SixBits(source + 4, (2 * pair) + 1);
                T factor = T.Broadcast(scale * lowScale);
                T offset = T.Broadcast(-(least * lowLeast));
                T.Fma(T.FromBytes(Bits(first, 0, 15)), factor, offset).Store(values + (64 * pair));
                T.Fma(T.FromBytes(Bits(second, 0, 15)), factor, offset).Store(values + (64 * pair) + 16);
                factor = T.Broadcast(scale * highScale);
                offset = T.Broadcast(-(least * highLeast));
                T.Fma(T.FromBytes(Bits(first, 4, 15)), factor, offset).Store(values + (64 * pair) + 32);
                T.Fma(T.FromBytes(Bits(second, 4, 15)), factor, offset).Store(values + (64 * pair) + 48);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q5_K(byte* source, int count, float* values)
    {
        for (int b = 0; b < count / 256; b++, source += 176, values += 256)
        {
            float scale = ReadHalf(source);
            float least = ReadHalf(source + 2);
            Vector128<byte> firstHigh = Vector128.Load(source + 16);
            Vector128<byte> secondHigh = Vector128.Load(source + 32);
            for (int part = 0; part < 8; part++)
            {
                byte* quarter = source + 48 + (32 * (part / 2));
                int shift = part % 2 * 4;
                (int partScale, int partLeast) = SixBits(source + 4, part);
                T factor = T.Broadcast(scale * partScale);
                T offset = T.Broadcast(-(least * partLeast));
                Vector128<byte> first = Bits(Vector128.Load(quarter), shift, 15) | (Bits(firstHigh, part, 1) << 4);
                Vector128<byte> second = Bits(Vector128.Load(quarter + 16), shift, 15) | (Bits(secondHigh, part, 1) << 4);
                T.Fma(T.FromBytes(first), factor, offset).Store(values + (32 * part));
                T.Fma(T.FromBytes(second), factor, offset).Store(values + (32 * part) + 16);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q6_K(byte* source, int count, float* values)
    {
        for (int b = 0; b < count / 256; b++, source += 210, values += 256)
        {
            sbyte* scales = (sbyte*)source + 192;
            float scale = ReadHalf(source + 208);
            for (int part = 0; part < 16; part++)
            {
                // Eight parts to a half: 64 bytes of low bits are used twice, 32 bytes of high bits four times.
                int half = part / 8;
                int quarter = part % 8 / 2;
                int side = part % 2 * 16;
                Vector128<byte> low = Vector128.Load(source + (64 * half) + (32 * (quarter % 2)) + side);
                Vector128<byte> high = Vector128.Load(source + 128 + (32 * half) + side);
                Vector128<byte> q = Bits(low, quarter / 2 * 4, 15) | (Bits(high, quarter * 2, 3) << 4);
                float factor = scale * scales[part];
                (T.FromSignedBytes(q.AsSByte() - Vector128.Create((sbyte)32)) * T.Broadcast(factor)).Store(values + (16 * part));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void IQ4_XS(byte* source, int count, float* values)
    {
        Vector128<sbyte> levels = Nibbles.NonLinear;
        for (int b = 0; b < count / 256; b++, source += 136, values += 256)
        {
            float scale = ReadHalf(source);
            int highs = *(ushort*)(source + 2);
            for (int part = 0; part < 8; part++)
            {
                int small = (((source[4 + (part / 2)] >> (part % 2 * 4)) & 15) | (((highs >> (2 * part)) & 3) << 4)) - 32;
                Vector128<byte> q = Vector128.Load(source + 8 + (16 * part));
                T factor = T.Broadcast(scale * small);
                (T.FromSignedBytes(Vector128.Shuffle(levels, Bits(q, 0, 15).AsSByte())) * factor).Store(values + (32 * part));
                (T.FromSignedBytes(Vector128.Shuffle(levels, Bits(q, 4, 15).AsSByte())) * factor).Store(values + (32 * part) + 16);
            }
        }
    }

    /// <summary>Some bits of every byte.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Bits(Vector128<byte> q, int shift, byte mask) => (q.AsUInt16() >> shift).AsByte() & Vector128.Create(mask);

    /// <summary>Scale and minimum of a part, six bits each: twelve bytes hold eight pairs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (int Scale, int Least) SixBits(byte* packed, int part) => part < 4
        ? (packed[part] & 63, packed[part + 4] & 63)
        : ((packed[part + 4] & 15) | (packed[part - 4] >> 6 << 4), (packed[part + 4] >> 4) | (packed[part] >> 6 << 4));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float ReadHalf(byte* source) => (float)*(Half*)source;
}
