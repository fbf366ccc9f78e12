using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Antiphon.Kernels.MultiScale;

/// <summary>
/// A strip as the kernel without generated code reads it. For each tile: the values of its groups as 16-bit pairs, for rows 0 to 7 first and third column, then second and fourth, then
/// the same for rows 8 to 15; the scales of its blocks, vectors of 16 floats; a vector of minimums where every tile has some. Then, where minimums
/// are multiples of a number of the super-block, for each super-block these numbers and the multiples as bytes, four blocks in the dwords of each vector.
/// </summary>
internal readonly struct LaneStrip
{
    /// <summary>Bytes of a group's values.</summary>
    public const int GroupBytes = 2 * 4 * CodeLayout.StripRows;

    /// <summary>Where in a tile its scales begin.</summary>
    public const int ScalesAt = CodeLayout.Groups * GroupBytes;

    /// <summary>The parts of a strip.</summary>
    public LaneStrip(CodeLayout layout, int columns)
    {
        long steps = CodeLayout.Steps(columns);
        TileMinimumAt = ScalesAt + (64 * layout.SubBlocks);
        TileBytes = TileMinimumAt + (layout.Scales == CodeScales.HalfWithMinimum ? 64 : 0);
        SuperMinimumsAt = steps * TileBytes;
        SuperMinimumBytes = layout.HasSuperMinimum ? 64 + (128 * layout.SubBlocks) : 0;
        ByteCount = SuperMinimumsAt + (SuperMinimumBytes * ((steps + CodeLayout.SuperTiles - 1) / CodeLayout.SuperTiles));
    }

    /// <summary>Where in a tile its minimums begin.</summary>
    public int TileMinimumAt { get; }

    /// <summary>Bytes of a tile.</summary>
    public int TileBytes { get; }

    /// <summary>Where the minimums of super-blocks begin.</summary>
    public long SuperMinimumsAt { get; }

    /// <summary>Bytes of those of a super-block.</summary>
    public int SuperMinimumBytes { get; }

    /// <summary>Bytes of all.</summary>
    public long ByteCount { get; }

    /// <summary>Unpacks a strip.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="columns">Columns of the matrix.</param>
    /// <param name="strip">The strip.</param>
    /// <param name="destination">Room for <see cref="ByteCount"/> bytes.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static unsafe void Unpack(CodeLayout layout, int columns, byte* strip, byte* destination)
    {
        LaneStrip parts = new(layout, columns);
        int steps = CodeLayout.Steps(columns);
        byte* codes = strip + layout.CodesAt(columns);
        byte* scales = strip;
        byte* minimums = destination + parts.SuperMinimumsAt;
        for (int step = 0; step < steps; step++, codes += layout.TileBytes, destination += parts.TileBytes)
        {
            UnpackValues(layout, codes, (short*)destination);
            float* scalesTo = (float*)(destination + ScalesAt);
            switch (layout.Scales)
            {
                case CodeScales.Half:
                    StoreHalfs(scales, scalesTo);
                    break;
                case CodeScales.HalfWithMinimum:
                    StoreHalfs(scales, scalesTo);
                    StoreHalfs(scales + 32, (float*)(destination + parts.TileMinimumAt));
                    break;
                case CodeScales.Exponent or CodeScales.FloatExponent:
                    for (int row = 0; row < CodeLayout.StripRows; row++)
                    {
                        scalesTo[row] = layout.Scale(strip, row, step);
                    }

                    break;
                default:
                    if (step % CodeLayout.SuperTiles == 0)
                    {
                        UnpackSuper(layout, scales, destination, parts.TileBytes, minimums);
                        scales += layout.HeaderBytes;
                        minimums += parts.SuperMinimumBytes;
                    }

                    break;
            }

            scales += layout.TileScaleBytes;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static unsafe void UnpackValues(CodeLayout layout, byte* codes, short* to)
    {
        if (layout.IsWords)
        {
            for (int group = 0; group < CodeLayout.Groups; group++, codes += 128, to += 64)
            {
                for (int half = 0; half < 2; half++)
                {
                    Vector256.Load((short*)(codes + (32 * half))).Store(to + (32 * half));
                    Vector256.Load((short*)(codes + 64 + (32 * half))).Store(to + (32 * half) + 16);
                }
            }

            return;
        }

        int bits = layout.LowBits;
        int high = layout.HighBits;
        Vector128<byte> table = layout.Table is { } values ? Vector128.LoadUnsafe(ref values[0]).AsByte() : default;
        Vector256<byte> lowMask = Vector256.Create((byte)((1 << bits) - 1));
        Vector256<byte> highMask = Vector256.Create((byte)(((1 << high) - 1) << bits));
        Vector256<byte> offset = Vector256.Create(layout.IsPlain || layout.Table is not null ? (byte)0 : (byte)layout.Offset);
        for (int group = 0; group < CodeLayout.Groups; group++)
        {
            byte* low = codes + (group % bits * 64);
            int lowShift = group / bits * bits;
            for (int half = 0; half < 64; half += 32, to += 32)
            {
                Vector256<byte> code = (Vector256.Load((ushort*)(low + half)) >>> lowShift).AsByte() & lowMask;
                if (high > 0)
                {
                    // What the shifts bring in from the neighbours is masked away.
                    Vector256<ushort> plane = Vector256.Load((ushort*)(codes + (64 * (bits + (group % high))) + half));
                    code |= ((plane >>> (group / high * high)) << bits).AsByte() & highMask;
                }

                if (layout.Table is not null)
                {
                    code = Vector256.Create(Vector128.Shuffle(table, code.GetLower()), Vector128.Shuffle(table, code.GetUpper()));
                }

                Vector256<short> pairs = (code - offset).AsInt16();
                ((pairs << 8) >> 8).Store(to);
                (pairs >> 8).Store(to + 16);
            }
        }
    }

    /// <summary>The scales of all blocks of a super-block, each in its tile, and the minimums.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static unsafe void UnpackSuper(CodeLayout layout, byte* header, byte* tiles, int tileBytes, byte* minimums)
    {
        bool sixes = layout.Scales is CodeScales.SuperSixes or CodeScales.SuperSixesWithMinimum;
        bool nibbles = layout.Scales == CodeScales.SuperNibblesWithMinimum;
        byte* vectors = header + layout.HeaderBytes - (64 * layout.SubScaleVectors);
        float* units = stackalloc float[16];
        int* bytes = stackalloc int[4 * 8];
        StoreHalfs(header, units);
        if (layout.HasSuperMinimum)
        {
            StoreHalfs(header + 32, (float*)minimums);
        }

        for (int half = 0; half < 64; half += 32)
        {
            Vector256<float> unit = Vector256.Load((float*)((byte*)units + half));
            for (int vector = 0; vector < layout.SubScaleVectors; vector++)
            {
                Vector256.Load((int*)(vectors + (64 * vector) + half)).Store(bytes + (8 * vector));
            }

            if (sixes)
            {
                // The last four numbers: two bits from the top of each byte.
                Vector256<int> last = Vector256<int>.Zero;
                for (int vector = 0; vector < 3; vector++)
                {
                    Vector256<int> all = Vector256.Load(bytes + (8 * vector));
                    last |= ((all >>> 6) & Vector256.Create(0x03030303)) << (2 * vector);
                    (all & Vector256.Create(0x3F3F3F3F)).Store(bytes + (8 * vector));
                }

                last.Store(bytes + 24);
            }

            for (int block = 0; block < CodeLayout.SuperTiles * layout.SubBlocks; block++)
            {
                Vector256<int> all = Vector256.Load(bytes + (block / 4 * 8));
                int bit = block % 4 * 8;
                Vector256<int> factor = layout.Scales == CodeScales.SuperBytes ? (all << (24 - bit)) >> 24
                    : layout.Scales == CodeScales.SuperSixes ? ((all >>> bit) & Vector256.Create(0xFF)) - Vector256.Create(32)
                    : (all >>> bit) & Vector256.Create(nibbles ? 0x0F : 0xFF);
                float* to = (float*)(tiles + (block / layout.SubBlocks * tileBytes) + ScalesAt + (block % layout.SubBlocks * 64) + half);
                (Vector256.ConvertToSingle(factor) * unit).Store(to);
            }

            for (int vector = 0; vector < 2 * layout.SubBlocks && layout.HasSuperMinimum; vector++)
            {
                Vector256<int> multiples = nibbles
                    ? (Vector256.Load(bytes + (8 * vector)) >>> 4) & Vector256.Create(0x0F0F0F0F)
                    : Vector256.Load(bytes + (8 * (vector + 2)));
                multiples.Store((int*)(minimums + 64 + (64 * vector) + half));
            }
        }
    }

    /// <summary>Sixteen half-precision numbers as floats.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static unsafe void StoreHalfs(byte* halfs, float* to)
    {
        (Vector256<uint> first, Vector256<uint> second) = Vector256.Widen(Vector256.Load((ushort*)halfs));
        HalfConversions.F16ToF32(first).Store(to);
        HalfConversions.F16ToF32(second).Store(to + 8);
    }
}
