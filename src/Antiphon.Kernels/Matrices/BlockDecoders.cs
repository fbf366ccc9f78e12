using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Antiphon.Kernels;

/// <summary>Decoders of the formats with blocks of 32 values.</summary>
internal static unsafe class BlockDecoders<T>
    where T : unmanaged, ILanes<T>
{
    private const int Batch = 16;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q8_0(byte* source, int count, float* values)
    {
        float* scales = stackalloc float[Batch];
        for (int left = count / 32; left > 0; left -= Batch)
        {
            int blocks = Math.Min(left, Batch);
            ReadHalves(source, 34, blocks, scales);
            for (int b = 0; b < blocks; b++)
            {
                T scale = T.Broadcast(scales[b]);
                (T.FromSignedBytes(Vector128.Load((sbyte*)source + 2)) * scale).Store(values);
                (T.FromSignedBytes(Vector128.Load((sbyte*)source + 18)) * scale).Store(values + 16);
                source += 34;
                values += 32;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q4_0(byte* source, int count, float* values)
    {
        float* scales = stackalloc float[Batch];
        for (int left = count / 32; left > 0; left -= Batch)
        {
            int blocks = Math.Min(left, Batch);
            ReadHalves(source, 18, blocks, scales);
            for (int b = 0; b < blocks; b++)
            {
                T scale = T.Broadcast(scales[b]);
                T offset = T.Broadcast(-8 * scales[b]);
                Vector128<byte> q = Vector128.Load(source + 2);
                T.Fma(T.FromBytes(Low(q)), scale, offset).Store(values);
                T.Fma(T.FromBytes(High(q)), scale, offset).Store(values + 16);
                source += 18;
                values += 32;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q4_1(byte* source, int count, float* values)
    {
        float* scales = stackalloc float[Batch];
        float* offsets = stackalloc float[Batch];
        for (int left = count / 32; left > 0; left -= Batch)
        {
            int blocks = Math.Min(left, Batch);
            ReadHalves(source, 20, blocks, scales);
            ReadHalves(source + 2, 20, blocks, offsets);
            for (int b = 0; b < blocks; b++)
            {
                T scale = T.Broadcast(scales[b]);
                T offset = T.Broadcast(offsets[b]);
                Vector128<byte> q = Vector128.Load(source + 4);
                T.Fma(T.FromBytes(Low(q)), scale, offset).Store(values);
                T.Fma(T.FromBytes(High(q)), scale, offset).Store(values + 16);
                source += 20;
                values += 32;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q5_0(byte* source, int count, float* values)
    {
        float* scales = stackalloc float[Batch];
        for (int left = count / 32; left > 0; left -= Batch)
        {
            int blocks = Math.Min(left, Batch);
            ReadHalves(source, 22, blocks, scales);
            for (int b = 0; b < blocks; b++)
            {
                T scale = T.Broadcast(scales[b]);
                T offset = T.Broadcast(-16 * scales[b]);
                Vector128<byte> q = Vector128.Load(source + 6);
                T.Fma(T.FromBytes(Low(q) | Fifth(source + 2)), scale, offset).Store(values);
                T.Fma(T.FromBytes(High(q) | Fifth(source + 4)), scale, offset).Store(values + 16);
                source += 22;
                values += 32;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q5_1(byte* source, int count, float* values)
    {
        float* scales = stackalloc float[Batch];
        float* offsets = stackalloc float[Batch];
        for (int left = count / 32; left > 0; left -= Batch)
        {
            int blocks = Math.Min(left, Batch);
            ReadHalves(source, 24, blocks, scales);
            ReadHalves(source + 2, 24, blocks, offsets);
            for (int b = 0; b < blocks; b++)
            {
                T scale = T.Broadcast(scales[b]);
                T offset = T.Broadcast(offsets[b]);
                Vector128<byte> q = Vector128.Load(source + 8);
                T.Fma(T.FromBytes(Low(q) | Fifth(source + 4)), scale, offset).Store(values);
                T.Fma(T.FromBytes(High(q) | Fifth(source + 6)), scale, offset).Store(values + 16);
                source += 24;
                values += 32;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void IQ4_NL(byte* source, int count, float* values)
    {
        float* scales = stackalloc float[Batch];
        Vector128<sbyte> levels = Nibbles.NonLinear;
        for (int left = count / 32; left > 0; left -= Batch)
        {
            int blocks = Math.Min(left, Batch);
            ReadHalves(source, 18, blocks, scales);
            for (int b = 0; b < blocks; b++)
            {
                T scale = T.Broadcast(scales[b]);
                Vector128<byte> q = Vector128.Load(source + 2);
                (T.FromSignedBytes(Vector128.Shuffle(levels, Low(q).AsSByte())) * scale).Store(values);
                (T.FromSignedBytes(Vector128.Shuffle(levels, High(q).AsSByte())) * scale).Store(values + 16);
                source += 18;
                values += 32;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void MXFP4(byte* source, int count, float* values)
    {
        Vector128<sbyte> levels = Nibbles.DoubledE2M1;
        for (int b = 0; b < count / 32; b++)
        {
            T scale = T.Broadcast(Nibbles.HalfPowerOfTwo(*source));
            Vector128<byte> q = Vector128.Load(source + 1);
            (T.FromSignedBytes(Vector128.Shuffle(levels, Low(q).AsSByte())) * scale).Store(values);
            (T.FromSignedBytes(Vector128.Shuffle(levels, High(q).AsSByte())) * scale).Store(values + 16);
            source += 17;
            values += 32;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Low(Vector128<byte> q) => q & Vector128.Create((byte)15);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> High(Vector128<byte> q) => (q.AsUInt16() >> 4).AsByte() & Vector128.Create((byte)15);

    /// <summary>Sixteen bits as bytes of 16 or 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Fifth(byte* bits)
    {
        Vector128<byte> places = Vector128.Create(0x8040201008040201UL).AsByte();
        Vector128<byte> spread = Vector128.Create(Vector64.Create(bits[0]), Vector64.Create(bits[1]));
        return Vector128.Equals(spread & places, places) & Vector128.Create((byte)16);
    }

    /// <summary>Converts up to sixteen half-precision numbers that lie apart, which is cheaper together than one by one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ReadHalves(byte* source, int stride, int count, float* values)
    {
        ushort* halves = stackalloc ushort[Batch];
        for (int b = 0; b < count; b++)
        {
            halves[b] = *(ushort*)(source + (b * stride));
        }

        T.LoadHalf(halves).Store(values);
    }
}
