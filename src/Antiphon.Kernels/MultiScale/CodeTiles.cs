using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.MultiScale;

/// <summary>Brings the codes of a tile from rows of a file format into the planes of <see cref="CodeLayout"/>.</summary>
internal unsafe interface ICodeTiles
{
    /// <summary>Packs a tile.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="block">The block of the first row.</param>
    /// <param name="rowBytes">From there to the next row's.</param>
    /// <param name="rows">Rows that there are; all of a strip but for <see cref="PortableCodeTiles"/>.</param>
    /// <param name="part">Which 32 columns of the blocks.</param>
    /// <param name="tile">Receives <see cref="CodeLayout.TileBytes"/> bytes.</param>
    static abstract void Pack<TReader>(CodeLayout layout, byte* block, long rowBytes, int rows, int part, byte* tile)
        where TReader : struct, IBlockReader;
}

/// <summary>The definition, for any machine. The codes of rows that are missing are zero.</summary>
internal readonly unsafe struct PortableCodeTiles : ICodeTiles
{
    public static void Pack<TReader>(CodeLayout layout, byte* block, long rowBytes, int rows, int part, byte* tile)
        where TReader : struct, IBlockReader
    {
        // Groups of four columns: a dword for each row.
        const int TileCodes = CodeLayout.StripRows * CodeLayout.TileColumns;
        byte* groups = stackalloc byte[TileCodes];
        uint* row = stackalloc uint[CodeLayout.Groups];
        new Span<byte>(groups, TileCodes).Clear();
        for (int i = 0; i < rows; i++, block += rowBytes)
        {
            TReader.Codes(block, part).Store((byte*)row);
            for (int group = 0; group < CodeLayout.Groups; group++)
            {
                ((uint*)groups)[(CodeLayout.StripRows * group) + i] = row[group];
            }
        }

        for (int i = 0; i < TileCodes && layout.IsPlain; i++)
        {
            // The reader gives unsigned bytes, the layout has the file's.
            groups[i] ^= 0x80;
        }

        PackPlane(groups, 0, layout.LowBits, tile);
        if (layout.HighBits > 0)
        {
            PackPlane(groups, layout.LowBits, layout.HighBits, tile + (64 * layout.LowBits));
        }
    }

    /// <summary>Some bits of all codes: those of a group lie as many bits above those of another as it is groups behind.</summary>
    private static void PackPlane(byte* groups, int firstBit, int bits, byte* plane)
    {
        for (int i = 0; i < 64 * bits; i++)
        {
            int packed = 0;
            for (int field = 0; field < 8; field += bits)
            {
                packed |= ((groups[i + (64 * field)] >> firstBit) & ((1 << bits) - 1)) << field;
            }

            plane[i] = (byte)packed;
        }
    }
}

/// <summary>Two transpositions of 8 x 8 dwords in 256-bit registers.</summary>
/// <remarks>From the cache this takes 3 to 15 GB/s, more than memory gives a thread that also writes; so wider registers have no form of their own.</remarks>
internal readonly unsafe struct Avx2CodeTiles : ICodeTiles
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pack<TReader>(CodeLayout layout, byte* block, long rowBytes, int rows, int part, byte* tile)
        where TReader : struct, IBlockReader
    {
        for (int half = 0; half < 64; half += 32, block += 8 * rowBytes, tile += 32)
        {
            byte* behind = block + (4 * rowBytes);
            (Vector256<uint> a, Vector256<uint> e) = Pair<TReader>(block, behind, part);
            (Vector256<uint> b, Vector256<uint> f) = Pair<TReader>(block + rowBytes, behind + rowBytes, part);
            (Vector256<uint> c, Vector256<uint> g) = Pair<TReader>(block + (2 * rowBytes), behind + (2 * rowBytes), part);
            (Vector256<uint> d, Vector256<uint> h) = Pair<TReader>(block + (3 * rowBytes), behind + (3 * rowBytes), part);
            Transpose(ref a, ref b, ref c, ref d);
            Transpose(ref e, ref f, ref g, ref h);
            if (layout.IsPlain)
            {
                // The reader gives unsigned bytes, the layout has the file's.
                Vector256<uint> sign = Vector256.Create(0x80808080);
                (a ^ sign).Store((uint*)tile);
                (b ^ sign).Store((uint*)(tile + 64));
                (c ^ sign).Store((uint*)(tile + 128));
                (d ^ sign).Store((uint*)(tile + 192));
                (e ^ sign).Store((uint*)(tile + 256));
                (f ^ sign).Store((uint*)(tile + 320));
                (g ^ sign).Store((uint*)(tile + 384));
                (h ^ sign).Store((uint*)(tile + 448));
                continue;
            }

            PackPlane(a, b, c, d, e, f, g, h, 0, layout.LowBits, tile);
            if (layout.HighBits > 0)
            {
                PackPlane(a, b, c, d, e, f, g, h, layout.LowBits, layout.HighBits, tile + (64 * layout.LowBits));
            }
        }
    }

    /// <summary>The codes of two rows: the first four dwords of both, and the last four.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector256<uint> First, Vector256<uint> Last) Pair<TReader>(byte* row, byte* behind, int part)
        where TReader : struct, IBlockReader
    {
        Vector256<uint> a = TReader.Codes(row, part).AsUInt32();
        Vector256<uint> b = TReader.Codes(behind, part).AsUInt32();
        return (Avx2.Permute2x128(a, b, 0x20), Avx2.Permute2x128(a, b, 0x31));
    }

    /// <summary>As above, of rows of eight dwords.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (Vector256<uint> First, Vector256<uint> Last) Pair(uint* row, uint* behind)
    {
        Vector256<uint> a = Vector256.Load(row);
        Vector256<uint> b = Vector256.Load(behind);
        return (Avx2.Permute2x128(a, b, 0x20), Avx2.Permute2x128(a, b, 0x31));
    }

    /// <summary>Four dwords of four rows, and of four more in the upper halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(ref Vector256<uint> a, ref Vector256<uint> b, ref Vector256<uint> c, ref Vector256<uint> d)
    {
        Vector256<ulong> lowAb = Avx2.UnpackLow(a, b).AsUInt64();
        Vector256<ulong> lowCd = Avx2.UnpackLow(c, d).AsUInt64();
        Vector256<ulong> highAb = Avx2.UnpackHigh(a, b).AsUInt64();
        Vector256<ulong> highCd = Avx2.UnpackHigh(c, d).AsUInt64();
        a = Avx2.UnpackLow(lowAb, lowCd).AsUInt32();
        b = Avx2.UnpackHigh(lowAb, lowCd).AsUInt32();
        c = Avx2.UnpackLow(highAb, highCd).AsUInt32();
        d = Avx2.UnpackHigh(highAb, highCd).AsUInt32();
    }

    /// <summary>Some bits of all codes, halving the groups as often as it takes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PackPlane(
        Vector256<uint> a, Vector256<uint> b, Vector256<uint> c, Vector256<uint> d, Vector256<uint> e, Vector256<uint> f, Vector256<uint> g, Vector256<uint> h, int firstBit, int bits, byte* plane)
    {
        Vector256<uint> mask = Vector256.Create((byte)((1 << bits) - 1)).AsUInt32();
        a = ((a >>> firstBit) & mask) | (((e >>> firstBit) & mask) << 4);
        b = ((b >>> firstBit) & mask) | (((f >>> firstBit) & mask) << 4);
        c = ((c >>> firstBit) & mask) | (((g >>> firstBit) & mask) << 4);
        d = ((d >>> firstBit) & mask) | (((h >>> firstBit) & mask) << 4);
        if (bits == 4)
        {
            a.Store((uint*)plane);
            b.Store((uint*)(plane + 64));
            c.Store((uint*)(plane + 128));
            d.Store((uint*)(plane + 192));
            return;
        }

        a |= c << 2;
        b |= d << 2;
        if (bits == 2)
        {
            a.Store((uint*)plane);
            b.Store((uint*)(plane + 64));
            return;
        }

        (a | (b << 1)).Store((uint*)plane);
    }
}
