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

        // Large against the cost of a chunk, small against the matrix.
        work.StripsPerChunk = (int)Math.Clamp((64 << 10) / Math.Max(work.StripBytes, 1), 1, 1 << 20);
        work.Pages = new FreshPages(destination, strips * work.StripBytes);
        team.Run(ref work, work.Pages.Count + ((strips + work.StripsPerChunk - 1) / work.StripsPerChunk));
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

    // Compiled with all optimisations at once: a model is packed before the runtime would get to it.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackValues(PackedFormat format, byte* source, long rowBytes, int rows, int columns, byte* strip)
    {
        int whole = columns / PackedFormat.TileColumns;
        for (int step = 0; step < whole; step++)
        {
            byte* from = source + (64L * step);
            byte* to = strip + format.TileOffset(step);
            for (int row = 0; row < rows; row++, from += rowBytes, to += 64)
            {
                Vector256.Load(from).Store(to);
                Vector256.Load(from + 32).Store(to + 32);
            }
        }

        int rest = 2 * (columns % PackedFormat.TileColumns);
        for (int row = 0; row < rows && rest > 0; row++)
        {
            Buffer.MemoryCopy(source + (row * rowBytes) + (64L * whole), strip + format.TileOffset(whole) + (64 * row), rest, rest);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackBlocks<TReader>(PackedFormat format, byte* source, long rowBytes, int rows, int columns, byte* strip)
        where TReader : struct, IBlockReader
    {
        byte* codes = stackalloc byte[PackedFormat.StripRows * PackedFormat.TileColumns];
        new Span<byte>(codes, PackedFormat.StripRows * PackedFormat.TileColumns).Clear();

        // Of each row's super-block: 16 bytes of scales, 16 of offsets.
        byte* subScales = stackalloc byte[PackedFormat.StripRows * 32];
        int blockBytes = format.Format.BlockBytes();
        int tilesPerBlock = format.Format.BlockElements() / PackedFormat.TileColumns;
        int steps = PackedFormat.Steps(columns);
        int headerBytes = format.HeaderBytes;
        int subBlocks = format.SubBlocks;
        int scaleBytes = format.ScaleBytes;
        int tileBytes = format.TileBytes;
        PackedCodes kind = format.Codes;
        int bits = format.Bits;
        byte* tile = strip;
        byte* next = source + (rows * rowBytes);
        for (int step = 0, tileInBlock = 0; step < steps; step++, tile += tileBytes)
        {
            byte* block = source;
            if (tileInBlock == 0)
            {
                next = NextStrip.Fetch(next, rows * blockBytes);
            }

            if (headerBytes > 0 && tileInBlock == 0)
            {
                for (int row = 0; row < rows; row++, block += rowBytes)
                {
                    Unsafe.WriteUnaligned(tile + (2 * row), Unsafe.ReadUnaligned<ushort>(block + TReader.ScaleOffset));
                    if (TReader.MinimumOffset >= 0)
                    {
                        Unsafe.WriteUnaligned(tile + 32 + (2 * row), Unsafe.ReadUnaligned<ushort>(block + TReader.MinimumOffset));
                    }

                    TReader.SubScales(block).Store(subScales + (32 * row));
                }

                block = source;
                tile += headerBytes;
            }

            byte* to = codes;
            for (int row = 0; row < rows; row++, block += rowBytes, to += PackedFormat.TileColumns)
            {
                TReader.Codes(block, tileInBlock).Store(to);
                if (headerBytes == 0)
                {
                    ushort scale = TReader.ScaleOffset < 0 ? MXFP4Reader.PowerOfTwo(*block) : Unsafe.ReadUnaligned<ushort>(block + TReader.ScaleOffset);
                    Unsafe.WriteUnaligned(tile + (2 * row), scale);
                    if (TReader.MinimumOffset >= 0)
                    {
                        Unsafe.WriteUnaligned(tile + 32 + (2 * row), Unsafe.ReadUnaligned<ushort>(block + TReader.MinimumOffset));
                    }
                }
            }

            if (headerBytes > 0)
            {
                byte* of = subScales + (subBlocks * tileInBlock);
                if (subBlocks == 1)
                {
                    CopyColumn<byte>(of, tile, rows);
                    if (TReader.MinimumOffset >= 0)
                    {
                        CopyColumn<byte>(of + 16, tile + PackedFormat.StripRows, rows);
                    }
                }
                else
                {
                    CopyColumn<ushort>(of, tile, rows);
                    if (TReader.MinimumOffset >= 0)
                    {
                        CopyColumn<ushort>(of + 16, tile + (2 * PackedFormat.StripRows), rows);
                    }
                }
            }

            byte* packed = tile + scaleBytes;
            switch (kind)
            {
                case PackedCodes.Bytes:
                    PackBytes(codes, packed);
                    break;
                case PackedCodes.Sixes:
                    PackSixes(codes, packed);
                    break;
                default:
                    switch (bits)
                    {
                        case 2:
                            PackTwos(codes, packed);
                            break;
                        case 3:
                            PackThrees(codes, packed);
                            break;
                        case 4:
                            PackFours(codes, packed);
                            break;
                        default:
                            PackFives(codes, packed);
                            break;
                    }

                    break;
            }

            if (++tileInBlock == tilesPerBlock)
            {
                tileInBlock = 0;
                source += blockBytes;
            }
        }
    }

    /// <summary>Brings what lies 32 bytes apart together.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void CopyColumn<T>(byte* from, byte* to, int count)
        where T : unmanaged
    {
        for (int i = 0; i < count; i++, from += 32, to += sizeof(T))
        {
            Unsafe.WriteUnaligned(to, Unsafe.ReadUnaligned<T>(from));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PackBytes(byte* codes, byte* packed)
    {
        if (Avx512Vbmi.IsSupported)
        {
            // Byte b of dword i comes from column i of the b-th 16 columns: 0x30201000 and i in every byte.
            Vector512<uint> lane = Vector512.Create(0u, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            Vector512<byte> order = (Vector512.Create(0x30201000u) | lane | (lane << 8) | (lane << 16) | (lane << 24)).AsByte();
            for (int pair = 0; pair < 8; pair++, codes += 64, packed += 64)
            {
                Avx512Vbmi.PermuteVar64x8(Vector512.Load(codes), order).Store(packed);
            }

            return;
        }

        for (int pair = 0; pair < 8; pair++, codes += 64, packed += 64)
        {
            Vector512<uint> dwords = Dwords(codes) | (Dwords(codes + 16) << 8) | (Dwords(codes + 32) << 16) | (Dwords(codes + 48) << 24);
            dwords.AsByte().Store(packed);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
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

    /// <summary>Words of eight rows: four in each byte.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PackTwos(byte* codes, byte* packed)
    {
        for (int word = 0; word < 2; word++, codes += 256, packed += 64)
        {
            WordsOf(Byte(codes), Byte(codes + 128)).AsByte().Store(packed);
        }

        // Whole words are shifted, of which no bit crosses into the next byte: a code has two.
        static Vector256<byte> Byte(byte* codes) =>
            Vector256.Load(codes) | (Vector256.Load((ushort*)(codes + 32)) << 2).AsByte() | (Vector256.Load((ushort*)(codes + 64)) << 4).AsByte() | (Vector256.Load((ushort*)(codes + 96)) << 6).AsByte();
    }

    /// <summary>Words of four rows: two in each byte.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PackFours(byte* codes, byte* packed)
    {
        for (int word = 0; word < 4; word++, codes += 128, packed += 64)
        {
            WordsOf(Byte(codes), Byte(codes + 64)).AsByte().Store(packed);
        }

        static Vector256<byte> Byte(byte* codes) => Vector256.Load(codes) | (Vector256.Load((ushort*)(codes + 32)) << 4).AsByte();
    }

    /// <summary>Words of five rows, a bit of the last row on top.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PackThrees(byte* codes, byte* packed)
    {
        Vector512<ushort> last = Words(codes + (15 * 32));
        for (int word = 0; word < 3; word++, codes += 5 * 32, packed += 64)
        {
            Vector512<ushort> words = Words(codes) | (Words(codes + 32) << 3) | (Words(codes + 64) << 6) | (Words(codes + 96) << 9) | (Words(codes + 128) << 12) | (last << 15);
            words.AsByte().Store(packed);
            last >>>= 1;
        }
    }

    /// <summary>Words of three rows, a bit of the last row on top.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PackFives(byte* codes, byte* packed)
    {
        Vector512<ushort> last = Words(codes + (15 * 32));
        for (int word = 0; word < 5; word++, codes += 3 * 32, packed += 64)
        {
            Vector512<ushort> words = Words(codes) | (Words(codes + 32) << 5) | (Words(codes + 64) << 10) | (last << 15);
            words.AsByte().Store(packed);
            last >>>= 1;
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

    private static Vector512<ushort> Words(byte* bytes) => Words(Vector256.Load(bytes));

    private static Vector512<ushort> Words(Vector256<byte> bytes)
    {
        if (Avx512BW.IsSupported)
        {
            return Avx512BW.ConvertToVector512UInt16(bytes);
        }

        (Vector256<ushort> low, Vector256<ushort> high) = Vector256.Widen(bytes);
        return Vector512.Create(low, high);
    }

    private static Vector512<ushort> WordsOf(Vector256<byte> low, Vector256<byte> high) => Words(low) | (Words(high) << 8);

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
        public FreshPages Pages;

        public readonly void Execute(int chunk, int worker)
        {
            if (chunk < Pages.Count)
            {
                Pages.Touch(chunk);
                return;
            }

            long first = (long)(chunk - Pages.Count) * StripsPerChunk;
            for (long strip = first; strip < first + StripsPerChunk && strip * PackedFormat.StripRows < Rows; strip++)
            {
                long row = strip * PackedFormat.StripRows;
                int count = (int)Math.Min(PackedFormat.StripRows, Rows - row);
                PackStrip(Format, Source + (row * RowBytes), RowBytes, count, Columns, Destination + (strip * StripBytes));
            }
        }
    }
}
