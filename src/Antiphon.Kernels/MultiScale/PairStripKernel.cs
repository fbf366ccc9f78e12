using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.MultiScale;

/// <summary>The kernel for a few tokens without AVX-512: takes codes apart in registers, eight rows and four columns at a time, and multiplies them with up to 8 tokens (see <see cref="PairProducts"/>).</summary>
internal static class PairStripKernel
{
    /// <summary>Tokens that are multiplied at a time.</summary>
    public const int MaxTokens = 8;

    /// <summary>Bytes of scratch memory.</summary>
    public const int ScratchBytes = ScalesAt + (64 * 2 * CodeLayout.SuperTiles);

    private const int ScalesAt = 64 * MaxTokens;

    // How far ahead of their use codes are fetched.
    private const int PrefetchDistance = 4096;

    /// <summary>Generates the kernel.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="tokens">Tokens, from 1 to 8.</param>
    /// <param name="fuses">Whether the processor adds products to sums in one instruction (AVX-VNNI).</param>
    public static GeneratedCode Generate(CodeLayout layout, int tokens, bool fuses)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        int blocks = layout.SubBlocks;
        AssemblerRegister64 scratch = kernel.TakeArgument(CodeArguments.ScratchField);
        AssemblerRegister64 inputStep = kernel.TakeArgument(CodeArguments.InputStepField);
        AssemblerRegister64 scales = kernel.Take();
        AssemblerRegister64 codes = kernel.Take();
        AssemblerRegister64 input = kernel.Take();
        AssemblerRegister64 tokenSums = kernel.Take();
        AssemblerRegister64 steps = kernel.Take();
        AssemblerRegister64 toHeader = kernel.Take();
        AssemblerRegister64 scaleAt = kernel.Take();
        AssemblerRegister64 digits = kernel.Take();
        AssemblerRegister64 ahead = kernel.Take();
        int stepBytes = layout.TileBytes + layout.TileScaleBytes + (layout.HeaderBytes / CodeLayout.SuperTiles);
        PairUnpacking unpacking = new(kernel, layout);

        // Both halves share what is loaded of the tokens where there are registers for it.
        int vectors = tokens <= 3 ? 2 : 1;
        PairProducts products = new(kernel, layout, vectors, tokens, 8, fuses)
        {
            Sums = (half, token) => __ymmword_ptr[scratch + ((64 * token) + (32 * half))],
            Input = input,
            TokenSums = tokenSums,
            Digits = digits,
        };

        Label nextStrip = code.CreateLabel();
        Label nextTile = code.CreateLabel();
        bool byNibbles = tokens == 1 && unpacking.HasNibbles;
        if (byNibbles)
        {
            unpacking.EmitNibbleConstants();
        }
        else
        {
            unpacking.EmitConstants();
        }

        code.Label(ref nextStrip);
        code.mov(scales, kernel.Argument(CodeArguments.WeightsField));
        code.mov(codes, scales);
        code.add(codes, kernel.Argument(CodeArguments.CodesAtField));
        code.lea(ahead, __[scales + PrefetchDistance]);
        code.mov(input, kernel.Argument(CodeArguments.InputField));
        code.mov(tokenSums, kernel.Argument(CodeArguments.SumsField));
        code.mov(digits, kernel.Argument(CodeArguments.DigitsField));
        code.mov(steps, kernel.Argument(CodeArguments.StepsField));
        code.mov(toHeader, 1);
        products.EmitClear();

        code.Label(ref nextTile);
        if (layout.HeaderBytes > 0)
        {
            EmitHeader();
        }

        code.cmp(ahead, kernel.Argument(CodeArguments.AheadEndField));
        code.cmovae(ahead, scratch);
        products.Begin([.. Enumerable.Range(0, (stepBytes + 63) / 64).Select(line => __byte_ptr[ahead + (64 * line)])]);
        for (int half = 0; half < 2; half += vectors)
        {
            for (int block = 0; block < blocks; block++)
            {
                EmitBlock(half, block);
            }
        }

        code.add(ahead, stepBytes);
        code.add(codes, layout.TileBytes);
        code.add(scales, layout.TileScaleBytes);
        code.add(input, inputStep);
        code.add(tokenSums, kernel.Argument(CodeArguments.SumsStepField));
        if (layout.HeaderBytes > 0)
        {
            code.add(scaleAt, 64 * blocks);
        }

        code.dec(steps);
        code.jnz(nextTile);

        code.mov(codes, kernel.Argument(CodeArguments.OutputField));
        code.mov(scales, kernel.Argument(CodeArguments.FactorsField));
        products.EmitResults(scales, codes);
        code.add(kernel.Argument(CodeArguments.OutputField), 64);
        code.mov(codes, kernel.Argument(CodeArguments.StripBytesField));
        code.add(kernel.Argument(CodeArguments.WeightsField), codes);
        code.dec(kernel.Argument(CodeArguments.StripsField));
        code.jnz(nextStrip);
        return kernel.Finish();

        void EmitBlock(int half, int block)
        {
            int groups = CodeLayout.Groups / blocks;
            int offset = PairUnpacking.OffsetOf(layout);
            if (offset > 0)
            {
                products.EmitStart(block, offset);
            }

            if (byNibbles)
            {
                EmitNibbles(offset == 0);
            }

            for (int group = block * groups; group < (block + 1) * groups && !byNibbles; group++)
            {
                for (int vector = 0; vector < vectors; vector++)
                {
                    unpacking.EmitGroup(group, half + vector, codes, Pairs(0, vector), Pairs(1, vector), ymm10);
                }

                products.Emit(2 * group, vector => Pairs(0, vector), starts: offset == 0 && group == block * groups);
                products.Emit((2 * group) + 1, vector => Pairs(1, vector), starts: false);
            }

            products.EmitFloats(half, EmitScale, layout.Scales == CodeScales.HalfWithMinimum ? EmitMinimum : null);

            void EmitScale(int rows, AssemblerRegisterYMM scale, AssemblerRegisterYMM temporary)
            {
                if (layout.HeaderBytes > 0)
                {
                    code.vmovups(scale, __ymmword_ptr[scaleAt + ((64 * block) + (32 * rows))]);
                }
                else
                {
                    unpacking.EmitTileScale(scales, rows, scale, temporary);
                }
            }
        }

        // A single token is not worth shifting codes to the right: they are masked where they are, and their sums shifted.
        void EmitNibbles(bool starts)
        {
            bool[] started = [!starts, false, false];
            for (int plane = 0; plane < 4; plane++)
            {
                for (int vector = 0; vector < 2; vector++)
                {
                    code.vmovdqu(Pairs(1, vector), __ymmword_ptr[codes + ((64 * plane) + (PairUnpacking.HalfBytes * vector))]);
                }

                for (int nibble = 0; nibble < 4; nibble++)
                {
                    int set = 0;
                    for (int vector = 0; vector < 2; vector++)
                    {
                        set = unpacking.EmitNibble(nibble, Pairs(1, vector), Pairs(0, vector)) / 4;
                    }

                    products.Emit((2 * (plane + (nibble % 2 * 4))) + (nibble / 2), vector => Pairs(0, vector), starts: !started[set], set);
                    started[set] = true;
                }
            }

            products.EmitMerge(1, 4);
            products.EmitMerge(2, 8);
        }

        static AssemblerRegisterYMM Pairs(int which, int vector) => new(Register.YMM8 + which - (2 * vector));

        void EmitMinimum(int half, AssemblerRegisterYMM minimum) => code.vcvtph2ps(minimum, __xmmword_ptr[scales + (32 + (16 * half))]);

        // The scales of all blocks of the super-block go to scratch memory; its minimums are added to the sums.
        void EmitHeader()
        {
            Label noHeader = code.CreateLabel();
            code.dec(toHeader);
            code.jnz(noHeader);
            code.mov(toHeader, CodeLayout.SuperTiles);
            code.lea(scaleAt, __[scratch + ScalesAt]);
            for (int half = 0; half < 2; half++)
            {
                int rows = 32 * half;
                unpacking.EmitSubScales(scales, half, block => __ymmword_ptr[scaleAt + ((64 * block) + rows)]);
                if (layout.HasSuperMinimum)
                {
                    products.EmitSuperMinimums(half, PairUnpacking.MinimumUnit, unpacking.MinimumVector);
                }
            }

            code.add(digits, kernel.Argument(CodeArguments.DigitsStepField));
            code.add(scales, layout.HeaderBytes);
            code.Label(ref noHeader);
        }
    }
}
