using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.MultiScale;

/// <summary>Rewrites rows of a file format as strips of <see cref="CodeLayout"/>.</summary>
internal static unsafe class CodePacker
{
    /// <summary>Packs strips of rows.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="rows">Rows of the matrix.</param>
    /// <param name="columns">Columns of the matrix: whole blocks.</param>
    /// <param name="source">The first row in file layout.</param>
    /// <param name="destination">Receives the strips: zeroed memory for all of them.</param>
    /// <param name="team">Who packs.</param>
    public static void Pack(CodeLayout layout, int rows, int columns, byte* source, byte* destination, ComputeTeam team)
    {
        int strips = (int)(((long)rows + CodeLayout.StripRows - 1) / CodeLayout.StripRows);
        PackWork work = new()
        {
            Layout = layout,
            Rows = rows,
            Columns = columns,
            Source = source,
            Destination = destination,
            RowBytes = layout.Format.ByteCount(columns),
            StripBytes = layout.StripBytes(columns),
            Strip = Strip(layout.Format),
        };

        // About a quarter of a megabyte each: large against the cost of a chunk, small against the matrix.
        work.StripsPerChunk = (int)Math.Clamp((256 << 10) / Math.Max(work.StripBytes, 1), 1, 1 << 20);
        team.Run(ref work, (strips + work.StripsPerChunk - 1) / work.StripsPerChunk);
    }

    private static delegate*<CodeLayout, byte*, long, int, int, byte*, void> Strip(TensorFormat format) => format switch
    {
        TensorFormat.Q8_0 => &PackStrip<Q8_0Reader>,
        TensorFormat.Q4_0 or TensorFormat.IQ4_NL => &PackStrip<Q4_0Reader>,
        TensorFormat.Q4_1 => &PackStrip<Q4_1Reader>,
        TensorFormat.Q5_0 => &PackStrip<Q5_0Reader>,
        TensorFormat.Q5_1 => &PackStrip<Q5_1Reader>,
        TensorFormat.Q2_K => &PackStrip<Q2_KReader>,
        TensorFormat.Q3_K => &PackStrip<Q3_KReader>,
        TensorFormat.Q4_K => &PackStrip<Q4_KReader>,
        TensorFormat.Q5_K => &PackStrip<Q5_KReader>,
        TensorFormat.Q6_K => &PackStrip<Q6_KReader>,
        TensorFormat.IQ4_XS => &PackStrip<IQ4_XSReader>,
        TensorFormat.MXFP4 => &PackStrip<MXFP4Reader>,
        _ => throw new NotSupportedException($"{format} has no integer codes"),
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackStrip<TReader>(CodeLayout layout, byte* source, long rowBytes, int rows, int columns, byte* strip)
        where TReader : struct, IBlockReader
    {
        const int TileCodes = CodeLayout.StripRows * CodeLayout.TileColumns;
        byte* groups = stackalloc byte[TileCodes];
        new Span<byte>(groups, TileCodes).Clear();
        byte* subScales = stackalloc byte[CodeLayout.StripRows * 16];
        new Span<byte>(subScales, CodeLayout.StripRows * 16).Clear();
        int blockBytes = layout.Format.BlockBytes();
        int tilesPerBlock = layout.Format.BlockElements() / CodeLayout.TileColumns;
        int steps = CodeLayout.Steps(columns);
        int firstMinimum = CodeLayout.SuperTiles * layout.SubBlocks;
        byte* scales = strip;
        byte* codes = strip + layout.CodesAt(columns);
        for (int step = 0; step < steps; step++, codes += layout.TileBytes)
        {
            byte* block = source + ((long)(step / tilesPerBlock) * blockBytes);
            int tile = step % tilesPerBlock;
            for (int row = 0; row < rows; row++, block += rowBytes)
            {
                // The dwords of a row go to the same lane of the eight groups.
                Vector256<uint> dwords = TReader.Codes(block, tile).AsUInt32();
                uint* lane = (uint*)groups + row;
                for (int group = 0; group < CodeLayout.Groups; group++)
                {
                    lane[CodeLayout.StripRows * group] = dwords.GetElement(group);
                }

                switch (layout.Scales)
                {
                    case CodeScales.Half:
                    case CodeScales.HalfWithMinimum:
                        Unsafe.WriteUnaligned(scales + (2 * row), Unsafe.ReadUnaligned<ushort>(block + TReader.ScaleOffset));
                        if (TReader.MinimumOffset >= 0)
                        {
                            Unsafe.WriteUnaligned(scales + 32 + (2 * row), Unsafe.ReadUnaligned<ushort>(block + TReader.MinimumOffset));
                        }

                        break;
                    case CodeScales.Exponent:
                        scales[row] = *block;
                        break;
                    default:
                        byte* own = subScales + (16 * row) + (tile * layout.SubBlocks);
                        Vector256<byte> all = TReader.SubScales(block);
                        int sub = tile * layout.SubBlocks;
                        own[0] = Stored(all[sub], all[16 + sub]);
                        if (layout.SubBlocks == 2)
                        {
                            own[1] = Stored(all[sub + 1], all[16 + sub + 1]);
                        }

                        if (layout.Scales == CodeScales.SuperSixesWithMinimum)
                        {
                            own[firstMinimum] = all[16 + sub];
                        }

                        if (tile == 0)
                        {
                            Unsafe.WriteUnaligned(scales + (2 * row), Unsafe.ReadUnaligned<ushort>(block + TReader.ScaleOffset));
                            if (TReader.MinimumOffset >= 0)
                            {
                                Unsafe.WriteUnaligned(scales + 32 + (2 * row), Unsafe.ReadUnaligned<ushort>(block + TReader.MinimumOffset));
                            }
                        }

                        break;
                }
            }

            scales += layout.TileScaleBytes;
            if (layout.HeaderBytes > 0 && tile == CodeLayout.SuperTiles - 1)
            {
                PackSubScales(layout, subScales, scales + layout.HeaderBytes - (64 * layout.SubScaleVectors));
                scales += layout.HeaderBytes;
            }

            if (layout.IsPlain)
            {
                // The reader gives unsigned bytes, the layout has the file's.
                for (int group = 0; group < CodeLayout.Groups; group++)
                {
                    (Vector512.Load(groups + (64 * group)) ^ Vector512.Create((byte)0x80)).Store(codes + (64 * group));
                }
            }
            else
            {
                PackPlane(groups, 0, layout.LowBits, codes);
                if (layout.HighBits > 0)
                {
                    PackPlane(groups, layout.LowBits, layout.HighBits, codes + (64 * layout.LowBits));
                }
            }
        }

        byte Stored(byte scale, byte minimum) => layout.Scales switch
        {
            CodeScales.SuperSixes => (byte)(scale + 32),
            CodeScales.SuperNibblesWithMinimum => (byte)(scale | (minimum << 4)),
            _ => scale,
        };
    }

    /// <summary>Some bits of the codes of all groups.</summary>
    private static void PackPlane(byte* groups, int firstBit, int bits, byte* plane)
    {
        for (int vector = 0; vector < bits; vector++)
        {
            Vector512<byte> mask = Vector512.Create((byte)((1 << bits) - 1));
            Vector512<byte> packed = Vector512<byte>.Zero;
            for (int field = 0; field * bits < 8; field++)
            {
                Vector512<byte> codes = (Vector512.Load(groups + (64 * (vector + (field * bits)))) >>> firstBit) & mask;
                packed |= (codes.AsUInt16() << (field * bits)).AsByte();
            }

            packed.Store(plane + (64 * vector));
        }
    }

    private static void PackSubScales(CodeLayout layout, byte* subScales, byte* vectors)
    {
        bool sixes = layout.Scales is CodeScales.SuperSixes or CodeScales.SuperSixesWithMinimum;
        for (int row = 0; row < CodeLayout.StripRows; row++)
        {
            uint* own = (uint*)(subScales + (16 * row));
            for (int vector = 0; vector < layout.SubScaleVectors; vector++)
            {
                uint dword = own[vector];
                if (sixes)
                {
                    dword |= (own[3] >> (2 * vector) & 0x03030303) << 6;
                }

                ((uint*)(vectors + (64 * vector)))[row] = dword;
            }
        }
    }

    [StructLayout(LayoutKind.Auto)]
    private struct PackWork : IParallelWork
    {
        public CodeLayout Layout;
        public int Rows;
        public int Columns;
        public byte* Source;
        public byte* Destination;
        public long RowBytes;
        public long StripBytes;
        public int StripsPerChunk;
        public delegate*<CodeLayout, byte*, long, int, int, byte*, void> Strip;

        public readonly void Execute(int chunk, int worker)
        {
            long first = (long)chunk * StripsPerChunk;
            for (long strip = first; strip < first + StripsPerChunk && strip * CodeLayout.StripRows < Rows; strip++)
            {
                long row = strip * CodeLayout.StripRows;
                int count = (int)Math.Min(CodeLayout.StripRows, Rows - row);
                Strip(Layout, Source + (row * RowBytes), RowBytes, count, Columns, Destination + (strip * StripBytes));
            }
        }
    }
}
