using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.MultiScale;

/// <summary>
/// The kernel for up to 16 tokens: reads strips from the first tile to the last, takes the codes of a tile apart once, and multiplies them with every token by
/// integer dot products (VPDPBUSD). A row of weights is a lane; a token has one register of sums.
/// </summary>
/// <remarks>
/// The instruction multiplies unsigned weights with signed activations: where the format has negative values, <see cref="CodeLayout.Offset"/> makes them unsigned
/// and the sum of the low pass begins with minus the offset times the sum of the integers.
/// </remarks>
internal static class DotKernel
{
    /// <summary>Bytes of scratch memory: the scales of a super-block.</summary>
    public const int ScratchBytes = 64 * 2 * CodeLayout.SuperTiles;

    /// <summary>How far ahead of its use memory is fetched, in bytes.</summary>
    private const int PrefetchDistance = 4096;

    private static readonly AssemblerRegisterZMM High = zmm8;
    private static readonly AssemblerRegisterZMM Low = zmm9;
    private static readonly AssemblerRegisterZMM Other = zmm10;
    private static readonly AssemblerRegisterZMM TileScale = zmm11;
    private static readonly AssemblerRegisterZMM TileMinimum = zmm12;
    private static readonly AssemblerRegisterZMM LowMask = zmm13;
    private static readonly AssemblerRegisterZMM HighMask = zmm14;
    private static readonly AssemblerRegisterZMM Values = zmm15;

    /// <summary>Generates the kernel.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="tokens">Tokens, from 1 to 16.</param>
    /// <param name="passes">1 or 2.</param>
    public static GeneratedCode Generate(CodeLayout layout, int tokens, int passes)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 scales = kernel.Take();
        AssemblerRegister64 codes = kernel.Take();
        AssemblerRegister64 input = kernel.Take();
        AssemblerRegister64 sums = kernel.Take();
        AssemblerRegister64 digits = kernel.Take();
        AssemblerRegister64 steps = kernel.Take();
        AssemblerRegister64 toHeader = kernel.Take();
        AssemblerRegister64 scaleAt = kernel.Take();
        AssemblerRegister64 output = kernel.Take();
        AssemblerRegister64 ahead = kernel.TakeArgument(CodeArguments.WeightsField);
        AssemblerRegister64 scratch = kernel.TakeArgument(CodeArguments.ScratchField);

        // The loop fetches this far ahead; the beginning is fetched all at once.
        for (int at = 0; at < PrefetchDistance; at += 64)
        {
            code.prefetcht0(__byte_ptr[ahead + at]);
        }

        code.add(ahead, PrefetchDistance);
        CodeUnpacking.EmitConstants(kernel, layout, LowMask, HighMask, Values);
        Label nextStrip = code.CreateLabel();
        Label nextTile = code.CreateLabel();
        code.Label(ref nextStrip);
        code.mov(scales, kernel.Argument(CodeArguments.WeightsField));
        code.mov(codes, scales);
        code.add(codes, kernel.Argument(CodeArguments.CodesAtField));
        code.mov(input, kernel.Argument(CodeArguments.InputField));
        code.mov(sums, kernel.Argument(CodeArguments.SumsField));
        code.mov(digits, kernel.Argument(CodeArguments.DigitsField));
        code.mov(steps, kernel.Argument(CodeArguments.StepsField));
        code.mov(toHeader, 1);
        for (int token = 0; token < tokens; token++)
        {
            code.vpxord(Sum(token), Sum(token), Sum(token));
        }

        code.Label(ref nextTile);
        if (layout.HeaderBytes > 0)
        {
            Label noHeader = code.CreateLabel();
            code.dec(toHeader);
            code.jnz(noHeader);
            EmitPrefetches(layout.HeaderBytes);
            EmitHeader();
            code.Label(ref noHeader);
        }

        EmitPrefetches(layout.TileBytes + layout.TileScaleBytes);
        EmitTileScales();
        CodeUnpacking.Emit(code, layout, codes, Code, Other, LowMask, HighMask, Values);
        code.add(codes, layout.TileBytes);
        for (int token = 0; token < tokens; token++)
        {
            EmitToken(token);
        }

        code.add(input, 64 * tokens);
        code.add(sums, 4 * layout.SubBlocks * tokens);
        code.dec(steps);
        code.jnz(nextTile);

        code.mov(output, kernel.Argument(CodeArguments.OutputField));
        code.mov(scaleAt, kernel.Argument(CodeArguments.FactorsField));
        for (int token = 0; token < tokens; token++)
        {
            code.vmulps(Sum(token), Sum(token), __dword_bcst[scaleAt + (8 * token)]);
            code.vmulps(Sum(token), Sum(token), __dword_bcst[scaleAt + (8 * token) + 4]);
            code.vmovups(__zmmword_ptr[output], Sum(token));
            code.add(output, kernel.Argument(CodeArguments.OutputStrideField));
        }

        code.add(kernel.Argument(CodeArguments.OutputField), 64);
        code.mov(output, kernel.Argument(CodeArguments.StripBytesField));
        code.add(kernel.Argument(CodeArguments.WeightsField), output);
        code.dec(kernel.Argument(CodeArguments.StripsField));
        code.jnz(nextStrip);
        return kernel.Finish();

        void EmitPrefetches(int bytes)
        {
            for (int at = 0; at < bytes; at += 64)
            {
                code.prefetcht0(__byte_ptr[ahead + at]);
            }

            code.add(ahead, bytes);
            code.cmp(ahead, kernel.Argument(CodeArguments.AheadEndField));
            code.cmovae(ahead, scratch);
        }

        // The scales of all blocks of the super-block go to scratch memory; its minimums are added to the sums.
        void EmitHeader()
        {
            CodeUnpacking.EmitSubScales(kernel, layout, scales, scratch);
            if (layout.HasSuperMinimum)
            {
                int vectors = layout.SubBlocks * 2;
                for (int token = 0; token < tokens; token++)
                {
                    code.vpxord(High, High, High);
                    for (int digit = 0; digit < 3; digit++)
                    {
                        if (digit > 0)
                        {
                            code.vpslld(High, High, 8);
                        }

                        for (int vector = 0; vector < vectors; vector++)
                        {
                            code.vpdpbusd(
                                High,
                                CodeUnpacking.MinimumVector(vector),
                                __dword_bcst[digits + ((32 * layout.SubBlocks * token) + (4 * vectors * digit) + (4 * vector))]);
                        }
                    }

                    code.vcvtdq2ps(High, High);
                    code.vfmadd231ps(Sum(token), High, CodeUnpacking.MinimumUnit);
                }

                code.add(digits, 32 * layout.SubBlocks * tokens);
            }

            code.add(scales, layout.HeaderBytes);
            code.mov(toHeader, CodeLayout.SuperTiles);
            code.mov(scaleAt, scratch);
        }

        void EmitTileScales()
        {
            CodeUnpacking.EmitTileScales(kernel, layout, scales, TileScale, TileMinimum, Other);
            code.add(scales, layout.TileScaleBytes);
        }

        void EmitToken(int token)
        {
            if (layout.Scales == CodeScales.HalfWithMinimum)
            {
                // Sums are stored negated.
                code.vcvtdq2ps(High, __dword_bcst[sums + (4 * token)]);
                code.vfnmadd231ps(Sum(token), High, TileMinimum);
            }

            int groups = CodeLayout.Groups / layout.SubBlocks;
            for (int block = 0; block < layout.SubBlocks; block++)
            {
                AssemblerRegisterZMM total = passes == 2 ? Low : High;
                if (layout.Offset > 0)
                {
                    code.vpslld(total, __dword_bcst[sums + (4 * ((layout.SubBlocks * token) + block))], (byte)int.Log2(layout.Offset));
                }
                else
                {
                    code.vpxord(total, total, total);
                }

                if (passes == 2)
                {
                    code.vpxord(High, High, High);
                }

                for (int group = block * groups; group < (block + 1) * groups; group++)
                {
                    code.vpdpbusd(High, Code(group), __dword_bcst[input + ((64 * token) + (4 * group))]);
                    if (passes == 2)
                    {
                        code.vpdpbusd(Low, Code(group), __dword_bcst[input + ((64 * token) + 32 + (4 * group))]);
                    }
                }

                if (passes == 2)
                {
                    code.vpslld(High, High, 8);
                    code.vpaddd(High, High, Low);
                }

                code.vcvtdq2ps(High, High);
                if (layout.HeaderBytes > 0)
                {
                    code.vfmadd231ps(Sum(token), High, __zmmword_ptr[scaleAt + (64 * block)]);
                    if (token == tokens - 1 && block == layout.SubBlocks - 1)
                    {
                        code.add(scaleAt, 64 * layout.SubBlocks);
                    }
                }
                else
                {
                    code.vfmadd231ps(Sum(token), High, TileScale);
                }
            }
        }
    }

    private static AssemblerRegisterZMM Code(int group) => new(Register.ZMM0 + group);

    private static AssemblerRegisterZMM Sum(int token) => new(Register.ZMM16 + token);
}
