using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// The kernel without tiles, for any number of tokens: expands 8 tiles into the first-level cache, then runs every token over them with VDPBF16PS,
/// one register of partial sums for each of the 16 rows; the sums of all tokens wait in memory for the next 8 tiles.
/// </summary>
internal static class Avx512Kernel
{
    private const int BlockAt = 512;
    private const int BlockBytes = PackedFormat.SuperTiles * TileBytes;
    private const int SumsAt = BlockAt + BlockBytes;
    private const int TileBytes = 1024;
    private const int SumBytes = 1024;
    private const int PrefetchDistance = 4096;

    /// <summary>Bytes of scratch memory.</summary>
    public static long ScratchBytes(int tokens) => SumsAt + ((long)tokens * SumBytes);

    /// <summary>Generates the kernel.</summary>
    public static GeneratedCode Generate(PackedFormat format)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 scratch = kernel.TakeArgument(TileArguments.ScratchField);
        AssemblerRegister64 weights = kernel.TakeArgument(TileArguments.WeightsField);
        AssemblerRegister64 written = kernel.Take();
        AssemblerRegister64 tiles = kernel.Take();
        AssemblerRegister64 count = kernel.Take();
        AssemblerRegister64 token = kernel.Take();
        AssemblerRegister64 sums = kernel.Take();
        AssemblerRegister64 input = kernel.Take();
        AssemblerRegister64 block = kernel.Take();
        AssemblerRegister64 at = kernel.Take();
        TileExpander? expander = format.Codes == PackedCodes.Values ? null : TileExpander.Create(format, kernel, scratch);

        // Counter0: strips left. Counter1: tiles of the strip left. Counter2: bytes of each token's input that are done.
        Label nextStrip = code.CreateLabel();
        Label nextBlock = code.CreateLabel();
        code.Label(ref nextStrip);
        code.mov(count, kernel.Argument(TileArguments.StepsField));
        code.mov(kernel.Argument(TileArguments.Counter1Field), count);
        code.mov(kernel.Argument(TileArguments.Counter2Field), 0);

        code.Label(ref nextBlock);
        code.mov(tiles, PackedFormat.SuperTiles);
        code.cmp(tiles, kernel.Argument(TileArguments.Counter1Field));
        code.cmova(tiles, kernel.Argument(TileArguments.Counter1Field));
        if (expander is null)
        {
            code.mov(block, weights);
            code.mov(written, tiles);
            code.shl(written, 10);
            code.add(weights, written);
        }
        else
        {
            EmitExpansion(expander);
        }

        EmitTokens();
        code.mov(count, tiles);
        code.shl(count, 6);
        code.add(kernel.Argument(TileArguments.Counter2Field), count);
        code.sub(kernel.Argument(TileArguments.Counter1Field), tiles);
        code.jnz(nextBlock);

        EmitOutputs();
        code.add(kernel.Argument(TileArguments.OutputField), 64);
        code.dec(kernel.Argument(TileArguments.Counter0Field));
        code.jnz(nextStrip);
        return kernel.Finish();

        void EmitExpansion(TileExpander expander)
        {
            expander.EmitConstants();
            if (format.HeaderBytes > 0)
            {
                expander.EmitHeader(weights);
                code.add(weights, format.HeaderBytes);
            }

            code.lea(written, __[scratch + BlockAt]);
            code.mov(block, written);
            code.mov(count, tiles);
            Label nextTile = code.CreateLabel();
            code.Label(ref nextTile);
            for (int line = 0; line < format.TileBytes; line += 64)
            {
                code.prefetcht0(__byte_ptr[weights + PrefetchDistance + line]);
            }

            expander.EmitTile(weights, __zmmword_ptr[written]);
            code.add(weights, format.TileBytes);
            code.add(written, TileBytes);
            code.dec(count);
            code.jnz(nextTile);
        }

        void EmitTokens()
        {
            code.mov(token, kernel.Argument(TileArguments.TokensField));
            code.lea(sums, __[scratch + SumsAt]);
            code.mov(input, kernel.Argument(TileArguments.InputField));
            code.add(input, kernel.Argument(TileArguments.Counter2Field));
            Label nextToken = code.CreateLabel();
            Label go = code.CreateLabel();
            Label load = code.CreateLabel();
            code.Label(ref nextToken);
            code.cmp(kernel.Argument(TileArguments.Counter2Field), 0);
            code.jne(load);
            for (int row = 0; row < 16; row++)
            {
                code.vpxord(Row(row), Row(row), Row(row));
            }

            code.jmp(go);
            code.Label(ref load);
            for (int row = 0; row < 16; row++)
            {
                code.vmovaps(Row(row), __zmmword_ptr[sums + (64 * row)]);
            }

            code.Label(ref go);
            code.mov(at, block);
            code.xor(count, count);
            Label nextTile = code.CreateLabel();
            code.Label(ref nextTile);
            code.vmovups(zmm16, __zmmword_ptr[input + (count * 1)]);
            for (int row = 0; row < 16; row++)
            {
                code.vdpbf16ps(Row(row), zmm16, __zmmword_ptr[at + (64 * row)]);
            }

            code.add(at, TileBytes);
            code.add(count, 64);
            code.mov(written, tiles);
            code.shl(written, 6);
            code.cmp(count, written);
            code.jne(nextTile);
            for (int row = 0; row < 16; row++)
            {
                code.vmovaps(__zmmword_ptr[sums + (64 * row)], Row(row));
            }

            code.add(sums, SumBytes);
            code.add(input, kernel.Argument(TileArguments.GroupBytesField));
            code.dec(token);
            code.jnz(nextToken);
        }

        void EmitOutputs()
        {
            code.mov(token, kernel.Argument(TileArguments.TokensField));
            code.lea(sums, __[scratch + SumsAt]);
            code.mov(at, kernel.Argument(TileArguments.OutputField));
            Label nextToken = code.CreateLabel();
            code.Label(ref nextToken);
            for (int row = 0; row < 16; row++)
            {
                code.vmovaps(Row(row), __zmmword_ptr[sums + (64 * row)]);
            }

            AssemblerRegisterZMM[] lanes = Transposition.Emit(code);
            for (int distance = 8; distance > 0; distance /= 2)
            {
                for (int i = 0; i < distance; i++)
                {
                    code.vaddps(lanes[i], lanes[i], lanes[i + distance]);
                }
            }

            code.vmovups(__zmmword_ptr[at], lanes[0]);
            code.add(at, kernel.Argument(TileArguments.OutputStrideField));
            code.add(sums, SumBytes);
            code.dec(token);
            code.jnz(nextToken);
        }
    }

    private static AssemblerRegisterZMM Row(int row) => new(Register.ZMM0 + row);
}
