using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.MultiScale;

/// <summary>The kernel for many tokens without AMX: strips that are unpacked already, three at a time, times up to 16 tokens (see <see cref="BlockProducts"/>).</summary>
internal static class PanelKernel
{
    /// <summary>Tokens of a call.</summary>
    public const int MaxTokens = SplitForm.GroupTokens;

    /// <summary>Bytes of scratch memory: the float sums.</summary>
    public const int ScratchBytes = 64 * BlockProducts.MaxStrips * MaxTokens;

    // How far ahead of their use values are fetched into the first-level cache, in tiles.
    private const int TilesAhead = 2;

    // Of the packed weights that are unpacked next, how much is fetched in each step: a panel's in the time that some thirty tokens take.
    private const int AheadBytes = 10 * 64;

    /// <summary>Generates the kernel.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="strips">Strips at a time, from 1 to 3; <see cref="CodeArguments.Strips"/> is a multiple of it.</param>
    /// <param name="tokens">Tokens, from 1 to 16.</param>
    /// <param name="words">Whether the strips hold words, else bytes with starts.</param>
    public static GeneratedCode Generate(CodeLayout layout, int strips, int tokens, bool words)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        int blocks = layout.SubBlocks;
        int tileBytes = words ? UnpackedStrip.WordTileBytes : UnpackedStrip.TileBytes;
        AssemblerRegister64 scratch = kernel.TakeArgument(CodeArguments.ScratchField);
        AssemblerRegister64 stripBytes = kernel.TakeArgument(CodeArguments.StripBytesField);
        AssemblerRegister64 values = kernel.Take();
        AssemblerRegister64 scales = kernel.Take();
        AssemblerRegister64 starts = kernel.Take();
        AssemblerRegister64 minimums = kernel.Take();
        AssemblerRegister64 input = kernel.Take();
        AssemblerRegister64 tokenSums = kernel.Take();
        AssemblerRegister64 digits = kernel.Take();
        AssemblerRegister64 steps = kernel.Take();
        AssemblerRegister64 sums = kernel.Take();
        AssemblerRegister64 near = kernel.Take();
        AssemblerRegister64 ahead = kernel.TakeArgument(CodeArguments.AheadField);

        // More than 8 tokens take two parts, the first of them the larger by at most one.
        int parts = (tokens + BlockProducts.MaxTokens - 1) / BlockProducts.MaxTokens;
        int part = (tokens + parts - 1) / parts;
        BlockProducts products = new(kernel, layout, strips, 1, words)
        {
            Values = (strip, vector) => AtStrip(strip, values, 64 * vector),
            Starts = (strip, block) => AtStrip(strip, starts, 64 * block),
            Scales = (strip, block) => AtStrip(strip, scales, 64 * block),
            Minimums = strip => AtStrip(strip, minimums, 0),
            Sums = (strip, token) => __zmmword_ptr[sums + (64 * ((((token / part * strips) + strip) * part) + (token % part)))],
            Input = input,
            TokenSums = tokenSums,
            Digits = digits,
        };

        Label nextStrips = code.CreateLabel();
        Label nextTile = code.CreateLabel();
        code.Label(ref nextStrips);
        code.mov(values, kernel.Argument(CodeArguments.WeightsField));
        code.mov(steps, kernel.Argument(CodeArguments.StepsField));

        // See UnpackedStrip: values take 512 bytes a tile, words twice as many, scales and starts 64 bytes a block each.
        code.mov(scales, steps);
        code.shl(scales, (byte)(words ? 10 : 9));
        code.add(scales, values);
        code.mov(starts, steps);
        code.shl(starts, (byte)(5 + blocks));
        code.mov(minimums, starts);
        code.add(starts, scales);
        code.add(minimums, words ? scales : starts);
        code.lea(near, __[values + (TilesAhead * tileBytes)]);
        code.mov(input, kernel.Argument(CodeArguments.InputField));
        code.mov(tokenSums, kernel.Argument(CodeArguments.SumsField));
        code.mov(digits, kernel.Argument(CodeArguments.DigitsField));
        code.mov(sums, scratch);
        products.EmitClear(tokens);

        code.Label(ref nextTile);
        if (layout.HasSuperMinimum)
        {
            EmitSuperMinimums();
        }

        for (int at = 0; at < AheadBytes; at += 64)
        {
            code.prefetcht1(__byte_ptr[ahead + at]);
        }

        code.add(ahead, AheadBytes);
        code.cmp(ahead, kernel.Argument(CodeArguments.AheadEndField));
        code.cmovae(ahead, scratch);
        EmitParts();
        code.mov(sums, scratch);
        code.add(values, tileBytes);
        code.add(scales, 64 * blocks);
        if (!words)
        {
            code.add(starts, 64 * blocks);
        }

        if (layout.Scales == CodeScales.HalfWithMinimum)
        {
            code.add(minimums, 64);
        }

        code.dec(steps);
        code.jnz(nextTile);

        code.mov(values, kernel.Argument(CodeArguments.OutputField));
        code.mov(scales, kernel.Argument(CodeArguments.FactorsField));
        products.EmitResults(tokens, scales, values);
        code.add(kernel.Argument(CodeArguments.OutputField), 64 * strips);
        for (int strip = 0; strip < strips; strip++)
        {
            code.add(kernel.Argument(CodeArguments.WeightsField), stripBytes);
        }

        code.sub(kernel.Argument(CodeArguments.StripsField), strips);
        code.jnz(nextStrips);
        code.mov(kernel.Argument(CodeArguments.AheadField), ahead);
        return kernel.Finish();

        AssemblerMemoryOperand AtStrip(int strip, AssemblerRegister64 start, int at) =>
            strip == 0 ? __zmmword_ptr[start + at] : __zmmword_ptr[start + (stripBytes * strip) + at];

        // Equal parts are a loop: code of half the size is decoded less often.
        void EmitParts()
        {
            if (tokens != parts * part)
            {
                EmitPart(part);
                EmitPart(tokens - part);
                return;
            }

            Label nextPart = code.CreateLabel();
            code.Label(ref nextPart);
            EmitPart(part);
            if (parts > 1)
            {
                code.sub(sums, scratch);
                code.cmp(sums, 64 * strips * tokens);
                code.lea(sums, __[sums + scratch]);
                code.jne(nextPart);
            }
        }

        void EmitPart(int count)
        {
            int lines = tileBytes / parts / 64;
            products.Emit(count, [.. Enumerable.Range(0, strips * lines).Select(line => AtStrip(line / lines, near, 64 * (line % lines)))]);
            code.add(near, tileBytes / parts);
            code.add(input, 64 * count);
            code.add(tokenSums, 4 * blocks * count);
            code.add(sums, 64 * strips * count);
        }

        void EmitSuperMinimums()
        {
            Label inSuper = code.CreateLabel();
            code.test(steps, CodeLayout.SuperTiles - 1);
            code.jnz(inSuper);
            for (int strip = 0; strip < strips; strip++)
            {
                code.vmovaps(zmm20, AtStrip(strip, minimums, 0));
                for (int vector = 0; vector < 2 * blocks; vector++)
                {
                    code.vmovdqa64(Multiples(vector), AtStrip(strip, minimums, 64 * (vector + 1)));
                }

                products.EmitSuperMinimums(strip, tokens, zmm20, Multiples);
            }

            code.add(minimums, 64 + (128 * blocks));
            code.add(digits, 32 * blocks * tokens);
            code.Label(ref inSuper);
        }

        static AssemblerRegisterZMM Multiples(int vector) => new(Register.ZMM16 + vector);
    }
}
