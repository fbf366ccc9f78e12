using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// The kernel for many tokens: blocks of one or two strips of bfloat16 tiles times one or two groups of tokens, so that each tile loaded is used twice.
/// While a block is multiplied, the sums of the one before are transposed and written: products and transpositions use different parts of the processor.
/// Each output is the same chain of products as in <see cref="AmxStreamKernel"/>; a chain may be cut after some columns, its sums kept in memory as they are.
/// </summary>
internal static class AmxPanelKernel
{
    /// <summary>Bytes of scratch memory.</summary>
    public const int ScratchBytes = 4 * TileBytes;

    /// <summary>Bytes in which a block keeps its sums for each of its tiles.</summary>
    public const int SumBytes = TileBytes;

    private const int TileBytes = 1024;

    // Steps of products among which the transposition of one tile is spread.
    private const int StepsPerTile = 4;

    // Of each tile of the next tokens, what a block fetches into the second-level cache: eight blocks fetch all.
    private const int NextBytes = 128;

    // Use of a counter: the outputs of the block whose sums wait in scratch memory, or 0.
    private const int Pending = TileArguments.Counter1Field;

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
        AssemblerRegister64 next = kernel.TakeArgument(TileArguments.NextInputField);
        AssemblerRegister64 sixtyFour = kernel.Take();
        AssemblerRegister64 steps = kernel.Take();
        AssemblerRegister64[] weights = [kernel.Take(), kernel.Take()];
        AssemblerRegister64[] inputs = [kernel.Take(), kernel.Take()];
        AssemblerRegister64 output = kernel.Take();
        AssemblerRegister64 ahead = kernel.Take();
        AssemblerRegister64 sums = kernel.TakeArgument(TileArguments.SumsField);
        int tiles = strips * groups;
        Label begin = code.CreateLabel();
        Label write = code.CreateLabel();
        Label nextBlock = code.CreateLabel();
        Label zero = code.CreateLabel();
        Label products = code.CreateLabel();
        Label multiply = code.CreateLabel();
        Label writeFirst = code.CreateLabel();
        Label multiplied = code.CreateLabel();
        Label finished = code.CreateLabel();
        Label blockDone = code.CreateLabel();
        Label end = code.CreateLabel();
        code.jmp(begin);

        // A procedure: writes the pending block.
        code.Label(ref write);
        EmitWrites(null);
        code.ret();

        code.Label(ref begin);
        code.mov(output, kernel.Argument(TileArguments.ConfigField));
        code.ldtilecfg(__[output]);
        code.mov(sixtyFour, 64);
        code.mov(kernel.Argument(Pending), 0);

        code.Label(ref nextBlock);
        code.mov(weights[0], kernel.Argument(TileArguments.WeightsField));
        code.mov(weights[1], weights[0]);
        code.add(weights[1], kernel.Argument(TileArguments.StripBytesField));
        code.mov(inputs[0], kernel.Argument(TileArguments.InputField));
        code.mov(inputs[1], kernel.Argument(TileArguments.SecondInputField));
        code.mov(steps, kernel.Argument(TileArguments.StepsField));
        code.cmp(kernel.Argument(TileArguments.ResumeField), 0);
        code.je(zero);
        EmitSums((tile, at) => code.tileloadd(tile, at), sums);
        code.jmp(products);
        code.Label(ref zero);
        EmitSums((tile, _) => code.tilezero(tile), sums);

        code.Label(ref products);
        code.cmp(kernel.Argument(Pending), 0);
        code.je(multiply);
        code.cmp(steps, tiles * StepsPerTile);
        code.jb(writeFirst);
        code.mov(ahead, kernel.Argument(TileArguments.OutputField));
        EmitWrites(EmitStep);
        code.sub(steps, tiles * StepsPerTile);
        code.jz(multiplied);
        code.jmp(multiply);

        code.Label(ref writeFirst);
        code.call(write);
        code.Label(ref multiply);
        EmitStep();
        code.dec(steps);
        code.jnz(multiply);

        code.Label(ref multiplied);
        code.cmp(kernel.Argument(TileArguments.KeepField), 0);
        code.je(finished);
        EmitSums((tile, at) => code.tilestored(at, tile), sums);
        code.jmp(blockDone);
        code.Label(ref finished);
        EmitSums((tile, at) => code.tilestored(at, tile), scratch);
        code.mov(output, kernel.Argument(TileArguments.OutputField));
        code.mov(kernel.Argument(Pending), output);

        code.Label(ref blockDone);
        code.mov(weights[0], kernel.Argument(TileArguments.StripBytesField));
        for (int strip = 0; strip < strips; strip++)
        {
            code.add(kernel.Argument(TileArguments.WeightsField), weights[0]);
        }

        code.add(kernel.Argument(TileArguments.OutputField), 64 * strips);
        code.add(sums, SumBytes * tiles);
        code.add(next, NextBytes);
        code.dec(kernel.Argument(TileArguments.Counter0Field));
        code.jnz(nextBlock);
        code.cmp(kernel.Argument(Pending), 0);
        code.je(end);
        code.call(write);
        code.Label(ref end);
        code.tilerelease();
        return kernel.Finish();

        void EmitSums(Action<AssemblerRegisterTMM, AssemblerMemoryOperand> emit, AssemblerRegister64 memory)
        {
            for (int tile = 0; tile < tiles; tile++)
            {
                emit(Sum(tile / groups, tile % groups), __[memory + (sixtyFour * 1) + (SumBytes * tile)]);
            }
        }

        // Writes the pending block; every so often, a step of products.
        void EmitWrites(Action? emitStep)
        {
            for (int strip = 0; strip < strips; strip++)
            {
                code.mov(output, kernel.Argument(Pending));
                code.add(output, 64 * strip);
                for (int group = 0; group < groups; group++)
                {
                    int place = 0;
                    AssemblerMemoryOperand? tokens = group == groups - 1 ? kernel.Argument(TileArguments.TokensField) : null;
                    AmxOutput.EmitTransposed(kernel, __zmmword_ptr[scratch + (SumBytes * ((strip * groups) + group))], output, tokens, emitStep is null ? null : Between);

                    void Between()
                    {
                        if (place++ % (AmxOutput.Places / StepsPerTile) == 0)
                        {
                            EmitOutputPrefetches();
                            emitStep();
                        }
                    }
                }
            }
        }

        // Brings in lines of this block's outputs, all tokens' in the course of the writes.
        void EmitOutputPrefetches()
        {
            for (int token = 0; token < 16 / (strips * StepsPerTile); token++)
            {
                for (int strip = 0; strip < strips; strip++)
                {
                    code.prefetchw(__byte_ptr[ahead + (64 * strip)]);
                }

                code.add(ahead, kernel.Argument(TileArguments.OutputStrideField));
            }
        }

        // Tiles pass by the first-level cache, which could hold none until it is wanted again.
        void EmitStep()
        {
            for (int group = 0; group < groups; group++)
            {
                for (int at = 0; at < NextBytes; at += 64)
                {
                    code.prefetcht1(__byte_ptr[inputs[group] + (next * 1) + at]);
                }
            }

            for (int group = 0; group < groups; group++)
            {
                bool last = group == groups - 1;
                if (group == 0)
                {
                    code.tileloaddt1(tmm4, __[weights[0] + (sixtyFour * 1)]);
                }

                code.tileloaddt1(Tile(6 + group), __[inputs[group] + ((last ? lastStride : sixtyFour) * 1)]);
                code.tdpbf16ps(Sum(0, group), tmm4, Tile(6 + group));
                if (strips == 2)
                {
                    if (group == 0)
                    {
                        code.tileloaddt1(tmm5, __[weights[1] + (sixtyFour * 1)]);
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
        }
    }

    private static AssemblerRegisterTMM Sum(int strip, int group) => Tile((2 * group) + strip);

    private static AssemblerRegisterTMM Tile(int number) => new(Register.TMM0 + number);
}
