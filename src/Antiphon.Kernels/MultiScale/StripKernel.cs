using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.MultiScale;

/// <summary>
/// The kernel for up to 16 tokens without AMX: packed strips, three at a time, times all tokens (see <see cref="BlockProducts"/>). Tiles are taken apart, into bytes or words, into memory that
/// stays in the first-level cache, so that each broadcast of activations serves three strips.
/// </summary>
internal static class StripKernel
{
    /// <summary>Tokens that are multiplied at a time.</summary>
    public const int MaxTokens = SplitForm.GroupTokens;

    /// <summary>Bytes of scratch memory.</summary>
    public const int ScratchBytes = MinimumsAt + (64 * BlockProducts.MaxStrips);

    private const int ValuesAt = 64 * BlockProducts.MaxStrips * MaxTokens;
    private const int StartsAt = ValuesAt + (UnpackedStrip.WordTileBytes * BlockProducts.MaxStrips);
    private const int ScalesAt = StartsAt + (128 * BlockProducts.MaxStrips);
    private const int StripScales = 64 * 2 * CodeLayout.SuperTiles;
    private const int MinimumsAt = ScalesAt + (StripScales * BlockProducts.MaxStrips);

    // How far ahead of their use codes are fetched, in tiles.
    private const int TilesAhead = 4;

    private static readonly AssemblerRegisterZMM Other = zmm8;
    private static readonly AssemblerRegisterZMM TileScale = zmm9;
    private static readonly AssemblerRegisterZMM TileMinimum = zmm10;
    private static readonly AssemblerRegisterZMM LowMask = zmm20;
    private static readonly AssemblerRegisterZMM HighMask = zmm21;
    private static readonly AssemblerRegisterZMM TableValues = zmm22;
    private static readonly AssemblerRegisterZMM Bias = zmm23;

    /// <summary>Generates the kernel.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="strips">Strips at a time, from 1 to 3; <see cref="CodeArguments.Strips"/> is a multiple of it.</param>
    /// <param name="tokens">Tokens, from 1 to 16.</param>
    /// <param name="passes">1 or 2.</param>
    /// <param name="words">Whether values become words, or are: both passes in one.</param>
    /// <param name="bitMatrices">Whether the processor multiplies bytes with matrices of bits.</param>
    public static GeneratedCode Generate(CodeLayout layout, int strips, int tokens, int passes, bool words, bool bitMatrices)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        int blocks = layout.SubBlocks;
        AssemblerRegister64 scratch = kernel.TakeArgument(CodeArguments.ScratchField);
        AssemblerRegister64 stripBytes = kernel.TakeArgument(CodeArguments.StripBytesField);
        AssemblerRegister64 scales = kernel.Take();
        AssemblerRegister64 codes = kernel.Take();
        AssemblerRegister64 input = kernel.Take();
        AssemblerRegister64 tokenSums = kernel.Take();
        AssemblerRegister64 digits = kernel.Take();
        AssemblerRegister64 steps = kernel.Take();
        AssemblerRegister64 sums = kernel.Take();
        AssemblerRegister64 scaleAt = kernel.Take();
        AssemblerRegister64 at = kernel.Take();
        AssemblerRegister64 ahead = kernel.Take();
        AssemblerRegister64 scalesAhead = kernel.Take();

        // More than 8 tokens take two parts, the first of them the larger by at most one.
        int parts = (tokens + BlockProducts.MaxTokens - 1) / BlockProducts.MaxTokens;
        int part = (tokens + parts - 1) / parts;
        bool isStored = layout.IsWords || (layout.IsPlain && !words);
        int scaleBytes = layout.TileScaleBytes + (layout.HeaderBytes / CodeLayout.SuperTiles);
        BlockProducts products = new(kernel, layout, strips, passes, words)
        {
            Values = (strip, vector) => isStored ? AtStrip(strip, codes, 64 * vector) : Unpacked(strip, vector),
            Starts = (strip, block) => __zmmword_ptr[scratch + (StartsAt + (128 * strip) + (64 * block))],
            Scales = (strip, block) => __zmmword_ptr[scaleAt + ((StripScales * strip) + (64 * block))],
            Minimums = strip => __zmmword_ptr[scratch + (MinimumsAt + (64 * strip))],
            Sums = (strip, token) => __zmmword_ptr[sums + (64 * ((((token / part * strips) + strip) * part) + (token % part)))],
            Input = input,
            TokenSums = tokenSums,
            Digits = digits,
        };

        Label nextStrips = code.CreateLabel();
        Label nextTile = code.CreateLabel();
        code.mov(ahead, kernel.Argument(CodeArguments.WeightsField));
        code.add(ahead, kernel.Argument(CodeArguments.CodesAtField));
        code.add(ahead, TilesAhead * layout.TileBytes);
        code.Label(ref nextStrips);
        code.mov(scales, kernel.Argument(CodeArguments.WeightsField));
        code.mov(codes, scales);
        code.add(codes, kernel.Argument(CodeArguments.CodesAtField));
        code.mov(scalesAhead, scales);
        EmitNextStrips(scalesAhead);
        code.mov(input, kernel.Argument(CodeArguments.InputField));
        code.mov(tokenSums, kernel.Argument(CodeArguments.SumsField));
        code.mov(digits, kernel.Argument(CodeArguments.DigitsField));
        code.mov(steps, kernel.Argument(CodeArguments.StepsField));
        code.lea(scaleAt, __[scratch + ScalesAt]);
        code.mov(sums, scratch);
        products.EmitClear(tokens);

        code.Label(ref nextTile);
        if (layout.HeaderBytes > 0)
        {
            EmitHeader();
        }

        // The products take every register.
        if (layout.IsWords)
        {
            // Nothing is taken apart.
        }
        else if (bitMatrices)
        {
            CodeUnpacking.EmitMatrices(kernel, layout, BitMatrix, TableValues);
        }
        else
        {
            CodeUnpacking.EmitConstants(kernel, layout, LowMask, HighMask, TableValues);
        }

        if (!words)
        {
            code.vmovdqa64(Bias, kernel.Bytes(_ => 128));
        }

        for (int strip = 0; strip < strips; strip++)
        {
            EmitTile(strip);
        }

        EmitAhead();
        code.add(scales, layout.TileScaleBytes);
        EmitParts();
        code.mov(sums, scratch);
        code.add(codes, layout.TileBytes);
        code.add(scalesAhead, scaleBytes);
        if (layout.HeaderBytes > 0)
        {
            code.add(scaleAt, 64 * blocks);
        }

        code.dec(steps);
        code.jnz(nextTile);

        code.mov(codes, kernel.Argument(CodeArguments.OutputField));
        code.mov(scales, kernel.Argument(CodeArguments.FactorsField));
        products.EmitResults(tokens, scales, codes);
        code.add(kernel.Argument(CodeArguments.OutputField), 64 * strips);
        code.mov(at, kernel.Argument(CodeArguments.WeightsField));
        EmitNextStrips(at);
        code.mov(kernel.Argument(CodeArguments.WeightsField), at);
        code.sub(kernel.Argument(CodeArguments.StripsField), strips);
        code.jnz(nextStrips);
        return kernel.Finish();

        AssemblerMemoryOperand Unpacked(int strip, int vector) => __zmmword_ptr[scratch + (ValuesAt + (UnpackedStrip.WordTileBytes * strip) + (64 * vector))];

        AssemblerMemoryOperand AtStrip(int strip, AssemblerRegister64 start, int offset) =>
            strip == 0 ? __zmmword_ptr[start + offset] : __zmmword_ptr[start + (stripBytes * strip) + offset];

        void EmitNextStrips(AssemblerRegister64 place)
        {
            for (int strip = 0; strip < strips; strip++)
            {
                code.add(place, stripBytes);
            }
        }

        // Equal parts are a loop: code of half the size is decoded less often.
        void EmitParts()
        {
            if (tokens == parts * part)
            {
                Label nextPart = code.CreateLabel();
                code.Label(ref nextPart);
                EmitPart(part);
                if (parts > 1)
                {
                    code.lea(at, __[scratch + (64 * strips * tokens)]);
                    code.cmp(sums, at);
                    code.jne(nextPart);
                }
            }
            else
            {
                EmitPart(part);
                EmitPart(tokens - part);
            }
        }

        void EmitPart(int count)
        {
            products.Emit(count, [.. Enumerable.Range(0, strips).SelectMany(Fetches)]);
            code.add(input, 64 * count);
            code.add(tokenSums, 4 * blocks * count);
            code.add(sums, 64 * strips * count);
            code.add(ahead, layout.TileBytes / parts);
        }

        // Codes some tiles ahead, scales as much ahead as a pass over the strips.
        IEnumerable<AssemblerMemoryOperand> Fetches(int strip) =>
            Enumerable.Range(0, ((layout.TileBytes / parts) + 63) / 64).Select(line => AtStrip(strip, ahead, 64 * line)).Append(AtStrip(strip, scalesAhead, 0));

        // Behind the last tile comes the first of the next strips.
        void EmitAhead()
        {
            Label same = code.CreateLabel();
            code.cmp(steps, TilesAhead);
            code.jne(same);
            code.mov(ahead, kernel.Argument(CodeArguments.WeightsField));
            code.add(ahead, kernel.Argument(CodeArguments.CodesAtField));
            EmitNextStrips(ahead);
            code.Label(ref same);
        }

        // The scales of all blocks of the super-block go to scratch memory; its minimums are added to the sums.
        void EmitHeader()
        {
            Label noHeader = code.CreateLabel();
            code.test(steps, CodeLayout.SuperTiles - 1);
            code.jnz(noHeader);
            code.lea(scaleAt, __[scratch + ScalesAt]);
            for (int strip = 0; strip < strips; strip++)
            {
                // CodeUnpacking.EmitSubScales writes from a register on.
                if (strip == 0)
                {
                    code.mov(at, scales);
                }
                else
                {
                    code.add(at, stripBytes);
                    code.add(scaleAt, StripScales);
                }

                CodeUnpacking.EmitSubScales(kernel, layout, at, scaleAt);
                if (layout.HasSuperMinimum)
                {
                    products.EmitSuperMinimums(strip, tokens, CodeUnpacking.MinimumUnit, CodeUnpacking.MinimumVector);
                }
            }

            code.lea(scaleAt, __[scratch + ScalesAt]);
            code.add(scales, layout.HeaderBytes);
            if (layout.HasSuperMinimum)
            {
                code.add(digits, 32 * blocks * tokens);
            }

            code.Label(ref noHeader);
        }

        void EmitTile(int strip)
        {
            if (layout.TileScaleBytes > 0)
            {
                code.lea(at, AtStrip(strip, scales, 0));
                CodeUnpacking.EmitTileScales(kernel, layout, at, TileScale, TileMinimum, Other);
                code.vmovaps(products.Scales(strip, 0), TileScale);
                if (layout.HasMinimum)
                {
                    code.vmovaps(products.Minimums(strip), TileMinimum);
                }
            }

            if (layout.IsWords)
            {
                return;
            }

            if (layout.IsPlain)
            {
                for (int group = 0; group < CodeLayout.Groups && words; group++)
                {
                    code.vmovdqu64(Code(group), AtStrip(strip, codes, 64 * group));
                }
            }
            else
            {
                code.lea(at, AtStrip(strip, codes, 0));
                if (bitMatrices)
                {
                    CodeUnpacking.EmitValues(code, layout, at, Code, Other, TileScale, BitMatrix, TableValues);
                }
                else
                {
                    CodeUnpacking.Emit(code, layout, at, Code, Other, LowMask, HighMask, TableValues);
                }

                for (int group = 0; group < CodeLayout.Groups; group++)
                {
                    if (layout.Offset > 0 && !bitMatrices)
                    {
                        code.vpsubb(Code(group), Code(group), kernel.Bytes(_ => layout.Offset));
                    }

                    if (!words)
                    {
                        code.vmovdqa64(Unpacked(strip, group), Code(group));
                    }
                }
            }

            if (words)
            {
                CodeUnpacking.EmitWords(code, Code, Other, vector => Unpacked(strip, vector));
                return;
            }

            for (int block = 0; block < blocks; block++)
            {
                // Two sums, since the instructions wait for each other.
                AssemblerRegisterZMM[] chains = [zmm8, zmm9];
                foreach (AssemblerRegisterZMM chain in chains)
                {
                    code.vpxord(chain, chain, chain);
                }

                int groups = CodeLayout.Groups / blocks;
                for (int i = 0; i < groups; i++)
                {
                    int group = (block * groups) + i;
                    if (layout.IsPlain)
                    {
                        code.vpdpbusd(chains[i % 2], Bias, products.Values(strip, group));
                    }
                    else
                    {
                        code.vpdpbusd(chains[i % 2], Bias, Code(group));
                    }
                }

                code.vpxord(zmm10, zmm10, zmm10);
                code.vpaddd(zmm8, zmm8, zmm9);
                code.vpsubd(zmm8, zmm10, zmm8);
                code.vmovdqa64(products.Starts(strip, block), zmm8);
            }
        }
    }

    private static AssemblerRegisterZMM Code(int group) => new(Register.ZMM0 + group);

    private static AssemblerRegisterZMM BitMatrix(int field) => new(field < 8 ? Register.ZMM24 + field : Register.ZMM11 + field - 8);
}
