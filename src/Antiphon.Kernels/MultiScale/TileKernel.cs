using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.MultiScale;

/// <summary>
/// The kernel for a group of tokens with AMX tiles: unpacked strips (of plain bytes: packed ones) times the bytes of up to 16 tokens, a block of columns at a time. The high and the low bytes
/// of a token are two rows of one tile, so up to 8 tokens take one product; vector instructions merge, scale and add up the integers of the block before.
/// </summary>
internal static class TileKernel
{
    /// <summary>Bytes of scratch memory: the integers of two tiles, of two blocks in turns, twice.</summary>
    public const int ScratchBytes = 2 * StepBytes;

    /// <summary>How far ahead of its use packed memory is to be fetched, in bytes.</summary>
    public const int PrefetchDistance = 8192;

    private const int StepBytes = 4 * 1024;

    private static readonly AssemblerRegisterZMM Scale = zmm0;
    private static readonly AssemblerRegisterZMM Minimum = zmm1;

    /// <summary>The shapes of the tile registers.</summary>
    public static TileConfig Config(CodeLayout layout, int tokens, int passes)
    {
        TileConfig config = default;
        int rows = tokens * passes;
        for (int part = 0; part < 2; part++)
        {
            int partRows = Math.Clamp(rows - (16 * part), 1, 16);
            for (int block = 0; block < 2; block++)
            {
                config.Set((2 * block) + part, partRows, 64);
            }

            config.Set(4 + part, partRows, 32 / layout.SubBlocks);
        }

        config.Set(6, CodeLayout.Groups / layout.SubBlocks, 64);
        config.Set(7, CodeLayout.Groups / layout.SubBlocks, 64);
        return config;
    }

    /// <summary>Generates the kernel.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="tokens">Tokens, from 1 to 16.</param>
    /// <param name="passes">1 or 2.</param>
    public static GeneratedCode Generate(CodeLayout layout, int tokens, int passes)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        int parts = ((tokens * passes) + 15) / 16;
        int blocks = layout.SubBlocks;
        int blockBytes = 32 / blocks;
        AssemblerRegister64 scratch = kernel.TakeArgument(CodeArguments.ScratchField);
        AssemblerRegister64 values = kernel.Take();
        AssemblerRegister64 scales = kernel.Take();
        AssemblerRegister64 minimums = kernel.Take();
        AssemblerRegister64 input = kernel.Take();
        AssemblerRegister64 sums = kernel.Take();
        AssemblerRegister64 digits = kernel.Take();
        AssemblerRegister64 steps = kernel.Take();
        AssemblerRegister64 toSuper = kernel.Take();
        AssemblerRegister64 ahead = kernel.TakeArgument(CodeArguments.AheadField);
        AssemblerRegister64 rowStride = kernel.Take();
        AssemblerRegister64 sixtyFour = kernel.Take();
        code.mov(values, kernel.Argument(CodeArguments.ConfigField));
        code.ldtilecfg(__[values]);
        code.mov(sixtyFour, 64);
        code.mov(rowStride, passes == 2 ? 32 : 64);

        Label nextStrip = code.CreateLabel();
        Label nextSteps = code.CreateLabel();
        Label lastEven = code.CreateLabel();
        Label lastOdd = code.CreateLabel();
        Label finished = code.CreateLabel();
        code.Label(ref nextStrip);
        code.mov(values, kernel.Argument(CodeArguments.WeightsField));
        code.mov(steps, kernel.Argument(CodeArguments.StepsField));
        if (layout.IsPlain)
        {
            // These are read as they are packed.
            code.mov(scales, values);
            code.add(values, kernel.Argument(CodeArguments.CodesAtField));
        }
        else
        {
            code.mov(scales, steps);
            code.shl(scales, 9);
            code.add(scales, values);
            code.mov(minimums, steps);
            code.shl(minimums, (byte)(5 + blocks));
            code.add(minimums, scales);
        }

        code.mov(input, kernel.Argument(CodeArguments.InputField));
        code.mov(sums, kernel.Argument(CodeArguments.SumsField));
        code.mov(digits, kernel.Argument(CodeArguments.DigitsField));
        code.mov(toSuper, 1);
        for (int token = 0; token < tokens; token++)
        {
            code.vpxord(Sum(token), Sum(token), Sum(token));
        }

        // Even and odd steps in turns: a tile register is not written again before the step after next.
        EmitProducts(0);
        code.dec(steps);
        code.jz(lastEven);
        code.Label(ref nextSteps);
        EmitProducts(1);
        EmitAdditions(0);
        code.dec(steps);
        code.jz(lastOdd);
        EmitProducts(0);
        EmitAdditions(1);
        code.dec(steps);
        code.jnz(nextSteps);
        code.Label(ref lastEven);
        if (layout.HeaderBytes == 0)
        {
            EmitAdditions(0);
        }

        code.jmp(finished);
        code.Label(ref lastOdd);
        EmitAdditions(1);
        code.Label(ref finished);

        code.mov(values, kernel.Argument(CodeArguments.OutputField));
        code.mov(scales, kernel.Argument(CodeArguments.FactorsField));
        for (int token = 0; token < tokens; token++)
        {
            code.vmulps(Sum(token), Sum(token), __dword_bcst[scales + (8 * token)]);
            code.vmulps(Sum(token), Sum(token), __dword_bcst[scales + (8 * token) + 4]);
            code.vmovups(__zmmword_ptr[values], Sum(token));
            code.add(values, kernel.Argument(CodeArguments.OutputStrideField));
        }

        code.add(kernel.Argument(CodeArguments.OutputField), 64);
        code.mov(values, kernel.Argument(CodeArguments.StripBytesField));
        code.add(kernel.Argument(CodeArguments.WeightsField), values);
        code.dec(kernel.Argument(CodeArguments.StripsField));
        code.jnz(nextStrip);
        code.tilerelease();
        return kernel.Finish();

        void EmitProducts(int parity)
        {
            for (int at = 0; at < layout.TileBytes + layout.TileScaleBytes + (layout.HeaderBytes / CodeLayout.SuperTiles); at += 64)
            {
                code.prefetcht1(__byte_ptr[ahead + at]);
            }

            code.add(ahead, layout.TileBytes + layout.TileScaleBytes + (layout.HeaderBytes / CodeLayout.SuperTiles));
            code.cmp(ahead, kernel.Argument(CodeArguments.AheadEndField));
            code.cmovae(ahead, scratch);
            for (int block = 0; block < blocks; block++)
            {
                AssemblerRegisterTMM weights = new(Register.TMM6 + (blocks == 2 ? block : parity));
                code.tileloadd(weights, __[values + (sixtyFour * 1) + (block * UnpackedStrip.TileBytes / 2)]);
                for (int part = 0; part < parts; part++)
                {
                    AssemblerRegisterTMM integers = new(Register.TMM4 + part);
                    AssemblerRegisterTMM products = Products(parity, block, part);
                    code.tileloadd(integers, __[input + (rowStride * 1) + ((part * 16 * 64 / passes) + (block * blockBytes))]);
                    code.tilezero(products);
                    code.tdpbssd(products, integers, weights);
                }
            }

            for (int tile = 0; tile < blocks * parts; tile++)
            {
                (int block, int part) = (tile / parts, tile % parts);
                code.tilestored(__[scratch + (sixtyFour * 1) + ((StepBytes * parity) + (2048 * block) + (1024 * part))], Products(parity, block, part));
            }

            code.add(values, UnpackedStrip.TileBytes);
            code.add(input, 64 * tokens);
        }

        // A format with two blocks in a tile needs all four registers in every step.
        AssemblerRegisterTMM Products(int parity, int block, int part) => new(Register.TMM0 + (2 * (blocks == 2 ? block : parity)) + part);

        // What the products of the step before add to the sums.
        void EmitAdditions(int parity)
        {
            if (layout.HasSuperMinimum)
            {
                // A super-block begins at an even step, and ends at an odd one.
                if (parity == 0)
                {
                    EmitSuperMinimums();
                }
            }
            else if (layout.HasMinimum)
            {
                code.vmovups(Minimum, __zmmword_ptr[minimums]);
                code.add(minimums, 64);
                for (int token = 0; token < tokens; token++)
                {
                    AssemblerRegisterZMM sum = Temporary(token);
                    code.vcvtdq2ps(sum, __dword_bcst[sums + (4 * token)]);
                    code.vfnmadd231ps(Sum(token), sum, Minimum);
                }

                code.add(sums, 4 * tokens);
            }

            for (int block = 0; block < blocks; block++)
            {
                if (layout.IsPlain)
                {
                    code.vcvtph2ps(Scale, __ymmword_ptr[scales]);
                }
                else
                {
                    code.vmovups(Scale, __zmmword_ptr[scales + (64 * block)]);
                }

                for (int token = 0; token < tokens; token++)
                {
                    AssemblerRegisterZMM total = Temporary(token);
                    int at = (StepBytes * parity) + (2048 * block) + (64 * passes * token);
                    if (passes == 2)
                    {
                        code.vpslld(total, __zmmword_ptr[scratch + at], 8);
                        code.vpaddd(total, total, __zmmword_ptr[scratch + (at + 64)]);
                        code.vcvtdq2ps(total, total);
                    }
                    else
                    {
                        code.vcvtdq2ps(total, __zmmword_ptr[scratch + at]);
                    }

                    code.vfmadd231ps(Sum(token), total, Scale);
                }
            }

            code.add(scales, layout.IsPlain ? layout.TileScaleBytes : 64 * blocks);
        }

        void EmitSuperMinimums()
        {
            Label inSuper = code.CreateLabel();
            code.dec(toSuper);
            code.jnz(inSuper);
            code.mov(toSuper, CodeLayout.SuperTiles / 2);
            code.vmovups(Minimum, __zmmword_ptr[minimums]);
            for (int vector = 0; vector < 2 * blocks; vector++)
            {
                code.vmovdqu64(Multiples(vector), __zmmword_ptr[minimums + (64 * (vector + 1))]);
            }

            code.add(minimums, 64 + (128 * blocks));
            for (int token = 0; token < tokens; token++)
            {
                AssemblerRegisterZMM total = Temporary(token);
                code.vpxord(total, total, total);
                for (int digit = 0; digit < 3; digit++)
                {
                    if (digit > 0)
                    {
                        code.vpslld(total, total, 8);
                    }

                    for (int vector = 0; vector < 2 * blocks; vector++)
                    {
                        code.vpdpbusd(total, Multiples(vector), __dword_bcst[digits + ((32 * blocks * token) + (8 * blocks * digit) + (4 * vector))]);
                    }
                }

                code.vcvtdq2ps(total, total);
                code.vfmadd231ps(Sum(token), total, Minimum);
            }

            code.add(digits, 32 * blocks * tokens);
            code.Label(ref inSuper);
        }
    }

    private static AssemblerRegisterZMM Multiples(int vector) => new(Register.ZMM2 + vector);

    private static AssemblerRegisterZMM Temporary(int token) => new(Register.ZMM8 + (token % 8));

    private static AssemblerRegisterZMM Sum(int token) => new(Register.ZMM16 + token);
}
