using System.Buffers.Binary;

namespace Antiphon.Kernels.MultiScale;

/// <summary>Where the scale of a block, and what is added to it, come from.</summary>
internal enum CodeScales
{
    /// <summary>A half-precision number for each block.</summary>
    Half,

    /// <summary>A half-precision number for each block, and another that is added to all its weights.</summary>
    HalfWithMinimum,

    /// <summary>A power of two for each block, as a byte.</summary>
    Exponent,

    /// <summary>A power of two for each block, as the byte that is its exponent in a float: 0 stands for zero, 255 for infinity.</summary>
    FloatExponent,

    /// <summary>A half-precision number for each super-block times a signed byte for each block.</summary>
    SuperBytes,

    /// <summary>A half-precision number for each super-block times a six-bit number, from -32 on, for each block.</summary>
    SuperSixes,

    /// <summary>Two half-precision numbers for each super-block; each block has six bits that multiply the first and six for the second, which is subtracted.</summary>
    SuperSixesWithMinimum,

    /// <summary>As <see cref="SuperSixesWithMinimum"/> with four bits each.</summary>
    SuperNibblesWithMinimum,
}

/// <summary>
/// How weights are laid out to be multiplied as integers: weight = value * scale + minimum, with a value in a signed byte and one scale for each
/// block of 32 or 16 columns of a row. Weights that are no integers (floats of 16 bits) become words of 12 bits, see <see cref="WordPacker"/>.
/// </summary>
/// <remarks>
/// A matrix is cut into strips of 16 rows, a strip into tiles of 32 columns, a tile into 8 groups of 4 columns. A group is a vector of 64 bytes: a
/// dword for each row, a byte for each column, which is what integer dot products take. A strip is the scales of all its tiles (formats with
/// super-blocks: of every 8 tiles), filled up to 64 bytes, then the codes of all tiles. Codes of less than 8 bits are stored in one or two planes: a plane of
/// <c>w</c> bits has <c>w</c> vectors, and vector <c>v</c> holds groups <c>v</c>, <c>v + w</c>, <c>v + 2w</c> and so on in rising bits. A group of words is
/// two vectors of pairs, in the order of <see cref="SplitOrder.Pairs"/>. The size is that
/// of the file, but for IQ4_XS (+1 %), words (+2 %) and the filling of rows to 16 and of scales to 64 bytes.
/// </remarks>
internal sealed unsafe class CodeLayout
{
    /// <summary>Rows of a strip.</summary>
    public const int StripRows = 16;

    /// <summary>Columns of a tile.</summary>
    public const int TileColumns = 32;

    /// <summary>Groups of a tile.</summary>
    public const int Groups = 8;

    /// <summary>Tiles of a super-block.</summary>
    public const int SuperTiles = 8;

    private static readonly sbyte[] NonLinear = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

    // Twice the values, whose scale is halved.
    private static readonly sbyte[] Float4 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

    private static readonly CodeLayout[] All =
    [
        new(TensorFormat.Q8_0, 8, 0, 1, 128, CodeScales.Half),
        new(TensorFormat.Q4_0, 4, 0, 1, 8, CodeScales.Half),
        new(TensorFormat.Q4_1, 4, 0, 1, 0, CodeScales.HalfWithMinimum),
        new(TensorFormat.Q5_0, 4, 1, 1, 16, CodeScales.Half),
        new(TensorFormat.Q5_1, 4, 1, 1, 0, CodeScales.HalfWithMinimum),
        new(TensorFormat.Q2_K, 2, 0, 2, 0, CodeScales.SuperNibblesWithMinimum),
        new(TensorFormat.Q3_K, 2, 1, 2, 4, CodeScales.SuperSixes),
        new(TensorFormat.Q4_K, 4, 0, 1, 0, CodeScales.SuperSixesWithMinimum),
        new(TensorFormat.Q5_K, 4, 1, 1, 0, CodeScales.SuperSixesWithMinimum),
        new(TensorFormat.Q6_K, 4, 2, 2, 32, CodeScales.SuperBytes),
        new(TensorFormat.IQ4_NL, 4, 0, 1, 128, CodeScales.Half, NonLinear),
        new(TensorFormat.IQ4_XS, 4, 0, 1, 128, CodeScales.SuperBytes, NonLinear),
        new(TensorFormat.MXFP4, 4, 0, 1, 16, CodeScales.Exponent, Float4),
        new(TensorFormat.BF16, 16, 0, 1, 0, CodeScales.FloatExponent),
        new(TensorFormat.F16, 16, 0, 1, 0, CodeScales.FloatExponent),
    ];

    private CodeLayout(TensorFormat format, int lowBits, int highBits, int subBlocks, int offset, CodeScales scales, sbyte[]? table = null)
    {
        Format = format;
        LowBits = lowBits;
        HighBits = highBits;
        SubBlocks = subBlocks;
        Offset = offset;
        Scales = scales;
        Table = table;
        SubScaleVectors = scales switch
        {
            CodeScales.SuperBytes => 2 * subBlocks,
            CodeScales.SuperSixes or CodeScales.SuperSixesWithMinimum => 3,
            CodeScales.SuperNibblesWithMinimum => 4,
            _ => 0,
        };
        HeaderBytes = SubScaleVectors == 0 ? 0 : (64 * SubScaleVectors) + (scales is CodeScales.SuperSixesWithMinimum or CodeScales.SuperNibblesWithMinimum ? 64 : 32);
        TileScaleBytes = scales switch { CodeScales.Half => 32, CodeScales.HalfWithMinimum => 64, CodeScales.Exponent or CodeScales.FloatExponent => 16, _ => 0 };
    }

    /// <summary>The formats whose weights are, or become, integer codes.</summary>
    public static ReadOnlySpan<CodeLayout> Layouts => All;

    /// <summary>The format of the weights in their file.</summary>
    public TensorFormat Format { get; }

    /// <summary>Bits of the first plane: the low bits of a code.</summary>
    public int LowBits { get; }

    /// <summary>Bits of the second plane, or 0.</summary>
    public int HighBits { get; }

    /// <summary>Blocks in a row of a tile: 1 or 2.</summary>
    public int SubBlocks { get; }

    /// <summary>What is added to a value to make it unsigned: 0 or a power of two. Without a table, the value is the code minus this.</summary>
    public int Offset { get; }

    /// <summary>Where scales come from.</summary>
    public CodeScales Scales { get; }

    /// <summary>The value of each code, or null where it is the code minus <see cref="Offset"/>.</summary>
    public sbyte[]? Table { get; }

    /// <summary>Vectors of bytes that scale the blocks of a super-block: byte i of a row lies in byte i mod 4 of its dword in vector i / 4.</summary>
    public int SubScaleVectors { get; }

    /// <summary>Bytes of scales for each super-block of 8 tiles; 0 for formats without.</summary>
    public int HeaderBytes { get; }

    /// <summary>Bytes of scales for each tile; 0 for formats with super-blocks.</summary>
    public int TileScaleBytes { get; }

    /// <summary>Bytes of a tile's codes.</summary>
    public int TileBytes => 64 * (LowBits + HighBits);

    /// <summary>Whether the bytes of an 8-bit code are the values themselves.</summary>
    public bool IsPlain => LowBits == 8;

    /// <summary>Whether values are words, which products of 16-bit pairs multiply: no bytes for dot products of those.</summary>
    public bool IsWords => LowBits == 16;

    /// <summary>Whether something is added to every weight of a block.</summary>
    public bool HasMinimum => Scales is CodeScales.HalfWithMinimum || HasSuperMinimum;

    /// <summary>Whether that is a product of a number of the super-block and one of the block.</summary>
    public bool HasSuperMinimum => Scales is CodeScales.SuperSixesWithMinimum or CodeScales.SuperNibblesWithMinimum;

    /// <summary>Columns of a block.</summary>
    public int BlockColumns => TileColumns / SubBlocks;

    /// <summary>The layout of a format, or null.</summary>
    public static CodeLayout? Find(TensorFormat format) => Array.Find(All, each => each.Format == format);

    /// <summary>Tiles of a strip.</summary>
    public static int Steps(int columns) => (int)(((long)columns + TileColumns - 1) / TileColumns);

    /// <summary>Where the codes of a strip begin.</summary>
    public long CodesAt(int columns) => ((Steps(columns) * (long)TileScaleBytes) + (Steps(columns) / SuperTiles * (long)HeaderBytes) + 63) & ~63L;

    /// <summary>Bytes of a strip.</summary>
    public long StripBytes(int columns) => checked(CodesAt(columns) + (Steps(columns) * (long)TileBytes));

    /// <summary>The value of a weight before scaling: the portable definition of the stored codes.</summary>
    public int Value(byte* strip, int columns, int row, int column)
    {
        byte* codes = strip + CodesAt(columns) + ((long)(column / TileColumns) * TileBytes);
        int group = column % TileColumns / 4;
        if (IsWords)
        {
            return ((short*)codes)[(2 * StripRows * ((2 * group) + (column % 2))) + (2 * row) + (column % 4 / 2)];
        }

        int at = (4 * row) + (column % 4);
        int code = Plane(codes, LowBits);
        if (IsPlain)
        {
            return (sbyte)code;
        }

        if (HighBits > 0)
        {
            code |= Plane(codes + (64 * LowBits), HighBits) << LowBits;
        }

        return Table is null ? code - Offset : Table[code];

        int Plane(byte* plane, int bits) => (plane[(group % bits * 64) + at] >> (group / bits * bits)) & ((1 << bits) - 1);
    }

    /// <summary>The scale of a block of a row, which needs no rounding.</summary>
    /// <param name="strip">The strip.</param>
    /// <param name="row">Row in the strip.</param>
    /// <param name="block">Which block of the row.</param>
    public float Scale(byte* strip, int row, int block)
    {
        byte* header = strip + (block / (SuperTiles * SubBlocks) * (long)HeaderBytes);
        byte* tile = strip + (block * (long)TileScaleBytes);
        int part = block % (SuperTiles * SubBlocks);
        return Scales switch
        {
            CodeScales.Half or CodeScales.HalfWithMinimum => Half(tile + (2 * row)),
            CodeScales.Exponent => PowerOfTwo(tile[row]),
            CodeScales.FloatExponent => BitConverter.Int32BitsToSingle(tile[row] << 23),
            CodeScales.SuperBytes => Half(header + (2 * row)) * (sbyte)header[32 + SubScaleAt(row, part)],
            CodeScales.SuperSixes => Half(header + (2 * row)) * (Six(header + 32, row, part) - 32),
            CodeScales.SuperSixesWithMinimum => Half(header + (2 * row)) * Six(header + 64, row, part),
            _ => Half(header + (2 * row)) * (header[64 + SubScaleAt(row, part)] & 15),
        };
    }

    /// <summary>What is added to the weights of a block of a row is the product of these two.</summary>
    public (float Unit, int Multiple) Minimum(byte* strip, int row, int block)
    {
        byte* header = strip + (block / (SuperTiles * SubBlocks) * (long)HeaderBytes);
        int part = block % (SuperTiles * SubBlocks);
        return Scales switch
        {
            CodeScales.HalfWithMinimum => (Half(strip + (block * (long)TileScaleBytes) + 32 + (2 * row)), 1),
            CodeScales.SuperSixesWithMinimum => (Half(header + 32 + (2 * row)), -Six(header + 64, row, 8 + part)),
            CodeScales.SuperNibblesWithMinimum => (Half(header + 32 + (2 * row)), -(header[64 + SubScaleAt(row, part)] >> 4)),
            _ => (0, 0),
        };
    }

    private static int SubScaleAt(int row, int index) => (index / 4 * 64) + (4 * row) + (index % 4);

    private static float Half(byte* at) => (float)BinaryPrimitives.ReadHalfLittleEndian(new ReadOnlySpan<byte>(at, 2));

    /// <summary>2^(exponent - 128): half the format's scale, since the table holds doubles.</summary>
    private static float PowerOfTwo(byte exponent) => BitConverter.UInt32BitsToSingle(exponent < 2 ? (exponent + 1u) << 21 : (exponent - 1u) << 23);

    /// <summary>Sixteen six-bit numbers a row in three dwords: the low bits of the twelve bytes, and two of each of the last four numbers in their high bits.</summary>
    private static int Six(byte* vectors, int row, int index) => index < 12
        ? vectors[SubScaleAt(row, index)] & 63
        : (vectors[SubScaleAt(row, index - 12)] >> 6) | (vectors[SubScaleAt(row, index - 8)] >> 6 << 2) | (vectors[SubScaleAt(row, index - 4)] >> 6 << 4);
}
