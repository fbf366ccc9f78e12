using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// The kernel for few tokens: reads the packed weights once, from the first tile of the first strip to the last of the last, expands each tile into a ring
/// in the first-level cache, and a few tiles later multiplies it with every group of 16 tokens. The distance lets expansion, stores and products overlap.
/// </summary>
internal static class AmxStreamKernel
{
    /// <summary>Most groups of tokens: as many as there are accumulator tiles.</summary>
    public const int MaxGroups = 4;

    /// <summary>Bytes of scratch memory.</summary>
    public const int ScratchBytes = OutputAt + AmxOutput.ScratchBytes;

    private const int OutputAt = RingAt + RingBytes;
    private const int TileBytes = 1024;

    // Ring and scales fill 4 KiB exactly: a load is held up by an earlier store whose address has the same last 12 bits, so none of these may coincide.
    private const int RingAt = 1024;
    private const int RingBytes = 3 * TileBytes;
    private const int Lag = 2;
    private const int PrefetchDistance = 4096;

    // Uses of the counters.
    private const int Unread = TileArguments.TilesField;
    private const int Unmultiplied = TileArguments.Counter0Field;
    private const int Lead = TileArguments.Counter1Field;
    private const int StepsLeft = TileArguments.Counter2Field;
    private const int TilesToHeader = TileArguments.Counter3Field;

    /// <summary>The shapes of the tile registers.</summary>
    /// <param name="groups">Groups of tokens.</param>
    /// <param name="lastTokens">Tokens of the last group.</param>
    public static TileConfig Config(int groups, int lastTokens)
    {
        TileConfig config = default;
        for (int group = 0; group < groups; group++)
        {
            config.Set(group, 16, group == groups - 1 ? 4 * lastTokens : 64);
        }

        config.Set(4, 16, 64);
        config.Set(6, 16, 64);
        config.Set(7, 16, 4 * lastTokens);
        return config;
    }

    /// <summary>Generates the kernel.</summary>
    /// <param name="format">The packed format.</param>
    /// <param name="groups">Groups of tokens, from 1 to <see cref="MaxGroups"/>; all but the last are full.</param>
    public static GeneratedCode Generate(PackedFormat format, int groups)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 scratch = kernel.TakeArgument(TileArguments.ScratchField);
        AssemblerRegister64 weights = kernel.TakeArgument(TileArguments.WeightsField);
        AssemblerRegister64 lastStride = kernel.TakeArgument(TileArguments.LastStrideField);
        AssemblerRegister64 sixtyFour = kernel.Take();
        AssemblerRegister64 written = kernel.Take();
        AssemblerRegister64 read = kernel.Take();
        AssemblerRegister64[] inputs = new AssemblerRegister64[groups];
        for (int group = 0; group < groups; group++)
        {
            inputs[group] = kernel.Take();
        }

        TileExpander? expander = format.Codes == PackedCodes.Values ? null : TileExpander.Create(format, kernel, scratch);
        expander?.PrefetchBetweenRows(weights, PrefetchDistance);
        expander?.EmitConstants();
        AssemblerRegister64 temporary = kernel.Take();
        code.mov(temporary, kernel.Argument(TileArguments.ConfigField));
        code.ldtilecfg(__[temporary]);
        code.mov(sixtyFour, 64);
        code.xor(written, written);
        code.xor(read, read);
        code.mov(temporary, kernel.Argument(Unread));
        code.mov(kernel.Argument(Unmultiplied), temporary);
        code.mov(kernel.Argument(Lead), Lag);
        code.mov(kernel.Argument(TilesToHeader), 1);
        EmitStripStart();

        // The loop fetches this far ahead; the beginning is fetched all at once.
        for (int at = 0; at < PrefetchDistance; at += 64)
        {
            code.prefetcht0(__byte_ptr[weights + at]);
        }

        Label next = code.CreateLabel();
        Label multiply = code.CreateLabel();
        Label inStrip = code.CreateLabel();
        code.Label(ref next);
        if (expander is not null)
        {
            EmitExpansion(expander);
            code.Label(ref multiply);
        }

        EmitProducts();
        code.dec(kernel.Argument(StepsLeft));
        code.jnz(inStrip);
        EmitStripEnd();
        EmitStripStart();
        code.Label(ref inStrip);
        code.dec(kernel.Argument(Unmultiplied));
        code.jnz(next);
        code.tilerelease();
        return kernel.Finish();

        void EmitStripStart()
        {
            code.mov(inputs[0], kernel.Argument(TileArguments.InputField));
            for (int group = 1; group < groups; group++)
            {
                code.mov(inputs[group], inputs[group - 1]);
                code.add(inputs[group], kernel.Argument(TileArguments.GroupBytesField));
            }

            code.mov(temporary, kernel.Argument(TileArguments.StepsField));
            code.mov(kernel.Argument(StepsLeft), temporary);
            for (int group = 0; group < groups; group++)
            {
                code.tilezero(Tile(group));
            }
        }

        void EmitExpansion(TileExpander expander)
        {
            code.cmp(kernel.Argument(Unread), 0);
            code.je(multiply);
            code.dec(kernel.Argument(Unread));
            if (format.HeaderBytes > 0)
            {
                Label noHeader = code.CreateLabel();
                code.dec(kernel.Argument(TilesToHeader));
                code.jnz(noHeader);
                code.mov(kernel.Argument(TilesToHeader), PackedFormat.SuperTiles);
                expander.EmitHeader(weights);
                code.add(weights, format.HeaderBytes);
                code.Label(ref noHeader);
                code.nop();
            }

            code.lea(temporary, __[scratch + (written * 1) + RingAt]);
            expander.EmitTile(weights, __zmmword_ptr[temporary]);
            code.add(weights, format.TileBytes);
            EmitAdvance(written);
            code.cmp(kernel.Argument(Lead), 0);
            code.je(multiply);
            code.dec(kernel.Argument(Lead));
            code.jmp(next);
        }

        void EmitAdvance(AssemblerRegister64 place)
        {
            code.xor(temporary, temporary);
            code.add(place, TileBytes);
            code.cmp(place, RingBytes);
            code.cmove(place, temporary);
        }

        void EmitProducts()
        {
            if (expander is null)
            {
                for (int at = 0; at < TileBytes; at += 64)
                {
                    code.prefetcht0(__byte_ptr[weights + PrefetchDistance + at]);
                }

                code.tileloadd(Tile(4), __[weights + (sixtyFour * 1)]);
                code.add(weights, TileBytes);
            }
            else
            {
                code.lea(temporary, __[scratch + (read * 1) + RingAt]);
                code.tileloadd(Tile(4), __[temporary + (sixtyFour * 1)]);
                EmitAdvance(read);
            }

            for (int group = 0; group < groups; group++)
            {
                bool last = group == groups - 1;
                AssemblerRegisterTMM input = Tile(last ? 7 : 6);
                code.tileloadd(input, __[inputs[group] + ((last ? lastStride : sixtyFour) * 1)]);
                code.tdpbf16ps(Tile(group), Tile(4), input);
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
        }

        void EmitStripEnd()
        {
            Label stored = code.CreateLabel();
            AssemblerRegister64 output = kernel.TakeArgument(TileArguments.OutputField);
            if (groups == 1)
            {
                // One token: its tile is a column, which is stored as it is.
                Label several = code.CreateLabel();
                code.cmp(kernel.Argument(TileArguments.TokensField), 1);
                code.jne(several);
                code.tilestored(__[output + (lastStride * 1)], Tile(0));
                code.jmp(stored);
                code.Label(ref several);
                code.nop();
            }

            code.lea(temporary, __[scratch + OutputAt]);
            for (int group = 0; group < groups; group++)
            {
                AmxOutput.Emit(
                    kernel, Tile(group), temporary, sixtyFour, output, group == groups - 1 ? kernel.Argument(TileArguments.TokensField) : null);
            }

            expander?.EmitConstants();
            code.Label(ref stored);
            code.add(kernel.Argument(TileArguments.OutputField), 64);
            kernel.Release(output);
        }
    }

    private static AssemblerRegisterTMM Tile(int number) => new(Register.TMM0 + number);
}
