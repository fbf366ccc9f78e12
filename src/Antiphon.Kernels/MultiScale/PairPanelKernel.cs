using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.MultiScale;

/// <summary>The kernel for many tokens without AVX-512: strips that are unpacked already (see <see cref="LaneStrip"/>) times up to 6 tokens (see <see cref="PairProducts"/>).</summary>
internal static class PairPanelKernel
{
    /// <summary>Tokens that are multiplied at a time.</summary>
    public const int MaxTokens = 6;

    /// <summary>Bytes of scratch memory: the float sums.</summary>
    public const int ScratchBytes = 64 * MaxTokens;

    // How far ahead of their use values are fetched into the first-level cache.
    private const int PrefetchDistance = 2048;

    // Of the packed weights that are unpacked next, how much is fetched in each step: a panel's in the time that some thirty tokens take.
    private const int AheadBytes = 2 * 64;

    /// <summary>Generates the kernel.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="tokens">Tokens, from 1 to 6.</param>
    /// <param name="fuses">Whether the processor adds products to sums in one instruction (AVX-VNNI).</param>
    public static GeneratedCode Generate(CodeLayout layout, int tokens, bool fuses)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        int blocks = layout.SubBlocks;
        int groups = CodeLayout.Groups / blocks;

        // Where the minimums of super-blocks begin depends on the columns, all else does not.
        LaneStrip parts = new(layout, CodeLayout.TileColumns);
        AssemblerRegister64 sums = kernel.TakeArgument(CodeArguments.ScratchField);
        AssemblerRegister64 inputStep = kernel.TakeArgument(CodeArguments.InputStepField);
        AssemblerRegister64 ahead = kernel.TakeArgument(CodeArguments.AheadField);
        AssemblerRegister64 tile = kernel.Take();
        AssemblerRegister64 minimums = kernel.Take();
        AssemblerRegister64 input = kernel.Take();
        AssemblerRegister64 tokenSums = kernel.Take();
        AssemblerRegister64 steps = kernel.Take();
        AssemblerRegister64 toSuper = kernel.Take();
        AssemblerRegister64 digits = kernel.Take();
        PairProducts products = new(kernel, layout, 2, tokens, 12, fuses)
        {
            Sums = (half, token) => __ymmword_ptr[sums + ((64 * token) + (32 * half))],
            Input = input,
            TokenSums = tokenSums,
            Digits = digits,
        };

        Label nextStrip = code.CreateLabel();
        Label nextTile = code.CreateLabel();
        code.Label(ref nextStrip);
        code.mov(tile, kernel.Argument(CodeArguments.WeightsField));
        code.mov(steps, kernel.Argument(CodeArguments.StepsField));
        code.imul(minimums, steps, parts.TileBytes);
        code.add(minimums, tile);
        code.mov(input, kernel.Argument(CodeArguments.InputField));
        code.mov(tokenSums, kernel.Argument(CodeArguments.SumsField));
        code.mov(digits, kernel.Argument(CodeArguments.DigitsField));
        code.mov(toSuper, 1);
        products.EmitClear();

        code.Label(ref nextTile);
        if (layout.HasSuperMinimum)
        {
            EmitSuperMinimums();
        }

        for (int line = 0; line < AheadBytes; line += 64)
        {
            code.prefetcht1(__byte_ptr[ahead + line]);
        }

        code.add(ahead, AheadBytes);
        code.cmp(ahead, kernel.Argument(CodeArguments.AheadEndField));
        code.cmovae(ahead, sums);
        products.Begin([.. Enumerable.Range(0, parts.TileBytes / 64).Select(line => __byte_ptr[tile + (PrefetchDistance + (64 * line))])]);
        for (int block = 0; block < blocks; block++)
        {
            int scaleAt = LaneStrip.ScalesAt + (64 * block);
            for (int pair = 2 * groups * block; pair < 2 * groups * (block + 1); pair++)
            {
                int place = (LaneStrip.GroupBytes * (pair / 2)) + (32 * (pair % 2));
                code.vmovdqu(ymm12, __ymmword_ptr[tile + place]);
                code.vmovdqu(ymm13, __ymmword_ptr[tile + (place + (LaneStrip.GroupBytes / 2))]);
                products.Emit(pair, vector => vector == 0 ? ymm12 : ymm13, starts: pair == 2 * groups * block);
            }

            products.EmitFloats(
                0,
                (half, scale, _) => code.vmovups(scale, __ymmword_ptr[tile + (scaleAt + (32 * half))]),
                layout.Scales == CodeScales.HalfWithMinimum ? (half, minimum) => code.vmovups(minimum, __ymmword_ptr[tile + (parts.TileMinimumAt + (32 * half))]) : null);
        }

        code.add(tile, parts.TileBytes);
        code.add(input, inputStep);
        code.add(tokenSums, kernel.Argument(CodeArguments.SumsStepField));
        code.dec(steps);
        code.jnz(nextTile);

        code.mov(tile, kernel.Argument(CodeArguments.OutputField));
        code.mov(minimums, kernel.Argument(CodeArguments.FactorsField));
        products.EmitResults(minimums, tile);
        code.add(kernel.Argument(CodeArguments.OutputField), 64);
        code.mov(tile, kernel.Argument(CodeArguments.StripBytesField));
        code.add(kernel.Argument(CodeArguments.WeightsField), tile);
        code.dec(kernel.Argument(CodeArguments.StripsField));
        code.jnz(nextStrip);
        code.mov(kernel.Argument(CodeArguments.AheadField), ahead);
        return kernel.Finish();

        void EmitSuperMinimums()
        {
            Label inSuper = code.CreateLabel();
            code.dec(toSuper);
            code.jnz(inSuper);
            code.mov(toSuper, CodeLayout.SuperTiles);
            for (int half = 0; half < 2; half++)
            {
                int rows = 32 * half;
                code.vmovups(PairUnpacking.MinimumUnit, __ymmword_ptr[minimums + rows]);
                for (int vector = 0; vector < 2 * blocks; vector++)
                {
                    code.vmovdqu(Multiples(vector), __ymmword_ptr[minimums + ((64 * (vector + 1)) + rows)]);
                }

                products.EmitSuperMinimums(half, PairUnpacking.MinimumUnit, Multiples);
            }

            code.add(digits, kernel.Argument(CodeArguments.DigitsStepField));

            code.add(minimums, parts.SuperMinimumBytes);
            code.Label(ref inSuper);
        }

        static AssemblerRegisterYMM Multiples(int vector) => new(Register.YMM0 + vector);
    }
}
