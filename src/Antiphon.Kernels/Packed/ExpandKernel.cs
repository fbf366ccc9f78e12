using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>Expands consecutive packed tiles into bfloat16 tiles in memory.</summary>
internal static class ExpandKernel
{
    private const int PrefetchDistance = 4096;

    /// <summary>Generates the kernel of a format that has codes.</summary>
    public static GeneratedCode Generate(PackedFormat format)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 scratch = kernel.TakeArgument(TileArguments.ScratchField);
        AssemblerRegister64 weights = kernel.TakeArgument(TileArguments.WeightsField);
        AssemblerRegister64 output = kernel.TakeArgument(TileArguments.OutputField);
        AssemblerRegister64 tiles = kernel.TakeArgument(TileArguments.TilesField);
        AssemblerRegister64 tilesToHeader = kernel.Take();
        TileExpander expander = TileExpander.Create(format, kernel, scratch);
        expander.PrefetchBetweenRows(weights, PrefetchDistance);
        expander.EmitConstants();
        code.mov(tilesToHeader, 1);
        Label next = code.CreateLabel();
        code.Label(ref next);
        if (format.HeaderBytes > 0)
        {
            Label noHeader = code.CreateLabel();
            code.dec(tilesToHeader);
            code.jnz(noHeader);
            code.mov(tilesToHeader, PackedFormat.SuperTiles);
            expander.EmitHeader(weights);
            code.add(weights, format.HeaderBytes);
            code.Label(ref noHeader);
            code.nop();
        }

        expander.EmitTile(weights, __zmmword_ptr[output]);
        code.add(weights, format.TileBytes);
        code.add(output, 1024);
        code.dec(tiles);
        code.jnz(next);
        return kernel.Finish();
    }
}
