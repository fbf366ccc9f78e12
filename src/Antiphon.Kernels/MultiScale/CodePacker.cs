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
    /// <param name="tier">The instruction set; null: <see cref="CpuFeatures.DefaultTier"/>. All give the same bytes.</param>
    public static void Pack(CodeLayout layout, int rows, int columns, byte* source, byte* destination, ComputeTeam team, KernelTier? tier = null)
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
            Strip = CpuFeatures.Resolve(tier) == KernelTier.Portable ? Strip<PortableCodeTiles>(layout.Format) : Strip<Avx2CodeTiles>(layout.Format),
            PartialStrip = Strip<PortableCodeTiles>(layout.Format),
        };

        // Large against the cost of a chunk, small against the matrix.
        work.StripsPerChunk = (int)Math.Clamp((64 << 10) / Math.Max(work.StripBytes, 1), 1, 1 << 20);
        work.Pages = new FreshPages(destination, strips * work.StripBytes);
        team.Run(ref work, work.Pages.Count + ((strips + work.StripsPerChunk - 1) / work.StripsPerChunk));
    }

    private static delegate*<in PackWork, byte*, int, byte*, void> Strip<TTiles>(TensorFormat format)
        where TTiles : struct, ICodeTiles => format switch
        {
            TensorFormat.Q8_0 => &PackStrip<Q8_0Reader, TTiles>,
            TensorFormat.Q4_0 or TensorFormat.IQ4_NL => &PackStrip<Q4_0Reader, TTiles>,
            TensorFormat.Q4_1 => &PackStrip<Q4_1Reader, TTiles>,
            TensorFormat.Q5_0 => &PackStrip<Q5_0Reader, TTiles>,
            TensorFormat.Q5_1 => &PackStrip<Q5_1Reader, TTiles>,
            TensorFormat.Q2_K => &PackStrip<Q2_KReader, TTiles>,
            TensorFormat.Q3_K => &PackStrip<Q3_KReader, TTiles>,
            TensorFormat.Q4_K => &PackStrip<Q4_KReader, TTiles>,
            TensorFormat.Q5_K => &PackStrip<Q5_KReader, TTiles>,
            TensorFormat.Q6_K => &PackStrip<Q6_KReader, TTiles>,
            TensorFormat.IQ4_XS => &PackStrip<IQ4_XSReader, TTiles>,
            TensorFormat.MXFP4 => &PackStrip<MXFP4Reader, TTiles>,
            TensorFormat.BF16 => &PackWords<BrainFloats>,
            TensorFormat.F16 => &PackWords<HalfFloats>,
            _ => throw new NotSupportedException($"{format} has no integer codes"),
        };

    // Compiled with all optimisations at once: a model is packed before the runtime would get to it.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackStrip<TReader, TTiles>(in PackWork work, byte* source, int rows, byte* strip)
        where TReader : struct, IBlockReader
        where TTiles : struct, ICodeTiles
    {
        CodeLayout layout = work.Layout;
        long rowBytes = work.RowBytes;
        int blocks = work.Columns / layout.Format.BlockElements();
        int blockBytes = layout.Format.BlockBytes();
        int tilesPerBlock = layout.Format.BlockElements() / CodeLayout.TileColumns;
        int tileBytes = layout.TileBytes;
        uint* multipliers = stackalloc uint[4];
        byte* scales = strip;
        byte* tile = strip + layout.CodesAt(work.Columns);
        byte* next = source + (rows * rowBytes);
        for (int block = 0; block < blocks; block++, source += blockBytes)
        {
            next = NextStrip.Fetch(next, rows * blockBytes);
            byte* row = source;
            for (int i = 0; i < rows; i++, row += rowBytes)
            {
                if (TReader.ScaleOffset < 0)
                {
                    scales[i] = *row;
                    continue;
                }

                Unsafe.WriteUnaligned(scales + (2 * i), Unsafe.ReadUnaligned<ushort>(row + TReader.ScaleOffset));
                if (TReader.MinimumOffset >= 0)
                {
                    Unsafe.WriteUnaligned(scales + 32 + (2 * i), Unsafe.ReadUnaligned<ushort>(row + TReader.MinimumOffset));
                }
            }

            if (layout.HeaderBytes > 0)
            {
                uint* vectors = (uint*)(scales + layout.HeaderBytes - (64 * layout.SubScaleVectors));
                row = source;
                for (int i = 0; i < rows; i++, row += rowBytes)
                {
                    Multipliers(layout.Scales, TReader.SubScales(row)).AsUInt32().Store(multipliers);
                    PackMultipliers(layout, multipliers, vectors + i);
                }
            }

            scales += layout.TileScaleBytes + layout.HeaderBytes;
            for (int part = 0; part < tilesPerBlock; part++, tile += tileBytes)
            {
                TTiles.Pack<TReader>(layout, source, rowBytes, rows, part, tile);
            }
        }
    }

    private static void PackWords<TFloats>(in PackWork work, byte* source, int rows, byte* strip)
        where TFloats : struct, IHalfFloats => WordPacker.Pack<TFloats>(work.Layout, work.Columns, source, work.RowBytes, rows, strip);

    /// <summary>What multiplies the numbers of a super-block in one row, as it is stored: 16 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<byte> Multipliers(CodeScales scales, Vector256<byte> blocks) => scales switch
    {
        CodeScales.SuperSixes => blocks.GetLower() + Vector128.Create((byte)32),
        CodeScales.SuperSixesWithMinimum => Vector128.Create(blocks.GetLower().AsUInt64().ToScalar(), blocks.GetUpper().AsUInt64().ToScalar()).AsByte(),
        CodeScales.SuperNibblesWithMinimum => blocks.GetLower() | (blocks.GetUpper() << 4),
        _ => blocks.GetLower(),
    };

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PackMultipliers(CodeLayout layout, uint* multipliers, uint* vectors)
    {
        bool sixes = layout.Scales is CodeScales.SuperSixes or CodeScales.SuperSixesWithMinimum;
        for (int vector = 0; vector < layout.SubScaleVectors; vector++)
        {
            uint above = sixes ? (multipliers[3] >> (2 * vector) & 0x03030303) << 6 : 0;
            vectors[CodeLayout.StripRows * vector] = multipliers[vector] | above;
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
        public FreshPages Pages;
        public delegate*<in PackWork, byte*, int, byte*, void> Strip;
        public delegate*<in PackWork, byte*, int, byte*, void> PartialStrip;

        public readonly void Execute(int chunk, int worker)
        {
            if (chunk < Pages.Count)
            {
                Pages.Touch(chunk);
                return;
            }

            long first = (long)(chunk - Pages.Count) * StripsPerChunk;
            for (long strip = first; strip < first + StripsPerChunk && strip * CodeLayout.StripRows < Rows; strip++)
            {
                long row = strip * CodeLayout.StripRows;
                int count = (int)Math.Min(CodeLayout.StripRows, Rows - row);
                (count == CodeLayout.StripRows ? Strip : PartialStrip)(in this, Source + (row * RowBytes), count, Destination + (strip * StripBytes));
            }
        }
    }
}
