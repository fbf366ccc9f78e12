using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static Antiphon.Kernels.BlockParts;

namespace Antiphon.Kernels;

/// <summary>Q8_0: a scale and 32 signed bytes.</summary>
internal readonly unsafe struct Q8_0Blocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 32;

    public static int Bytes => 34;

    public static int Factors => 1;

    public static void Prepare(byte* source, int blocks, float* factors) => Halves<T>(source, Bytes, blocks, factors);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        T scale = T.Broadcast(*factors);
        first = T.FromSignedBytes(Vector128.Load((sbyte*)block + 2)) * scale;
        second = T.FromSignedBytes(Vector128.Load((sbyte*)block + 18)) * scale;
    }
}

/// <summary>Q4_0: a scale and 32 times four bits.</summary>
internal readonly unsafe struct Q4_0Blocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 32;

    public static int Bytes => 18;

    public static int Factors => 1;

    public static void Prepare(byte* source, int blocks, float* factors) => Halves<T>(source, Bytes, blocks, factors);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        T scale = T.Broadcast(*factors);
        T offset = scale * T.Broadcast(-8);
        first = T.Nibbles(block + 2, 0, scale, offset);
        second = T.Nibbles(block + 2, 4, scale, offset);
    }
}

/// <summary>Q4_1: a scale, a minimum and 32 times four bits.</summary>
internal readonly unsafe struct Q4_1Blocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 32;

    public static int Bytes => 20;

    public static int Factors => 2;

    public static void Prepare(byte* source, int blocks, float* factors) => HalfPairs<T>(source, Bytes, blocks, factors);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        T scale = T.Broadcast(factors[0]);
        T offset = T.Broadcast(factors[1]);
        first = T.Nibbles(block + 4, 0, scale, offset);
        second = T.Nibbles(block + 4, 4, scale, offset);
    }
}

/// <summary>Q5_0: a scale, 32 fifth bits and 32 times four bits.</summary>
internal readonly unsafe struct Q5_0Blocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 32;

    public static int Bytes => 22;

    public static int Factors => 1;

    public static void Prepare(byte* source, int blocks, float* factors) => Halves<T>(source, Bytes, blocks, factors);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        T scale = T.Broadcast(*factors);
        T offset = scale * T.Broadcast(-16);
        Vector128<byte> q = Vector128.Load(block + 6);
        first = T.Fma(T.FromBytes(Bits(q, 0, 15) | Fifth(block + 2)), scale, offset);
        second = T.Fma(T.FromBytes(Bits(q, 4, 15) | Fifth(block + 4)), scale, offset);
    }
}

/// <summary>Q5_1: a scale, a minimum, 32 fifth bits and 32 times four bits.</summary>
internal readonly unsafe struct Q5_1Blocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 32;

    public static int Bytes => 24;

    public static int Factors => 2;

    public static void Prepare(byte* source, int blocks, float* factors) => HalfPairs<T>(source, Bytes, blocks, factors);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        T scale = T.Broadcast(factors[0]);
        T offset = T.Broadcast(factors[1]);
        Vector128<byte> q = Vector128.Load(block + 8);
        first = T.Fma(T.FromBytes(Bits(q, 0, 15) | Fifth(block + 4)), scale, offset);
        second = T.Fma(T.FromBytes(Bits(q, 4, 15) | Fifth(block + 6)), scale, offset);
    }
}

/// <summary>IQ4_NL: a scale and 32 numbers of one of sixteen levels.</summary>
internal readonly unsafe struct IQ4_NLBlocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 32;

    public static int Bytes => 18;

    public static int Factors => 1;

    public static void Prepare(byte* source, int blocks, float* factors) => Halves<T>(source, Bytes, blocks, factors);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        T scale = T.Broadcast(*factors);
        first = T.NibbleLevels(block + 2, 0, Nibbles.NonLinear, scale);
        second = T.NibbleLevels(block + 2, 4, Nibbles.NonLinear, scale);
    }
}

/// <summary>MXFP4: a power of two and 32 E2M1 numbers.</summary>
internal readonly unsafe struct MXFP4Blocks<T> : IBlocks<T>
    where T : unmanaged, ILanes<T>
{
    public static int Columns => 32;

    public static int Bytes => 17;

    public static int Factors => 1;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Prepare(byte* source, int blocks, float* factors)
    {
        for (; blocks > 0; blocks--, source += 17, factors += 1)
        {
            *factors = Nibbles.HalfPowerOfTwo(*source);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pair(byte* block, float* factors, int pair, out T first, out T second)
    {
        T scale = T.Broadcast(*factors);
        first = T.NibbleLevels(block + 1, 0, Nibbles.DoubledE2M1, scale);
        second = T.NibbleLevels(block + 1, 4, Nibbles.DoubledE2M1, scale);
    }
}
