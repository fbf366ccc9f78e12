using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// Emits code that turns one packed tile into 16 rows of 32 bfloat16 values, 64 bytes a row. What it computes is <see cref="PackedFormat"/>'s definition;
/// it may use every vector register, and keeps nothing in them from tile to tile but what <see cref="EmitConstants"/> loads.
/// </summary>
internal abstract class TileExpander
{
    /// <summary>Bytes of scratch memory that the code uses between tiles: scales and offsets, of the super-block and of the tile.</summary>
    public const int ScratchBytes = 512;

    // Scratch: the scales of a tile as floats, its offsets, and those of the super-block, each with two sub-blocks at most.
    private const int TileScales = 0;
    private const int TileOffsets = 128;
    private const int SuperScales = 256;
    private const int SuperOffsets = 384;

    private readonly AssemblerRegister64 scratch;

    /// <summary>An expander whose code is added to a kernel.</summary>
    /// <param name="format">The packed format.</param>
    /// <param name="kernel">The kernel.</param>
    /// <param name="scratch">Holds the address of <see cref="ScratchBytes"/> bytes, aligned to 64.</param>
    protected TileExpander(PackedFormat format, KernelAssembler kernel, AssemblerRegister64 scratch)
    {
        Format = format;
        Kernel = kernel;
        Code = kernel.Code;
        this.scratch = scratch;
    }

    protected PackedFormat Format { get; }

    protected KernelAssembler Kernel { get; }

    protected Assembler Code { get; }

    /// <summary>The expander of a format, which must not be one of plain values.</summary>
    public static TileExpander Create(PackedFormat format, KernelAssembler kernel, AssemblerRegister64 scratch) => format.Codes switch
    {
        PackedCodes.Table when format.Bits == 5 => new LargeTableExpander(format, kernel, scratch),
        PackedCodes.Table => new SmallTableExpander(format, kernel, scratch),
        PackedCodes.Bytes => new ByteExpander(format, kernel, scratch),
        PackedCodes.Sixes => new SixBitExpander(format, kernel, scratch),
        _ => throw new ArgumentOutOfRangeException(nameof(format)),
    };

    /// <summary>Spreads the fetching of a later tile over the rows: all at once, the fetches would wait for each other and hold up what follows them.</summary>
    /// <param name="tile">Holds the address of the tile that is expanded.</param>
    /// <param name="distance">Bytes from it to what is fetched.</param>
    public void PrefetchBetweenRows(AssemblerRegister64 tile, int distance)
    {
        int lines = (Format.TileBytes + 63) / 64;
        AfterRow = row =>
        {
            for (int line = row * lines / 16; line < (row + 1) * lines / 16; line++)
            {
                Code.prefetcht0(__byte_ptr[tile + (distance + (64 * line))]);
            }
        };
    }

    /// <summary>Called after each of a tile's 16 rows: may add instructions that use no vector register.</summary>
    protected Action<int>? AfterRow { get; private set; }

    /// <summary>Loads the registers that every tile needs. To be repeated when something else has used them.</summary>
    public abstract void EmitConstants();

    /// <summary>Reads the header of a super-block.</summary>
    public void EmitHeader(AssemblerRegister64 header)
    {
        EmitHeaderPart(header, 0, SuperScales, negate: false);
        if (Format.Scales == PackedScales.SuperWithOffset)
        {
            EmitHeaderPart(header, 32, SuperOffsets, negate: true);
        }
    }

    /// <summary>Expands one tile.</summary>
    /// <param name="tile">Holds the address of the tile.</param>
    /// <param name="destination">Where the 1024 bytes go, aligned to 64.</param>
    public void EmitTile(AssemblerRegister64 tile, AssemblerMemoryOperand destination)
    {
        EmitScales(tile);
        EmitCodes(tile, destination);
    }

    protected abstract void EmitCodes(AssemblerRegister64 tile, AssemblerMemoryOperand destination);

    /// <summary>What a kernel that needs S * factor as the offset of every sub-block returns; 0: the offsets are the format's.</summary>
    protected virtual float OffsetFactor => 0;

    /// <summary>The scale of a row's sub-block, as an operand for a broadcast.</summary>
    protected AssemblerRegister64 Scratch => scratch;

    protected int ScaleAt(int row, int subBlock = 0) => TileScales + (4 * ((row * Format.SubBlocks) + subBlock));

    protected int OffsetAt(int row, int subBlock = 0) => TileOffsets + (4 * ((row * Format.SubBlocks) + subBlock));

    private void EmitHeaderPart(AssemblerRegister64 header, int from, int to, bool negate)
    {
        Code.vcvtph2ps(zmm0, __ymmword_ptr[header + from]);
        if (negate)
        {
            Code.vpxord(zmm0, zmm0, Kernel.Vector(_ => 0x80000000));
        }

        if (Format.SubBlocks == 1)
        {
            Code.vmovaps(__zmmword_ptr[scratch + to], zmm0);
            return;
        }

        for (int half = 0; half < 2; half++)
        {
            Code.vmovdqa32(zmm1, Kernel.Vector(i => (uint)((8 * half) + (i / 2))));
            Code.vpermps(zmm1, zmm1, zmm0);
            Code.vmovaps(__zmmword_ptr[scratch + to + (64 * half)], zmm1);
        }
    }

    private void EmitScales(AssemblerRegister64 tile)
    {
        for (int part = 0; part < Format.SubBlocks; part++)
        {
            int to = 64 * part;
            switch (Format.Scales)
            {
                case PackedScales.Half:
                    Code.vcvtph2ps(zmm0, __ymmword_ptr[tile]);
                    break;
                case PackedScales.HalfWithOffset:
                    Code.vcvtph2ps(zmm0, __ymmword_ptr[tile]);
                    Code.vcvtph2ps(zmm1, __ymmword_ptr[tile + 32]);
                    break;
                case PackedScales.BFloat:
                    Code.vpmovzxwd(zmm0, __ymmword_ptr[tile]);
                    Code.vpslld(zmm0, zmm0, 16);
                    break;
                case PackedScales.Super:
                    Code.vpmovsxbd(zmm0, __xmmword_ptr[tile + (16 * part)]);
                    Code.vcvtdq2ps(zmm0, zmm0);
                    Code.vmulps(zmm0, zmm0, __zmmword_ptr[scratch + SuperScales + to]);
                    break;
                case PackedScales.SuperWithOffset:
                    Code.vpmovzxbd(zmm0, __xmmword_ptr[tile + (16 * part)]);
                    Code.vpmovzxbd(zmm1, __xmmword_ptr[tile + (16 * (Format.SubBlocks + part))]);
                    Code.vcvtdq2ps(zmm0, zmm0);
                    Code.vcvtdq2ps(zmm1, zmm1);
                    Code.vmulps(zmm0, zmm0, __zmmword_ptr[scratch + SuperScales + to]);
                    Code.vmulps(zmm1, zmm1, __zmmword_ptr[scratch + SuperOffsets + to]);
                    break;
            }

            Code.vmovaps(__zmmword_ptr[scratch + TileScales + to], zmm0);
            if (OffsetFactor != 0)
            {
                Code.vmulps(zmm1, zmm0, Kernel.Floats(_ => OffsetFactor));
            }

            if (Format.HasOffset || OffsetFactor != 0)
            {
                Code.vmovaps(__zmmword_ptr[scratch + TileOffsets + to], zmm1);
            }
        }
    }
}
