using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Antiphon.Kernels.Packed;

/// <summary>Takes blocks of a file format apart: codes and scales as <see cref="PackedFormat"/> has them.</summary>
internal unsafe interface IBlockReader
{
    /// <summary>Offset in a block of the half-precision scale, or -1.</summary>
    static abstract int ScaleOffset { get; }

    /// <summary>Offset in a block of the half-precision offset, or -1.</summary>
    static abstract int MinimumOffset { get; }

    /// <summary>The codes of 32 columns.</summary>
    /// <param name="block">The block.</param>
    /// <param name="tile">Which 32 columns of the block.</param>
    static abstract Vector256<byte> Codes(byte* block, int tile);

    /// <summary>The bytes that scale the sub-blocks of a super-block; only for formats that have them.</summary>
    /// <param name="block">The block.</param>
    /// <returns>A byte for each sub-block; from byte 16 on their offsets, where the format has them.</returns>
    static virtual Vector256<byte> SubScales(byte* block) => default;
}

/// <summary>Pieces that several formats share.</summary>
internal static unsafe class BlockParts
{
    /// <summary>16 bytes: low nibbles are columns 0 to 15, high nibbles 16 to 31.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Halves(byte* bytes)
    {
        Vector128<byte> packed = Vector128.Load(bytes);
        return Vector256.Create(packed & Vector128.Create((byte)15), packed >>> 4);
    }

    /// <summary>32 bytes: a field of each, at most up to the byte's end; what a shift of words brings in from the next byte the mask takes off.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Field(byte* bytes, int shift, byte mask) => (Vector256.Load((ushort*)bytes) >>> shift).AsByte() & Vector256.Create(mask);

    /// <summary>A bit for each of 32 columns, as <paramref name="value"/> or 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Bits(byte* bytes, byte value)
    {
        Vector256<byte> spread = Vector256.Shuffle(
            Vector256.Create(Unsafe.ReadUnaligned<uint>(bytes)).AsByte(),
            Vector256.Create(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, (byte)3));
        Vector256<byte> single = Vector256.Create(0x8040201008040201UL).AsByte();
        return Vector256.Equals(spread & single, single) & Vector256.Create(value);
    }

    /// <summary>The 6-bit scales and minimums of Q4_K and Q5_K: four of each in a dword, the last four in pieces.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> SixBitPairs(byte* packed)
    {
        uint first = Unsafe.ReadUnaligned<uint>(packed);
        uint second = Unsafe.ReadUnaligned<uint>(packed + 4);
        uint third = Unsafe.ReadUnaligned<uint>(packed + 8);
        return Vector256.Create(
            first & 0x3f3f3f3f, (third & 0x0f0f0f0f) | ((first >> 2) & 0x30303030), 0, 0,
            second & 0x3f3f3f3f, ((third >> 4) & 0x0f0f0f0f) | ((second >> 2) & 0x30303030), 0, 0).AsByte();
    }

    /// <summary>Six-bit numbers as signed bytes from -32 on.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> FromMinus32(Vector128<byte> numbers) => (numbers - Vector128.Create((byte)32)).ToVector256();
}

internal readonly unsafe struct Q8_0Reader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => -1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) => Vector256.Load(block + 2) ^ Vector256.Create((byte)0x80);
}

internal readonly unsafe struct Q4_0Reader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => -1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 2);
}

internal readonly unsafe struct Q4_1Reader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 4);
}

internal readonly unsafe struct Q5_0Reader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => -1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 6) | BlockParts.Bits(block + 2, 16);
}

internal readonly unsafe struct Q5_1Reader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 8) | BlockParts.Bits(block + 4, 16);
}

internal readonly unsafe struct Q2_KReader : IBlockReader
{
    public static int ScaleOffset => 80;

    public static int MinimumOffset => 82;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Field(block + 16 + (tile / 4 * 32), tile % 4 * 2, 3);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> SubScales(byte* block)
    {
        Vector128<byte> pairs = Vector128.Load(block);
        return Vector256.Create(pairs & Vector128.Create((byte)15), pairs >>> 4);
    }
}

internal readonly unsafe struct Q3_KReader : IBlockReader
{
    public static int ScaleOffset => 108;

    public static int MinimumOffset => -1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) =>
        BlockParts.Field(block + 32 + (tile / 4 * 32), tile % 4 * 2, 3) | (BlockParts.Field(block, tile, 1) << 2);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> SubScales(byte* block)
    {
        uint first = Unsafe.ReadUnaligned<uint>(block + 96);
        uint second = Unsafe.ReadUnaligned<uint>(block + 100);
        uint high = Unsafe.ReadUnaligned<uint>(block + 104);
        return BlockParts.FromMinus32(Vector128.Create(
            (first & 0x0f0f0f0f) | ((high << 4) & 0x30303030), (second & 0x0f0f0f0f) | ((high << 2) & 0x30303030),
            ((first >> 4) & 0x0f0f0f0f) | (high & 0x30303030), ((second >> 4) & 0x0f0f0f0f) | ((high >> 2) & 0x30303030)).AsByte());
    }
}

internal readonly unsafe struct Q4_KReader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Field(block + 16 + (tile / 2 * 32), tile % 2 * 4, 15);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> SubScales(byte* block) => BlockParts.SixBitPairs(block + 4);
}

internal readonly unsafe struct Q5_KReader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) =>
        BlockParts.Field(block + 48 + (tile / 2 * 32), tile % 2 * 4, 15) | (BlockParts.Field(block + 16, tile, 1) << 4);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> SubScales(byte* block) => BlockParts.SixBitPairs(block + 4);
}

internal readonly unsafe struct Q6_KReader : IBlockReader
{
    public static int ScaleOffset => 208;

    public static int MinimumOffset => -1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) =>
        BlockParts.Field(block + (tile / 4 * 64) + (tile % 2 * 32), tile % 4 / 2 * 4, 15)
        | (BlockParts.Field(block + 128 + (tile / 4 * 32), tile % 4 * 2, 3) << 4);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> SubScales(byte* block) => Vector128.Load(block + 192).ToVector256();
}

internal readonly unsafe struct IQ4_XSReader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => -1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 8 + (16 * tile));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> SubScales(byte* block)
    {
        uint low = Unsafe.ReadUnaligned<uint>(block + 4);
        uint high = Unsafe.ReadUnaligned<ushort>(block + 2);
        ulong scales = 0;
        for (int i = 0; i < 8; i++)
        {
            scales |= (ulong)(((low >> (4 * i)) & 15) | (((high >> (2 * i)) & 3) << 4)) << (8 * i);
        }

        return BlockParts.FromMinus32(Vector128.CreateScalar(scales).AsByte());
    }
}

internal readonly unsafe struct MXFP4Reader : IBlockReader
{
    // The scale is a power of two, not a half: the packer asks PowerOfTwo.
    public static int ScaleOffset => -1;

    public static int MinimumOffset => -1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 1);

    /// <summary>2^(exponent - 128) as bfloat16: half the format's scale, since the value table holds doubles.</summary>
    public static ushort PowerOfTwo(byte exponent) => exponent switch { 0 => 0x0020, 1 => 0x0040, _ => (ushort)((exponent - 1) << 7) };
}
