using System.Buffers.Binary;

namespace Antiphon.Kernels.Packed;

/// <summary>How the codes of a tile are stored.</summary>
internal enum PackedCodes
{
    /// <summary>No codes: the bfloat16 values themselves, row after row.</summary>
    Values,

    /// <summary>Indices into a table of at most 32 values, packed into 16-bit words: one word for each column.</summary>
    Table,

    /// <summary>Six-bit integers from -32 on, packed into 32-bit words.</summary>
    Sixes,

    /// <summary>Bytes from -128 on.</summary>
    Bytes,
}

/// <summary>Where the scale S and the offset M of a sub-block come from.</summary>
internal enum PackedScales
{
    /// <summary>There are none.</summary>
    None,

    /// <summary>S is a half-precision number in the tile.</summary>
    Half,

    /// <summary>S and M are half-precision numbers in the tile.</summary>
    HalfWithOffset,

    /// <summary>S is a bfloat16 number in the tile.</summary>
    BFloat,

    /// <summary>S is a half-precision number of the super-block times a signed byte of the sub-block.</summary>
    Super,

    /// <summary>S and -M are half-precision numbers of the super-block times unsigned bytes of the sub-block.</summary>
    SuperWithOffset,
}

/// <summary>
/// How weights of a format are laid out for generated kernels, and what they mean there: weight = round(value[code] * S + M), where the inner
/// expression is rounded once to float32 and the result once to bfloat16 by <see cref="Round"/>.
/// </summary>
/// <remarks>
/// A matrix is cut into strips of 16 rows, a strip into tiles of 32 columns, in that order. Formats with super-blocks put 8 tiles behind a header.
/// A tile is its scales (for each row its sub-blocks), then its codes, <c>64 * bits</c> bytes. Missing rows and columns are zero.
/// Every format here decodes exactly: value[code] * S needs no rounding, so the inner expression equals <see cref="BlockDecoder"/>'s value.
/// </remarks>
internal sealed unsafe class PackedFormat
{
    /// <summary>Rows of a strip.</summary>
    public const int StripRows = 16;

    /// <summary>Columns of a tile.</summary>
    public const int TileColumns = 32;

    /// <summary>Tiles of a super-block.</summary>
    public const int SuperTiles = 8;

    private static readonly float[] NonLinear = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
    private static readonly float[] Float4 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

    private static readonly PackedFormat[] All =
    [
        new(TensorFormat.BF16, PackedCodes.Values, 16, 1, PackedScales.None, []),
        new(TensorFormat.Q8_0, PackedCodes.Bytes, 8, 1, PackedScales.Half, Integers(256, -128)),
        new(TensorFormat.Q4_0, PackedCodes.Table, 4, 1, PackedScales.Half, Integers(16, -8)),
        new(TensorFormat.Q4_1, PackedCodes.Table, 4, 1, PackedScales.HalfWithOffset, Integers(16, 0)),
        new(TensorFormat.Q5_0, PackedCodes.Table, 5, 1, PackedScales.Half, Integers(32, -16)),
        new(TensorFormat.Q5_1, PackedCodes.Table, 5, 1, PackedScales.HalfWithOffset, Integers(32, 0)),
        new(TensorFormat.Q2_K, PackedCodes.Table, 2, 2, PackedScales.SuperWithOffset, Integers(4, 0)),
        new(TensorFormat.Q3_K, PackedCodes.Table, 3, 2, PackedScales.Super, Integers(8, -4)),
        new(TensorFormat.Q4_K, PackedCodes.Table, 4, 1, PackedScales.SuperWithOffset, Integers(16, 0)),
        new(TensorFormat.Q5_K, PackedCodes.Table, 5, 1, PackedScales.SuperWithOffset, Integers(32, 0)),
        new(TensorFormat.Q6_K, PackedCodes.Sixes, 6, 2, PackedScales.Super, Integers(64, -32)),
        new(TensorFormat.IQ4_NL, PackedCodes.Table, 4, 1, PackedScales.Half, NonLinear),
        new(TensorFormat.IQ4_XS, PackedCodes.Table, 4, 1, PackedScales.Super, NonLinear),
        new(TensorFormat.MXFP4, PackedCodes.Table, 4, 1, PackedScales.BFloat, Float4),
    ];

    private PackedFormat(TensorFormat format, PackedCodes codes, int bits, int subBlocks, PackedScales scales, float[] values)
    {
        Format = format;
        Codes = codes;
        Bits = bits;
        SubBlocks = subBlocks;
        Scales = scales;
        Values = values;
        HeaderBytes = scales switch { PackedScales.Super => 32, PackedScales.SuperWithOffset => 64, _ => 0 };
        ScaleBytes = scales switch
        {
            PackedScales.None => 0,
            PackedScales.Half or PackedScales.BFloat => 32,
            PackedScales.HalfWithOffset => 64,
            PackedScales.Super => StripRows * subBlocks,
            _ => 2 * StripRows * subBlocks,
        };
    }

    /// <summary>The formats that have a packed form.</summary>
    public static ReadOnlySpan<PackedFormat> Formats => All;

    /// <summary>The format of the weights in their file.</summary>
    public TensorFormat Format { get; }

    /// <summary>How codes are stored.</summary>
    public PackedCodes Codes { get; }

    /// <summary>Bits of a code.</summary>
    public int Bits { get; }

    /// <summary>Sub-blocks, with a scale each, in a row of a tile: 1 or 2.</summary>
    public int SubBlocks { get; }

    /// <summary>Where scales come from.</summary>
    public PackedScales Scales { get; }

    /// <summary>The value of each code.</summary>
    public float[] Values { get; }

    /// <summary>Bytes before the first of 8 tiles; 0 for formats without super-blocks.</summary>
    public int HeaderBytes { get; }

    /// <summary>Bytes of a tile before its codes.</summary>
    public int ScaleBytes { get; }

    /// <summary>Bytes of a tile.</summary>
    public int TileBytes => ScaleBytes + (64 * Bits);

    /// <summary>Whether sub-blocks have an offset M.</summary>
    public bool HasOffset => Scales is PackedScales.HalfWithOffset or PackedScales.SuperWithOffset;

    /// <summary>
    /// Rounds a weight as this format's kernels do: to nearest, where a tie goes away from zero for tables of at most 16 values, and to even elsewhere.
    /// </summary>
    public ushort Round(float value) => Codes == PackedCodes.Table && Bits <= 4 ? BFloat16.RoundAway(value) : BFloat16.Round(value);

    /// <summary>The packed form of a format, or null.</summary>
    public static PackedFormat? Find(TensorFormat format) => Array.Find(All, each => each.Format == format);

    /// <summary>Tiles of a strip.</summary>
    public static int Steps(int columns) => (int)(((long)columns + TileColumns - 1) / TileColumns);

    /// <summary>Bytes of a strip.</summary>
    public long StripBytes(int columns)
    {
        long steps = Steps(columns);
        return checked((steps * TileBytes) + (steps / SuperTiles * HeaderBytes));
    }

    /// <summary>Where a tile of a strip begins.</summary>
    public long TileOffset(int step) => ((long)step * TileBytes) + (HeaderBytes == 0 ? 0 : ((step / SuperTiles) + 1) * HeaderBytes);

    /// <summary>Decodes one row of one tile to float32: the portable definition of the packed layout.</summary>
    /// <param name="strip">The strip that holds the row.</param>
    /// <param name="step">Which tile.</param>
    /// <param name="row">Row in the strip.</param>
    /// <param name="values">Receives 32 values.</param>
    public void Decode(byte* strip, int step, int row, Span<float> values)
    {
        byte* tile = strip + TileOffset(step);
        byte* codes = tile + ScaleBytes;
        for (int column = 0; column < TileColumns; column++)
        {
            if (Codes == PackedCodes.Values)
            {
                values[column] = BitConverter.UInt32BitsToSingle((uint)((ushort*)codes)[(row * TileColumns) + column] << 16);
                continue;
            }

            int subBlock = column * SubBlocks / TileColumns;
            (float scale, float offset) = Scale(tile, tile - ((step % SuperTiles) * TileBytes) - HeaderBytes, (row * SubBlocks) + subBlock, row);
            values[column] = MathF.FusedMultiplyAdd(Values[Code(codes, row, column)], scale, offset);
        }
    }

    private static float[] Integers(int count, int first)
    {
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
        {
            values[i] = first + i;
        }

        return values;
    }

    private static float Half(byte* at) => (float)BinaryPrimitives.ReadHalfLittleEndian(new ReadOnlySpan<byte>(at, 2));

    private (float Scale, float Offset) Scale(byte* tile, byte* header, int index, int row) => Scales switch
    {
        PackedScales.Half => (Half(tile + (2 * row)), 0),
        PackedScales.HalfWithOffset => (Half(tile + (2 * row)), Half(tile + 32 + (2 * row))),
        PackedScales.BFloat => (BitConverter.UInt32BitsToSingle((uint)((ushort*)tile)[row] << 16), 0),
        PackedScales.Super => (Half(header + (2 * row)) * (sbyte)tile[index], 0),
        _ => (Half(header + (2 * row)) * tile[index], -(Half(header + 32 + (2 * row)) * tile[(StripRows * SubBlocks) + index])),
    };

    private int Code(byte* codes, int row, int column)
    {
        switch (Codes)
        {
            case PackedCodes.Bytes:
                return codes[(row / 2 * 64) + (4 * (column % 16)) + (row % 2 * 2) + (column / 16)];
            case PackedCodes.Sixes:
                uint* dwords = (uint*)codes + (row / 8 * 48) + (column % 16);
                int vector = (row % 8 * 2) + (column / 16);
                return vector < 15
                    ? (int)(dwords[vector / 5 * 16] >> SixShifts[vector % 5]) & 63
                    : (int)((dwords[0] & 3) | ((dwords[16] & 3) << 2) | ((dwords[32] & 3) << 4));
            default:
                ushort* words = (ushort*)codes + column;
                int fields = 16 / Bits;
                if (row < fields * Bits)
                {
                    return (words[row / fields * 32] >> (row % fields * Bits)) & ((1 << Bits) - 1);
                }

                // 3 and 5 do not divide 16: the last row lies in the top bits of the words.
                int code = 0;
                for (int bit = 0; bit < Bits; bit++)
                {
                    code |= words[bit * 32] >> 15 << bit;
                }

                return code;
        }
    }

    /// <summary>Where the five six-bit fields of a dword begin. The first is where a kernel wants it; the lowest two bits hold a third of a 16th field.</summary>
    public static ReadOnlySpan<int> SixShifts => [14, 20, 26, 8, 2];
}
