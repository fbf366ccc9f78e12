using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>Writes accumulator tiles, which have a row for each weight row, to outputs, which have a row for each token.</summary>
internal static class AmxOutput
{
    /// <summary>Bytes of scratch memory for one tile.</summary>
    public const int ScratchBytes = 1024;

    /// <summary>How often <see cref="EmitTransposed"/> calls back.</summary>
    public const int Places = 16 + 64 + 16;

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
        kernel.Code.tilestored(__[scratch + (sixtyFour * 1)], tile);
        EmitTransposed(kernel, __zmmword_ptr[scratch], output, tokens);
    }

    /// <summary>Emits the transposition and the stores of a tile in memory. All vector registers change.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="tile">The tile, <see cref="ScratchBytes"/> bytes.</param>
    /// <param name="output">Holds the address of the first token's 16 outputs; moves behind the last token.</param>
    /// <param name="tokens">How many tokens there are, from 1 to 16; null: 16.</param>
    /// <param name="between">Called <see cref="Places"/> times on the way: may add instructions that use no vector register.</param>
    public static void EmitTransposed(
        KernelAssembler kernel, AssemblerMemoryOperand tile, AssemblerRegister64 output, AssemblerMemoryOperand? tokens, Action? between = null)
    {
        Assembler code = kernel.Code;
        for (int row = 0; row < 16; row++)
        {
            code.vmovups(new AssemblerRegisterZMM(Register.ZMM0 + row), tile + (64 * row));
            between?.Invoke();
        }

        AssemblerRegisterZMM[] columns = Transposition.Emit(code, between);
        for (int token = 0; token < 16; token++)
        {
            Label missing = code.CreateLabel();
            if (tokens is { } count && token > 0)
            {
                code.cmp(count, token);
                code.jbe(missing);
            }

            code.vmovups(__zmmword_ptr[output], columns[token]);
            code.Label(ref missing);
            code.add(output, kernel.Argument(TileArguments.OutputStrideField));
            between?.Invoke();
        }
    }
}
