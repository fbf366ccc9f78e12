using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Antiphon.Kernels.MultiScale;

/// <summary>
/// Where the parts of an unpacked strip lie: the values of every tile, as signed bytes in groups (see <see cref="CodeLayout"/>); the scales of its blocks,
/// vectors of 16 floats; and where there are minimums, for every tile a vector of 16 floats, or for every super-block such a vector and the multiples
/// of its blocks as bytes, four blocks in the dwords of each vector.
/// </summary>
internal readonly struct UnpackedStrip
{
    /// <summary>Bytes of a tile's values.</summary>
    public const int TileBytes = CodeLayout.StripRows * CodeLayout.TileColumns;

    /// <summary>The parts of a strip.</summary>
    public UnpackedStrip(CodeLayout layout, int columns)
    {
        long steps = CodeLayout.Steps(columns);
        ScalesAt = steps * TileBytes;
        MinimumsAt = ScalesAt + (64 * layout.SubBlocks * steps);
        MinimumBytes = layout.Scales == CodeScales.HalfWithMinimum ? 64 : layout.HasSuperMinimum ? 64 + (128 * layout.SubBlocks) : 0;
        ByteCount = MinimumsAt + (MinimumBytes * (layout.HasSuperMinimum ? (steps + CodeLayout.SuperTiles - 1) / CodeLayout.SuperTiles : steps));
    }

    /// <summary>Where the scales begin.</summary>
    public long ScalesAt { get; }

    /// <summary>Where the minimums begin.</summary>
    public long MinimumsAt { get; }

    /// <summary>Bytes of minimums for each tile or super-block.</summary>
    public int MinimumBytes { get; }

    /// <summary>Bytes of all.</summary>
    public long ByteCount { get; }

    /// <summary>Unpacks a strip without generated code.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="columns">Columns of the matrix.</param>
    /// <param name="strip">The strip.</param>
    /// <param name="destination">Room for <see cref="ByteCount"/> bytes.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static unsafe void Unpack(CodeLayout layout, int columns, byte* strip, byte* destination)
    {
        UnpackedStrip parts = new(layout, columns);
        int steps = CodeLayout.Steps(columns);
        byte* codes = strip + layout.CodesAt(columns);
        Vector128<byte> table = Vector128<byte>.Zero;
        if (layout.Table is { } values)
        {
            table = Vector128.LoadUnsafe(ref values[0]).AsByte();
        }

        for (int step = 0; step < steps; step++, codes += layout.TileBytes)
        {
            for (int at = 0; at < TileBytes; at += 16)
            {
                int group = at / 64;
                Vector128<byte> code = Plane(codes, layout.LowBits);
                if (layout.HighBits > 0)
                {
                    code |= Plane(codes + (64 * layout.LowBits), layout.HighBits) << layout.LowBits;
                }

                code = layout.Table is not null ? Vector128.Shuffle(table, code)
                    : layout.IsPlain ? code
                    : code - Vector128.Create((byte)layout.Offset);
                code.Store(destination + ((long)step * TileBytes) + at);

                Vector128<byte> Plane(byte* plane, int bits) =>
                    (Vector128.Load(plane + (group % bits * 64) + (at % 64)) >>> (group / bits * bits)) & Vector128.Create((byte)((1 << bits) - 1));
            }

            for (int block = step * layout.SubBlocks; block < (step + 1) * layout.SubBlocks; block++)
            {
                float* scales = (float*)(destination + parts.ScalesAt) + (16L * block);
                for (int row = 0; row < CodeLayout.StripRows; row++)
                {
                    scales[row] = layout.Scale(strip, row, block);
                }
            }

            bool super = layout.HasSuperMinimum;
            if (!layout.HasMinimum || (super && step % CodeLayout.SuperTiles > 0))
            {
                continue;
            }

            int first = step * layout.SubBlocks;
            byte* minimums = destination + parts.MinimumsAt + (super ? step / CodeLayout.SuperTiles * (long)parts.MinimumBytes : step * 64L);
            for (int row = 0; row < CodeLayout.StripRows; row++)
            {
                ((float*)minimums)[row] = layout.Minimum(strip, row, first).Unit;
                for (int block = 0; super && block < CodeLayout.SuperTiles * layout.SubBlocks; block++)
                {
                    minimums[64 + (block / 4 * 64) + (4 * row) + (block % 4)] = (byte)-layout.Minimum(strip, row, first + block).Multiple;
                }
            }
        }
    }
}
