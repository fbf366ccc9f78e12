using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels.MultiScale;

/// <summary>Rewrites rows of 16-bit floats as words of 12 bits with a power of two for each 32 columns of a row.</summary>
/// <remarks>
/// The power of two is 2^-10 of the greatest magnitude's binade, so values are integers of at most 2047, and 32 products with integers of 16 bits stay below 2^31. An error is at most half of that
/// power, 2^-11 of the greatest. Bfloat16 has 8 significant bits, of which a weight in the block's uppermost four binades loses none; half precision has 11, which only the uppermost binade keeps.
/// For comparison, rounding to bfloat16 may cost 2^-9 of each number, to half precision 2^-12.
/// Blocks of less than 2^-116 have the least power there is. A block with an infinity or a NaN is infinity times zero, so its row gives NaN.
/// </remarks>
internal static unsafe class WordPacker
{
    private const int FractionBits = 10;

    /// <summary>Packs a strip.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="columns">Columns of the matrix.</param>
    /// <param name="source">The first row.</param>
    /// <param name="rowBytes">From a row to the next.</param>
    /// <param name="rows">Rows that there are: the others stay zero.</param>
    /// <param name="strip">Receives the strip: zeroed memory.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(CodeLayout layout, int columns, byte* source, long rowBytes, int rows, byte* strip)
    {
        byte* tile = strip + layout.CodesAt(columns);
        ushort* part = stackalloc ushort[CodeLayout.TileColumns];
        uint* pairs = stackalloc uint[CodeLayout.TileColumns / 2];
        byte* scales = strip;
        bool halfs = layout.Format == TensorFormat.F16;
        for (int column = 0; column < columns; column += CodeLayout.TileColumns, scales += layout.TileScaleBytes, tile += layout.TileBytes)
        {
            byte* row = source + (sizeof(ushort) * column);
            int count = Math.Min(CodeLayout.TileColumns, columns - column);
            for (int i = 0; i < rows; i++, row += rowBytes)
            {
                ushort* weights = (ushort*)row;
                if (count < CodeLayout.TileColumns)
                {
                    new Span<ushort>(part, CodeLayout.TileColumns).Clear();
                    new Span<ushort>(row, count).CopyTo(new Span<ushort>(part, count));
                    weights = part;
                }

                scales[i] = Values(weights, halfs, (short*)pairs);
                for (int pair = 0; pair < CodeLayout.TileColumns / 2; pair++)
                {
                    ((uint*)tile)[(CodeLayout.StripRows * pair) + i] = pairs[pair];
                }
            }
        }
    }

    /// <summary>A block's values, in the order of <see cref="SplitOrder.Pairs"/>, and its exponent.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte Values(ushort* weights, bool halfs, short* values)
    {
        (Vector256<float> a, Vector256<float> b) = Floats(weights, halfs);
        (Vector256<float> c, Vector256<float> d) = Floats(weights + 16, halfs);

        // As integers, magnitudes are in the same order, and NaN is greater than all.
        Vector256<int> magnitudes = Vector256.Max(Vector256.Max(Magnitude(a), Magnitude(b)), Vector256.Max(Magnitude(c), Magnitude(d)));
        int exponent = Largest(magnitudes) >> 23;
        if (exponent == 255)
        {
            Vector512<short>.Zero.Store(values);
            return 255;
        }

        exponent = Math.Max(exponent - FractionBits, 1);
        Vector256<float> inverse = Vector256.Create((254 - exponent) << 23).AsSingle();
        Words(a * inverse, b * inverse).Store(values);
        Words(c * inverse, d * inverse).Store(values + 16);
        return (byte)exponent;

        static Vector256<int> Magnitude(Vector256<float> value) => value.AsInt32() & Vector256.Create(int.MaxValue);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector256<float> First, Vector256<float> Second) Floats(ushort* weights, bool halfs)
    {
        (Vector256<uint> first, Vector256<uint> second) = Vector256.Widen(Vector256.Load(weights));
        return halfs
            ? (HalfConversions.F16ToF32(first), HalfConversions.F16ToF32(second))
            : ((first << 16).AsSingle(), (second << 16).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Words(Vector256<float> first, Vector256<float> second) =>
        Vector256.Shuffle(Vector256.Narrow(Rounded(first), Rounded(second)), Vector256.Create(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15));

    // To nearest even; the instruction that converts does it too.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Rounded(Vector256<float> values) =>
        Avx.IsSupported ? Avx.ConvertToVector256Int32(values) : Vector256.ConvertToInt32Native(Vector256.Round(values));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Largest(Vector256<int> magnitudes)
    {
        Vector128<int> four = Vector128.Max(magnitudes.GetLower(), magnitudes.GetUpper());
        four = Vector128.Max(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        return Math.Max(four.ToScalar(), four.GetElement(1));
    }
}
