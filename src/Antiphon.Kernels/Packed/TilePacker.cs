using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels.Packed;

/// <summary>Rewrites rows of a file format as strips of <see cref="PackedFormat"/>.</summary>
internal static unsafe class TilePacker
{
    /// <summary>Packs strips of rows.</summary>
    /// <param name="format">The packed format.</param>
    /// <param name="rows">Rows of the matrix.</param>
    /// <param name="columns">Columns of the matrix: whole blocks.</param>
    /// <param name="source">The first row in file layout.</param>
    /// <param name="destination">Receives the strips: zeroed memory for all of them.</param>
    /// <param name="team">Who packs.</param>
    public static void Pack(PackedFormat format, int rows, int columns, byte* source, byte* destination, ComputeTeam team)
    {
        int strips = (rows + PackedFormat.StripRows - 1) / PackedFormat.StripRows;
        PackWork work = new()
        {
            Format = format,
            Rows = rows,
            Columns = columns,
            Source = source,
            Destination = destination,
            RowBytes = format.Format.ByteCount(columns),
            StripBytes = format.StripBytes(columns),
        };

        // About a megabyte each: large against the cost of a chunk, small against the matrix.
        work.StripsPerChunk = (int)Math.Clamp((1 << 20) / Math.Max(work.StripBytes, 1), 1, 1 << 20);
        team.Run(ref work, (strips + work.StripsPerChunk - 1) / work.StripsPerChunk);
    }

    private static void PackStrip(PackedFormat format, byte* source, long rowBytes, int rows, int columns, byte* strip)
    {
        switch (format.Format)
        {
            case TensorFormat.BF16:
                PackValues(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.Q8_0:
                PackBlocks<Q8_0Reader>(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.Q4_0:
            case TensorFormat.IQ4_NL:
                PackBlocks<Q4_0Reader>(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.Q4_1:
                PackBlocks<Q4_1Reader>(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.Q5_0:
                PackBlocks<Q5_0Reader>(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.Q5_1:
                PackBlocks<Q5_1Reader>(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.Q2_K:
                PackBlocks<Q2_KReader>(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.Q3_K:
                PackBlocks<Q3_KReader>(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.Q4_K:
                PackBlocks<Q4_KReader>(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.Q5_K:
                PackBlocks<Q5_KReader>(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.Q6_K:
                PackBlocks<Q6_KReader>(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.IQ4_XS:
                PackBlocks<IQ4_XSReader>(format, source, rowBytes, rows, columns, strip);
                break;
            case TensorFormat.MXFP4:
                PackBlocks<MXFP4Reader>(format, source, rowBytes, rows, columns, strip);
                break;
            default:
                throw new NotSupportedException($"{format.Format} has no packed form");
        }
    }

    private static void PackValues(PackedFormat format, byte* source, long rowBytes, int rows, int columns, byte* strip)
    {
        for (int row = 0; row < rows; row++)
        {
            byte* from = source + (row * rowBytes);
            for (int step = 0; step < PackedFormat.Steps(columns); step++)
            {
                int bytes = 2 * Math.Min(PackedFormat.TileColumns, columns - (step * PackedFormat.TileColumns));
                Buffer.MemoryCopy(from + (64L * step), strip + format.TileOffset(step) + (64 * row), bytes, bytes);
            }
        }
    }

    private static void PackBlocks<TReader>(PackedFormat format, byte* source, long rowBytes, int rows, int columns, byte* strip)
        where TReader : struct, IBlockReader
    {
        byte* codes = stackalloc byte[PackedFormat.StripRows * PackedFormat.TileColumns];
        new Span<byte>(codes, PackedFormat.StripRows * PackedFormat.TileColumns).Clear();
        int blockBytes = format.Format.BlockBytes();
        int tilesPerBlock = format.Format.BlockElements() / PackedFormat.TileColumns;
        int steps = PackedFormat.Steps(columns);
        for (int step = 0; step < steps; step++)
        {
            byte* tile = strip + format.TileOffset(step);
            byte* block = source + ((long)(step / tilesPerBlock) * blockBytes);
            int tileInBlock = step % tilesPerBlock;
            bool header = format.HeaderBytes > 0;
            for (int row = 0; row < rows; row++, block += rowBytes)
            {
                TReader.Codes(block, tileInBlock).Store(codes + (row * PackedFormat.TileColumns));
                if (!header)
                {
                    ushort scale = TReader.ScaleOffset < 0 ? MXFP4Reader.PowerOfTwo(*block) : Unsafe.ReadUnaligned<ushort>(block + TReader.ScaleOffset);
                    Unsafe.WriteUnaligned(tile + (2 * row), scale);
                    if (TReader.MinimumOffset >= 0)
                    {
                        Unsafe.WriteUnaligned(tile + 32 + (2 * row), Unsafe.ReadUnaligned<ushort>(block + TReader.MinimumOffset));
                    }

                    continue;
                }

                byte* scales = tile + (row * format.SubBlocks);
                TReader.SubScales(block, tileInBlock, scales, scales + (PackedFormat.StripRows * format.SubBlocks));
                if (tileInBlock == 0)
                {
                    Unsafe.WriteUnaligned(tile - format.HeaderBytes + (2 * row), Unsafe.ReadUnaligned<ushort>(block + TReader.ScaleOffset));
                    if (TReader.MinimumOffset >= 0)
                    {
                        Unsafe.WriteUnaligned(tile - format.HeaderBytes + 32 + (2 * row), Unsafe.ReadUnaligned<ushort>(block + TReader.MinimumOffset));
                    }
                }
            }

            byte* packed = tile + format.ScaleBytes;
            switch (format.Codes)
            {
                case PackedCodes.Bytes:
                    PackBytes(codes, packed);
                    break;
                case PackedCodes.Sixes:
                    PackSixes(codes, packed);
                    break;
                default:
                    PackTable(codes, packed, format.Bits);
                    break;
            }
        }
    }

    private static void PackBytes(byte* codes, byte* packed)
    {
        for (int pair = 0; pair < 8; pair++, codes += 64, packed += 64)
        {
            Vector512<uint> dwords = Dwords(codes) | (Dwords(codes + 16) << 8) | (Dwords(codes + 32) << 16) | (Dwords(codes + 48) << 24);
            dwords.AsByte().Store(packed);
        }
    }

    private static void PackSixes(byte* codes, byte* packed)
    {
        for (int half = 0; half < 2; half++, codes += 256, packed += 192)
        {
            Vector512<uint> last = Dwords(codes + 240);
            for (int word = 0; word < 3; word++)
            {
                byte* from = codes + (80 * word);
                Vector512<uint> dwords = (last >>> (2 * word)) & Vector512.Create(3u);
                dwords |= (Dwords(from) << 14) | (Dwords(from + 16) << 20) | (Dwords(from + 32) << 26) | (Dwords(from + 48) << 8) | (Dwords(from + 64) << 2);
                dwords.AsByte().Store(packed + (64 * word));
            }
        }
    }

    private static void PackTable(byte* codes, byte* packed, int bits)
    {
        int fields = 16 / bits;
        Vector512<ushort> last = Words(codes + (15 * PackedFormat.TileColumns));
        for (int word = 0; word < bits; word++)
        {
            Vector512<ushort> words = fields * bits == 16 ? Vector512<ushort>.Zero : (last >>> word) << 15;
            for (int field = 0; field < fields; field++)
            {
                words |= Words(codes + (((word * fields) + field) * PackedFormat.TileColumns)) << (field * bits);
            }

            words.AsByte().Store(packed + (64 * word));
        }
    }

    private static Vector512<uint> Dwords(byte* bytes)
    {
        if (Avx512F.IsSupported)
        {
            return Avx512F.ConvertToVector512UInt32(Vector128.Load(bytes));
        }

        (Vector128<ushort> low, Vector128<ushort> high) = Vector128.Widen(Vector128.Load(bytes));
        return Vector512.Create(Vector256.Create(Vector128.WidenLower(low), Vector128.WidenUpper(low)), Vector256.Create(Vector128.WidenLower(high), Vector128.WidenUpper(high)));
    }

    private static Vector512<ushort> Words(byte* bytes)
    {
        if (Avx512BW.IsSupported)
        {
            return Avx512BW.ConvertToVector512UInt16(Vector256.Load(bytes));
        }

        (Vector256<ushort> low, Vector256<ushort> high) = Vector256.Widen(Vector256.Load(bytes));
        return Vector512.Create(low, high);
    }

    [StructLayout(LayoutKind.Auto)]
    private struct PackWork : IParallelWork
    {
        public PackedFormat Format;
        public int Rows;
        public int Columns;
        public byte* Source;
        public byte* Destination;
        public long RowBytes;
        public long StripBytes;
        public int StripsPerChunk;

        public readonly void Execute(int chunk, int worker)
        {
            long first = (long)chunk * StripsPerChunk;
            for (long strip = first; strip < first + StripsPerChunk && strip * PackedFormat.StripRows < Rows; strip++)
            {
                long row = strip * PackedFormat.StripRows;
                int count = (int)Math.Min(PackedFormat.StripRows, Rows - row);
                PackStrip(Format, Source + (row * RowBytes), RowBytes, count, Columns, Destination + (strip * StripBytes));
            }
        }
    }
}
