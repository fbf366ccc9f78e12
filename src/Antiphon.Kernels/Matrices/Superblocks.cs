using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static Antiphon.Kernels.BlockParts;

namespace Antiphon.Kernels;

/// <summary>Q2_K: sixteen scales and minima of four bits each, 256 times two bits, and what scales and minima are multiples of.</summary>
internal readonly unsafe struct Q2_KBlocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 256;

    public static int Bytes => 84;

    public static int Factors => 32;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Prepare(byte* source, int blocks, float* factors)
    {
        for (; blocks > 0; blocks--, source += 84, factors += 32)
        {
            Vector128<byte> scales = Vector128.Load(source);
            (T.FromBytes(Bits(scales, 0, 15)) * T.Broadcast(Half(source + 80))).Store(factors);
            (T.FromBytes(Bits(scales, 4, 15)) * T.Broadcast(-Half(source + 82))).Store(factors + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        // Pairs run through the bit pairs of 32 bytes, then through the next 32 bytes.
        byte* q = block + 16 + (32 * (pair / 4));
        int shift = pair % 4 * 2;
        factors += 2 * pair;
        first = T.Fma(T.FromBytes(Bits(Vector128.Load(q), shift, 3)), T.Broadcast(factors[0]), T.Broadcast(factors[16]));
        second = T.Fma(T.FromBytes(Bits(Vector128.Load(q + 16), shift, 3)), T.Broadcast(factors[1]), T.Broadcast(factors[17]));
    }
}

/// <summary>Q3_K: 256 third bits, 256 times two bits, sixteen scales of six bits and what they are multiples of.</summary>
internal readonly unsafe struct Q3_KBlocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 256;

    public static int Bytes => 110;

    public static int Factors => 16;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Prepare(byte* source, int blocks, float* factors)
    {
        for (; blocks > 0; blocks--, source += 110, factors += 16)
        {
            Vector64<byte> low = Vector64.Load(source + 96);
            uint high = *(uint*)(source + 104);
            Vector128<byte> scales = Bits(Vector128.Create(low, (low.AsUInt16() >> 4).AsByte()), 0, 15)
                | ((Vector128.Create(high, high >> 2, high >> 4, high >> 6).AsByte() & Vector128.Create((byte)3)) << 4);
            (T.FromSignedBytes(scales.AsSByte() - Vector128.Create((sbyte)32)) * T.Broadcast(Half(source + 108))).Store(factors);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        byte* q = block + 32 + (32 * (pair / 4));
        int shift = pair % 4 * 2;
        T scale = T.Broadcast(factors[2 * pair]);
        first = T.Fma(T.FromBytes(Bits(Vector128.Load(q), shift, 3) | (Bits(Vector128.Load(block), pair, 1) << 2)), scale, scale * T.Broadcast(-4));
        scale = T.Broadcast(factors[(2 * pair) + 1]);
        second = T.Fma(T.FromBytes(Bits(Vector128.Load(q + 16), shift, 3) | (Bits(Vector128.Load(block + 16), pair, 1) << 2)), scale, scale * T.Broadcast(-4));
    }
}

/// <summary>Q4_K: what scales and minima are multiples of, eight of each with six bits, and 256 times four bits.</summary>
internal readonly unsafe struct Q4_KBlocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 256;

    public static int Bytes => 144;

    public static int Factors => 32;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Prepare(byte* source, int blocks, float* factors)
    {
        for (; blocks > 0; blocks--, source += 144, factors += 32)
        {
            T parts = T.FromBytes(SixBits(source + 4));
            (parts * T.Broadcast(Half(source))).Store(factors);
            (parts * T.Broadcast(-Half(source + 2))).Store(factors + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        byte* q = block + 16 + (32 * (pair / 2));
        int shift = pair % 2 * 4;
        T scale = T.Broadcast(factors[pair]);
        T offset = T.Broadcast(factors[24 + pair]);
        first = T.Nibbles(q, shift, scale, offset);
        second = T.Nibbles(q + 16, shift, scale, offset);
    }
}

/// <summary>Q5_K: Q4_K with 256 fifth bits.</summary>
internal readonly unsafe struct Q5_KBlocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 256;

    public static int Bytes => 176;

    public static int Factors => 32;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Prepare(byte* source, int blocks, float* factors)
    {
        for (; blocks > 0; blocks--, source += 176, factors += 32)
        {
            T parts = T.FromBytes(SixBits(source + 4));
            (parts * T.Broadcast(Half(source))).Store(factors);
            (parts * T.Broadcast(-Half(source + 2))).Store(factors + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        byte* q = block + 48 + (32 * (pair / 2));
        int shift = pair % 2 * 4;
        T scale = T.Broadcast(factors[pair]);
        T offset = T.Broadcast(factors[24 + pair]);
        first = T.Fma(T.FromBytes(Bits(Vector128.Load(q), shift, 15) | (Bits(Vector128.Load(block + 16), pair, 1) << 4)), scale, offset);
        second = T.Fma(T.FromBytes(Bits(Vector128.Load(q + 16), shift, 15) | (Bits(Vector128.Load(block + 32), pair, 1) << 4)), scale, offset);
    }
}

/// <summary>Q6_K: 256 times four low bits and two high bits, sixteen scales of a byte and what they are multiples of.</summary>
internal readonly unsafe struct Q6_KBlocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 256;

    public static int Bytes => 210;

    public static int Factors => 16;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Prepare(byte* source, int blocks, float* factors)
    {
        for (; blocks > 0; blocks--, source += 210, factors += 16)
        {
            (T.FromSignedBytes(Vector128.Load((sbyte*)source + 192)) * T.Broadcast(Half(source + 208))).Store(factors);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        // Four pairs to a half: 64 bytes of low bits are used twice, 32 bytes of high bits four times.
        int quarter = pair % 4;
        byte* low = block + (64 * (pair / 4)) + (32 * (quarter % 2));
        byte* high = block + 128 + (32 * (pair / 4));
        int lowShift = quarter / 2 * 4;
        Vector128<byte> q = Bits(Vector128.Load(low), lowShift, 15) | (Bits(Vector128.Load(high), 2 * quarter, 3) << 4);
        first = T.FromSignedBytes(q.AsSByte() - Vector128.Create((sbyte)32)) * T.Broadcast(factors[2 * pair]);
        q = Bits(Vector128.Load(low + 16), lowShift, 15) | (Bits(Vector128.Load(high + 16), 2 * quarter, 3) << 4);
        second = T.FromSignedBytes(q.AsSByte() - Vector128.Create((sbyte)32)) * T.Broadcast(factors[(2 * pair) + 1]);
    }
}

/// <summary>IQ4_XS: IQ4_NL with eight scales of six bits and what they are multiples of.</summary>
internal readonly unsafe struct IQ4_XSBlocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 256;

    public static int Bytes => 136;

    public static int Factors => 8;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Prepare(byte* source, int blocks, float* factors)
    {
        for (; blocks > 0; blocks--, source += 136, factors += 8)
        {
            float scale = Half(source);
            int highs = *(ushort*)(source + 2);
            for (int part = 0; part < 8; part++)
            {
                int small = (((source[4 + (part / 2)] >> (part % 2 * 4)) & 15) | (((highs >> (2 * part)) & 3) << 4)) - 32;
                factors[part] = scale * small;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        T scale = T.Broadcast(factors[pair]);
        first = T.NibbleLevels(block + 8 + (16 * pair), 0, Nibbles.NonLinear, scale);
        second = T.NibbleLevels(block + 8 + (16 * pair), 4, Nibbles.NonLinear, scale);
    }
}
