using System.Buffers.Binary;
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

    /// <summary>The bytes that scale the sub-blocks of 32 columns; nothing for formats without super-blocks.</summary>
    /// <param name="block">The block.</param>
    /// <param name="tile">Which 32 columns of the block.</param>
    /// <param name="scales">Receives one byte for each sub-block.</param>
    /// <param name="minimums">Receives one byte for each sub-block, where the format has offsets.</param>
    static virtual void SubScales(byte* block, int tile, byte* scales, byte* minimums)
    {
    }
}

/// <summary>Pieces that several formats share.</summary>
internal static unsafe class BlockParts
{
    /// <summary>16 bytes: low nibbles are columns 0 to 15, high nibbles 16 to 31.</summary>
    public static Vector256<byte> Halves(byte* bytes)
    {
        Vector128<byte> packed = Vector128.Load(bytes);
        return Vector256.Create(packed & Vector128.Create((byte)15), packed >>> 4);
    }

    /// <summary>32 bytes: a field of each.</summary>
    public static Vector256<byte> Field(byte* bytes, int shift, byte mask) => (Vector256.Load(bytes) >>> shift) & Vector256.Create(mask);

    /// <summary>A bit for each of 32 columns, as <paramref name="value"/> or 0.</summary>
    public static Vector256<byte> Bits(byte* bytes, byte value)
    {
        Vector256<byte> spread = Vector256.Shuffle(
            Vector256.Create(BinaryPrimitives.ReadUInt32LittleEndian(new ReadOnlySpan<byte>(bytes, 4))).AsByte(),
            Vector256.Create(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, (byte)3));
        Vector256<byte> single = Vector256.Create(0x8040201008040201UL).AsByte();
        return Vector256.Equals(spread & single, single) & Vector256.Create(value);
    }

    /// <summary>The 6-bit scales and minimums of Q4_K and Q5_K.</summary>
    public static void SixBitPairs(byte* packed, int tile, byte* scales, byte* minimums)
    {
        if (tile < 4)
        {
            *scales = (byte)(packed[tile] & 63);
            *minimums = (byte)(packed[tile + 4] & 63);
        }
        else
        {
            *scales = (byte)((packed[tile + 4] & 15) | (packed[tile - 4] >> 6 << 4));
            *minimums = (byte)((packed[tile + 4] >> 4) | (packed[tile] >> 6 << 4));
        }
    }
}

internal readonly unsafe struct Q8_0Reader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => -1;

    public static Vector256<byte> Codes(byte* block, int tile) => Vector256.Load(block + 2) ^ Vector256.Create((byte)0x80);
}

internal readonly unsafe struct Q4_0Reader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => -1;

    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 2);
}

internal readonly unsafe struct Q4_1Reader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => 2;

    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 4);
}

internal readonly unsafe struct Q5_0Reader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => -1;

    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 6) | BlockParts.Bits(block + 2, 16);
}

internal readonly unsafe struct Q5_1Reader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => 2;

    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 8) | BlockParts.Bits(block + 4, 16);
}

internal readonly unsafe struct Q2_KReader : IBlockReader
{
    public static int ScaleOffset => 80;

    public static int MinimumOffset => 82;

    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Field(block + 16 + (tile / 4 * 32), tile % 4 * 2, 3);

    public static void SubScales(byte* block, int tile, byte* scales, byte* minimums)
    {
        for (int i = 0; i < 2; i++)
        {
            scales[i] = (byte)(block[(2 * tile) + i] & 15);
            minimums[i] = (byte)(block[(2 * tile) + i] >> 4);
        }
    }
}

internal readonly unsafe struct Q3_KReader : IBlockReader
{
    public static int ScaleOffset => 108;

    public static int MinimumOffset => -1;

    public static Vector256<byte> Codes(byte* block, int tile) =>
        BlockParts.Field(block + 32 + (tile / 4 * 32), tile % 4 * 2, 3) | (BlockParts.Field(block, tile, 1) << 2);

    public static void SubScales(byte* block, int tile, byte* scales, byte* minimums)
    {
        byte* packed = block + 96;
        for (int i = 2 * tile; i < (2 * tile) + 2; i++)
        {
            int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
            int high = (packed[8 + (i % 4)] >> (i / 4 * 2)) & 3;
            scales[i % 2] = (byte)((low | (high << 4)) - 32);
        }
    }
}

internal readonly unsafe struct Q4_KReader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => 2;

    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Field(block + 16 + (tile / 2 * 32), tile % 2 * 4, 15);

    public static void SubScales(byte* block, int tile, byte* scales, byte* minimums) => BlockParts.SixBitPairs(block + 4, tile, scales, minimums);
}

internal readonly unsafe struct Q5_KReader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => 2;

    public static Vector256<byte> Codes(byte* block, int tile) =>
        BlockParts.Field(block + 48 + (tile / 2 * 32), tile % 2 * 4, 15) | (BlockParts.Field(block + 16, tile, 1) << 4);

    public static void SubScales(byte* block, int tile, byte* scales, byte* minimums) => BlockParts.SixBitPairs(block + 4, tile, scales, minimums);
}

internal readonly unsafe struct Q6_KReader : IBlockReader
{
    public static int ScaleOffset => 208;

    public static int MinimumOffset => -1;

    public static Vector256<byte> Codes(byte* block, int tile) =>
        BlockParts.Field(block + (tile / 4 * 64) + (tile % 2 * 32), tile % 4 / 2 * 4, 15)
        | (BlockParts.Field(block + 128 + (tile / 4 * 32), tile % 4 * 2, 3) << 4);

    public static void SubScales(byte* block, int tile, byte* scales, byte* minimums) =>
        Unsafe.WriteUnaligned(scales, Unsafe.ReadUnaligned<ushort>(block + 192 + (2 * tile)));
}

internal readonly unsafe struct IQ4_XSReader : IBlockReader
{
    public static int ScaleOffset => 0;

    public static int MinimumOffset => -1;

    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 8 + (16 * tile));

    public static void SubScales(byte* block, int tile, byte* scales, byte* minimums)
    {
        int low = (block[4 + (tile / 2)] >> (tile % 2 * 4)) & 15;
        int high = (BinaryPrimitives.ReadUInt16LittleEndian(new ReadOnlySpan<byte>(block + 2, 2)) >> (2 * tile)) & 3;
        *scales = (byte)((low | (high << 4)) - 32);
    }
}

internal readonly unsafe struct MXFP4Reader : IBlockReader
{
    // The scale is a power of two, not a half: the packer asks PowerOfTwo.
    public static int ScaleOffset => -1;

    public static int MinimumOffset => -1;

    public static Vector256<byte> Codes(byte* block, int tile) => BlockParts.Halves(block + 1);

    /// <summary>2^(exponent - 128) as bfloat16: half the format's scale, since the value table holds doubles.</summary>
    public static ushort PowerOfTwo(byte exponent) => exponent switch { 0 => 0x0020, 1 => 0x0040, _ => (ushort)((exponent - 1) << 7) };
}
