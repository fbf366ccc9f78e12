using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>Writes accumulator tiles, which have a row for each weight row, to outputs, which have a row for each token.</summary>
internal static class AmxOutput
{
    /// <summary>Bytes of scratch memory for one tile.</summary>
    public const int ScratchBytes = 1024;

    /// <summary>Emits the transposition and the stores of one tile. All vector registers change.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="tile">The accumulators.</param>
    /// <param name="scratch">Holds the address of <see cref="ScratchBytes"/> bytes.</param>
    /// <param name="sixtyFour">Holds 64.</param>
    /// <param name="output">Holds the address of the first token's 16 outputs; moves behind the last token written.</param>
    /// <param name="tokens">How many tokens there are, from 1 to 16; null: 16.</param>
    public static void Emit(
        KernelAssembler kernel,
        AssemblerRegisterTMM tile,
        AssemblerRegister64 scratch,
        AssemblerRegister64 sixtyFour,
        AssemblerRegister64 output,
        AssemblerMemoryOperand? tokens)
    {
        Assembler code = kernel.Code;
        code.tilestored(__[scratch + (sixtyFour * 1)], tile);
        for (int row = 0; row < 16; row++)
        {
            code.vmovups(new AssemblerRegisterZMM(Register.ZMM0 + row), __zmmword_ptr[scratch + (64 * row)]);
        }

        Label done = code.CreateLabel();
        AssemblerRegister64 left = kernel.Take();
        if (tokens is { } count)
        {
            code.mov(left, count);
        }

        AssemblerRegisterZMM[] columns = Transposition.Emit(code);
        for (int token = 0; token < 16; token++)
        {
            code.vmovups(__zmmword_ptr[output], columns[token]);
            code.add(output, kernel.Argument(TileArguments.OutputStrideField));
            if (tokens is not null)
            {
                code.dec(left);
                code.jz(done);
            }
        }

        code.Label(ref done);
        code.nop();
        kernel.Release(left);
    }
}
