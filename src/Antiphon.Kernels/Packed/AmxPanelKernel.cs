using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// The kernel for many tokens: one or two strips of bfloat16 tiles times one or two groups of tokens at a time, so that each tile loaded is used twice.
/// Each output is the same chain of products as in <see cref="AmxStreamKernel"/>.
/// </summary>
internal static class AmxPanelKernel
{
    /// <summary>Bytes of scratch memory.</summary>
    public const int ScratchBytes = AmxOutput.ScratchBytes;

    private const int TileBytes = 1024;

    /// <summary>The shapes of the tile registers.</summary>
    /// <param name="groups">Groups of tokens, 1 or 2.</param>
    /// <param name="lastTokens">Tokens of the last group.</param>
    public static TileConfig Config(int groups, int lastTokens)
    {
        TileConfig config = default;
        for (int group = 0; group < groups; group++)
        {
            int bytes = group == groups - 1 ? 4 * lastTokens : 64;
            config.Set(2 * group, 16, bytes);
            config.Set((2 * group) + 1, 16, bytes);
            config.Set(6 + group, 16, bytes);
        }

        config.Set(4, 16, 64);
        config.Set(5, 16, 64);
        return config;
    }

    /// <summary>Generates the kernel.</summary>
    /// <param name="strips">Strips at a time, 1 or 2.</param>
    /// <param name="groups">Groups of tokens, 1 or 2; all but the last are full.</param>
    public static GeneratedCode Generate(int strips, int groups)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 scratch = kernel.TakeArgument(TileArguments.ScratchField);
        AssemblerRegister64 lastStride = kernel.TakeArgument(TileArguments.LastStrideField);
        AssemblerRegister64 sixtyFour = kernel.Take();
        AssemblerRegister64 steps = kernel.Take();
        AssemblerRegister64[] weights = [kernel.Take(), kernel.Take()];
        AssemblerRegister64[] inputs = [kernel.Take(), kernel.Take()];
        AssemblerRegister64 output = kernel.Take();
        AssemblerRegister64 ahead = kernel.Take();
        code.mov(output, kernel.Argument(TileArguments.ConfigField));
        code.ldtilecfg(__[output]);
        code.mov(sixtyFour, 64);

        Label nextStrips = code.CreateLabel();
        Label nextStep = code.CreateLabel();
        code.mov(weights[1], kernel.Argument(TileArguments.WeightsField));
        code.Label(ref nextStrips);

        // A strip begins where the one before ends.
        code.mov(weights[0], weights[1]);
        if (strips == 2)
        {
            code.add(weights[1], kernel.Argument(TileArguments.StripBytesField));
        }

        code.mov(inputs[0], kernel.Argument(TileArguments.InputField));
        code.mov(inputs[1], inputs[0]);
        code.add(inputs[1], kernel.Argument(TileArguments.GroupBytesField));
        code.mov(steps, kernel.Argument(TileArguments.StepsField));
        for (int group = 0; group < groups; group++)
        {
            for (int strip = 0; strip < strips; strip++)
            {
                code.tilezero(Sum(strip, group));
            }
        }

        code.mov(ahead, kernel.Argument(TileArguments.OutputField));
        code.Label(ref nextStep);

        // Brings the output's lines in while the products run, a token at a time.
        for (int strip = 0; strip < strips; strip++)
        {
            code.prefetchw(__byte_ptr[ahead + (64 * strip)]);
        }

        code.add(ahead, kernel.Argument(TileArguments.OutputStrideField));
        for (int group = 0; group < groups; group++)
        {
            bool last = group == groups - 1;
            if (group == 0)
            {
                code.tileloadd(tmm4, __[weights[0] + (sixtyFour * 1)]);
            }

            code.tileloadd(Tile(6 + group), __[inputs[group] + ((last ? lastStride : sixtyFour) * 1)]);
            code.tdpbf16ps(Sum(0, group), tmm4, Tile(6 + group));
            if (strips == 2)
            {
                if (group == 0)
                {
                    code.tileloadd(tmm5, __[weights[1] + (sixtyFour * 1)]);
                }

                code.tdpbf16ps(Sum(1, group), tmm5, Tile(6 + group));
            }

            if (last)
            {
                code.lea(inputs[group], __[inputs[group] + (lastStride * 8)]);
                code.lea(inputs[group], __[inputs[group] + (lastStride * 8)]);
            }
            else
            {
                code.add(inputs[group], TileBytes);
            }
        }

        code.add(weights[0], TileBytes);
        if (strips == 2)
        {
            code.add(weights[1], TileBytes);
        }

        code.dec(steps);
        code.jnz(nextStep);

        for (int strip = 0; strip < strips; strip++)
        {
            code.mov(output, kernel.Argument(TileArguments.OutputField));
            code.add(output, 64 * strip);
            for (int group = 0; group < groups; group++)
            {
                AmxOutput.Emit(
                    kernel, Sum(strip, group), scratch, sixtyFour, output, group == groups - 1 ? kernel.Argument(TileArguments.TokensField) : null);
            }
        }

        code.add(kernel.Argument(TileArguments.OutputField), 64 * strips);
        code.dec(kernel.Argument(TileArguments.Counter0Field));
        code.jnz(nextStrips);
        code.tilerelease();
        return kernel.Finish();
    }

    private static AssemblerRegisterTMM Sum(int strip, int group) => Tile((2 * group) + strip);

    private static AssemblerRegisterTMM Tile(int number) => new(Register.TMM0 + number);
}
