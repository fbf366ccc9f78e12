using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels.MultiScale;

/// <summary>Rewrites rows of bfloat16 as words of 12 bits with a power of two for each 32 columns of a row.</summary>
/// <remarks>
/// The power of two is 2^-10 of the greatest magnitude's binade, so values are integers of at most 2040, and 32 products with integers of 16 bits stay below 2^31. Bfloat16 has 8 significant bits: a
/// weight in the block's uppermost four binades loses nothing, any other at most half of that power, 2^-11 of the greatest, while rounding to bfloat16 has cost the greatest up to 2^-9 of itself.
/// Blocks of less than 2^-116 have the least power there is. A block with an infinity or a NaN is infinity times zero, so its row gives NaN.
/// </remarks>
internal static unsafe class WordPacker
{
    private const int SignificantBits = 10;

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

                scales[i] = Values(weights, (short*)pairs);
                for (int pair = 0; pair < CodeLayout.TileColumns / 2; pair++)
                {
                    ((uint*)tile)[(CodeLayout.StripRows * pair) + i] = pairs[pair];
                }
            }
        }
    }

    /// <summary>A block's values, in the order of <see cref="SplitOrder.Pairs"/>, and its exponent.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte Values(ushort* weights, short* values)
    {
        Vector256<ushort> first = Vector256.Load(weights);
        Vector256<ushort> second = Vector256.Load(weights + 16);
        int exponent = Largest(Vector256.Max(first & Vector256.Create((ushort)0x7FFF), second & Vector256.Create((ushort)0x7FFF))) >> 7;
        if (exponent == 255)
        {
            Vector256<short>.Zero.Store(values);
            Vector256<short>.Zero.Store(values + 16);
            return 255;
        }

        exponent = Math.Max(exponent - SignificantBits, 1);
        Vector256<float> inverse = Vector256.Create((254 - exponent) << 23).AsSingle();
        Words(first, inverse).Store(values);
        Words(second, inverse).Store(values + 16);
        return (byte)exponent;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Words(Vector256<ushort> weights, Vector256<float> inverse)
    {
        (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(weights);
        Vector256<short> words = Vector256.Narrow(Rounded((low << 16).AsSingle() * inverse), Rounded((high << 16).AsSingle() * inverse));
        return Vector256.Shuffle(words, Vector256.Create(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15));
    }

    // To nearest even; the instruction that converts does it too.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Rounded(Vector256<float> values) =>
        Avx.IsSupported ? Avx.ConvertToVector256Int32(values) : Vector256.ConvertToInt32Native(Vector256.Round(values));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Largest(Vector256<ushort> magnitudes)
    {
        Vector128<ushort> half = Vector128.Max(magnitudes.GetLower(), magnitudes.GetUpper());
        half = Vector128.Max(half, (half.AsUInt64() >>> 32).AsUInt16());
        half = Vector128.Max(half, Vector128.Shuffle(half, Vector128.Create((ushort)4, 5, 6, 7, 0, 1, 2, 3)));
        uint pair = half.AsUInt32().ToScalar();
        return (int)Math.Max(pair & 0xFFFF, pair >> 16);
    }
}
