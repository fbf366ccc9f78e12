using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Antiphon.Kernels.Packed;

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
    private const int TilePairs = CodeLayout.TileColumns / 2;

    /// <summary>Packs a strip.</summary>
    /// <typeparam name="TFloats">What the source has.</typeparam>
    /// <param name="layout">The layout.</param>
    /// <param name="columns">Columns of the matrix.</param>
    /// <param name="source">The first row.</param>
    /// <param name="rowBytes">From a row to the next.</param>
    /// <param name="rows">Rows that there are: the others stay zero.</param>
    /// <param name="strip">Receives the strip: zeroed memory.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack<TFloats>(CodeLayout layout, int columns, byte* source, long rowBytes, int rows, byte* strip)
        where TFloats : struct, IHalfFloats
    {
        byte* tile = strip + layout.CodesAt(columns);
        uint* pairs = stackalloc uint[CodeLayout.StripRows * TilePairs];
        byte* scales = strip;
        byte* next = source + (rows * rowBytes);
        int column = 0;
        for (; column + CodeLayout.TileColumns <= columns; column += CodeLayout.TileColumns, scales += layout.TileScaleBytes, tile += layout.TileBytes)
        {
            next = NextStrip.Fetch(next, rows * sizeof(ushort) * CodeLayout.TileColumns);
            byte* row = source + (sizeof(ushort) * column);
            for (int i = 0; i < rows; i++, row += rowBytes)
            {
                scales[i] = Values<TFloats>((ushort*)row, (short*)(pairs + (i * TilePairs)));
            }

            Transpose(pairs, rows, (uint*)tile);
        }

        if (column < columns)
        {
            ushort* part = stackalloc ushort[CodeLayout.TileColumns];
            new Span<ushort>(part, CodeLayout.TileColumns).Clear();
            for (int i = 0; i < rows; i++)
            {
                new Span<ushort>(source + (i * rowBytes) + (sizeof(ushort) * column), columns - column).CopyTo(new Span<ushort>(part, CodeLayout.TileColumns));
                scales[i] = Values<TFloats>(part, (short*)(pairs + (i * TilePairs)));
            }

            Transpose(pairs, rows, (uint*)tile);
        }
    }

    /// <summary>A block's values, in the order of <see cref="SplitOrder.Pairs"/>, and its exponent.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte Values<TFloats>(ushort* weights, short* values)
        where TFloats : struct, IHalfFloats
    {
        (Vector256<uint> first, Vector256<uint> second) = Vector256.Widen(Vector256.Load(weights));
        (Vector256<uint> third, Vector256<uint> fourth) = Vector256.Widen(Vector256.Load(weights + 16));
        Vector256<float> a = TFloats.Widen(first);
        Vector256<float> b = TFloats.Widen(second);
        Vector256<float> c = TFloats.Widen(third);
        Vector256<float> d = TFloats.Widen(fourth);

        // As integers, magnitudes are in the same order, and NaN is greater than all.
        Vector256<int> magnitudes = Vector256.Max(Vector256.Max(Magnitude(a), Magnitude(b)), Vector256.Max(Magnitude(c), Magnitude(d)));
        Vector128<int> four = Vector128.Max(magnitudes.GetLower(), magnitudes.GetUpper());
        four = Vector128.Max(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        int exponent = Math.Max(four.ToScalar(), four.GetElement(1)) >> 23;
        if (exponent == 255)
        {
            Vector256<short>.Zero.Store(values);
            Vector256<short>.Zero.Store(values + 16);
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
    private static Vector256<short> Words(Vector256<float> first, Vector256<float> second)
    {
        if (!Avx2.IsSupported)
        {
            return Vector256.Shuffle(
                Vector256.Narrow(Vector256.ConvertToInt32Native(Vector256.Round(first)), Vector256.ConvertToInt32Native(Vector256.Round(second))),
                Vector256.Create(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15));
        }

        // To nearest even. Packing takes quarters of both in turns, four columns each.
        Vector256<long> turns = Avx2.PackSignedSaturate(Avx.ConvertToVector256Int32(first), Avx.ConvertToVector256Int32(second)).AsInt64();
        Vector256<byte> order = Vector256.Create(0x0706_0302_0504_0100UL, 0x0F0E_0B0A_0D0C_0908UL, 0x0706_0302_0504_0100UL, 0x0F0E_0B0A_0D0C_0908UL).AsByte();
        return Avx2.Shuffle(Avx2.Permute4x64(turns, 0b11_01_10_00).AsByte(), order).AsInt16();
    }

    /// <summary>Brings the pairs of rows to the lanes of vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose(uint* pairs, int rows, uint* tile)
    {
        if (rows < CodeLayout.StripRows || !Avx2.IsSupported)
        {
            for (int i = 0; i < rows * TilePairs; i++)
            {
                tile[(i % TilePairs * CodeLayout.StripRows) + (i / TilePairs)] = pairs[i];
            }

            return;
        }

        for (int eight = 0; eight < CodeLayout.StripRows; eight += 8, pairs += 8 * TilePairs)
        {
            for (int first = 0; first < TilePairs; first += 8)
            {
                uint* from = pairs + first;
                uint* to = tile + (first * CodeLayout.StripRows) + eight;
                (Vector256<uint> a, Vector256<uint> e) = Avx2CodeTiles.Pair(from, from + (4 * TilePairs));
                (Vector256<uint> b, Vector256<uint> f) = Avx2CodeTiles.Pair(from + TilePairs, from + (5 * TilePairs));
                (Vector256<uint> c, Vector256<uint> g) = Avx2CodeTiles.Pair(from + (2 * TilePairs), from + (6 * TilePairs));
                (Vector256<uint> d, Vector256<uint> h) = Avx2CodeTiles.Pair(from + (3 * TilePairs), from + (7 * TilePairs));
                Avx2CodeTiles.Transpose(ref a, ref b, ref c, ref d);
                Avx2CodeTiles.Transpose(ref e, ref f, ref g, ref h);
                a.Store(to);
                b.Store(to + CodeLayout.StripRows);
                c.Store(to + (2 * CodeLayout.StripRows));
                d.Store(to + (3 * CodeLayout.StripRows));
                e.Store(to + (4 * CodeLayout.StripRows));
                f.Store(to + (5 * CodeLayout.StripRows));
                g.Store(to + (6 * CodeLayout.StripRows));
                h.Store(to + (7 * CodeLayout.StripRows));
            }
        }
    }
}

/// <summary>Floats of 16 bits in the lower halves of lanes.</summary>
internal interface IHalfFloats
{
    /// <summary>The same in float32.</summary>
    static abstract Vector256<float> Widen(Vector256<uint> floats);
}

/// <summary>bfloat16.</summary>
internal readonly struct BrainFloats : IHalfFloats
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Widen(Vector256<uint> floats) => (floats << 16).AsSingle();
}

/// <summary>IEEE half precision.</summary>
internal readonly struct HalfFloats : IHalfFloats
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Widen(Vector256<uint> floats) => HalfConversions.F16ToF32(floats);
}
