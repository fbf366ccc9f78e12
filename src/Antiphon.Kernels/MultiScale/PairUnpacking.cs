using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.MultiScale;

/// <summary>
/// Emits code for AVX2 that takes eight rows of the stored form of <see cref="CodeLayout"/> apart, into pairs of 16 bits as <see cref="SplitOrder.Pairs"/> has them: what
/// VPMADDWD multiplies. Bytes of full range would saturate the sums of VPMADDUBSW, and words take activations of 16 bits in one pass.
/// </summary>
/// <remarks>Codes stay unsigned, <see cref="CodeLayout.Offset"/> too large, but for plain bytes, which are the values. Keeps the registers 12 to 15.</remarks>
internal sealed class PairUnpacking(KernelAssembler kernel, CodeLayout layout)
{
    /// <summary>Bytes of a half of a group.</summary>
    public const int HalfBytes = 32;

    private static readonly AssemblerRegisterYMM Words = ymm12;
    private static readonly AssemblerRegisterYMM LowMask = ymm13;
    private static readonly AssemblerRegisterYMM HighMask = ymm14;
    private static readonly AssemblerRegisterYMM Values = ymm15;

    private readonly Assembler code = kernel.Code;

    /// <summary>Holds the super-block's number that minimums are multiples of, after <see cref="EmitSubScales"/>.</summary>
    public static AssemblerRegisterYMM MinimumUnit => ymm6;

    /// <summary>What codes are too large by.</summary>
    public static int OffsetOf(CodeLayout layout) => layout.IsPlain ? 0 : layout.Offset;

    /// <summary>Holds the multiples of four blocks for each row, as bytes, after <see cref="EmitSubScales"/>.</summary>
    public AssemblerRegisterYMM MinimumVector(int vector) => new(Register.YMM0 + (layout.Scales == CodeScales.SuperSixesWithMinimum ? 2 : 0) + vector);

    /// <summary>Emits code that loads the constants of <see cref="EmitGroup"/>.</summary>
    public void EmitConstants()
    {
        if (layout.IsPlain || layout.IsWords)
        {
            return;
        }

        code.vmovdqu(Words, Narrow(kernel.Words(_ => IsDirect ? (1 << layout.LowBits) - 1 : 0xFF)));
        if (IsDirect)
        {
            return;
        }

        code.vmovdqu(LowMask, Narrow(kernel.Bytes(_ => (1 << layout.LowBits) - 1)));
        if (layout.HighBits > 0)
        {
            code.vmovdqu(HighMask, Narrow(kernel.Bytes(_ => ((1 << layout.HighBits) - 1) << layout.LowBits)));
        }

        if (layout.Table is { } table)
        {
            code.vmovdqu(Values, Narrow(kernel.Bytes(i => table[i % 16] + layout.Offset)));
        }
    }

    /// <summary>Whether <see cref="EmitNibble"/> applies.</summary>
    public bool HasNibbles => IsDirect && layout.LowBits == 4;

    /// <summary>Emits code that loads the constants of <see cref="EmitNibble"/>.</summary>
    public void EmitNibbleConstants()
    {
        code.vmovdqu(Words, Narrow(kernel.Words(_ => 0x000F)));
        code.vmovdqu(LowMask, Narrow(kernel.Words(_ => 0x00F0)));
        code.vmovdqu(HighMask, Narrow(kernel.Words(_ => 0x0F00)));
    }

    /// <summary>Emits code for pairs of the stored words, where each is four codes of four bits and nothing else.</summary>
    /// <param name="nibble">Which of the four: their order is that of columns 0, 16, 1 and 17, or of the columns 2 behind these.</param>
    /// <param name="words">Holds the stored words of eight rows.</param>
    /// <param name="pairs">Receives the pairs.</param>
    /// <returns>By how many bits they are shifted to the left: sums of those stay exact.</returns>
    public int EmitNibble(int nibble, AssemblerRegisterYMM words, AssemblerRegisterYMM pairs)
    {
        if (nibble == 3)
        {
            code.vpsrlw(pairs, words, 12);
            return 0;
        }

        code.vpand(pairs, words, nibble == 0 ? Words : nibble == 1 ? LowMask : HighMask);
        return 4 * nibble;
    }

    /// <summary>Emits code for a group of columns of eight rows.</summary>
    /// <param name="group">The group.</param>
    /// <param name="half">0 for the strip's first eight rows, 1 for the others.</param>
    /// <param name="codes">Holds the address of the tile's codes.</param>
    /// <param name="first">Receives first and third column.</param>
    /// <param name="second">Receives second and fourth column.</param>
    /// <param name="temporary">A register to use.</param>
    public void EmitGroup(int group, int half, AssemblerRegister64 codes, AssemblerRegisterYMM first, AssemblerRegisterYMM second, AssemblerRegisterYMM temporary)
    {
        if (layout.IsWords)
        {
            code.vmovdqu(first, Plane(2 * group));
            code.vmovdqu(second, Plane((2 * group) + 1));
            return;
        }

        int bits = layout.LowBits;
        AssemblerMemoryOperand low = Plane(group % bits);
        int shift = group / bits * bits;
        if (layout.IsPlain)
        {
            code.vmovdqu(second, low);
            code.vpsllw(first, second, 8);
            code.vpsraw(second, second, 8);
            code.vpsraw(first, first, 8);
            return;
        }

        if (IsDirect)
        {
            code.vmovdqu(second, low);
            if (shift > 0)
            {
                code.vpsrlw(first, second, (byte)shift);
            }

            code.vpand(first, shift > 0 ? first : second, Words);
            code.vpsrlw(second, second, (byte)(8 + shift));
            if (shift + bits < 8)
            {
                code.vpand(second, second, Words);
            }

            return;
        }

        // As bytes first: what the shifts bring in from the neighbours is masked away.
        if (shift > 0)
        {
            code.vmovdqu(second, low);
            code.vpsrlw(second, second, (byte)shift);
            code.vpand(second, second, LowMask);
        }
        else
        {
            code.vpand(second, LowMask, low);
        }

        if (layout.HighBits > 0)
        {
            EmitHighBits(group, second, temporary);
        }

        if (layout.Table is not null)
        {
            code.vpshufb(second, Values, second);
        }

        code.vpand(first, second, Words);
        code.vpsrlw(second, second, 8);

        AssemblerMemoryOperand Plane(int vector) => __ymmword_ptr[codes + ((64 * vector) + (HalfBytes * half))];

        void EmitHighBits(int column, AssemblerRegisterYMM to, AssemblerRegisterYMM field)
        {
            int high = layout.HighBits;
            int up = bits - (column / high * high);
            AssemblerMemoryOperand plane = Plane(bits + (column % high));
            if (up == 0)
            {
                code.vpand(field, HighMask, plane);
            }
            else
            {
                code.vmovdqu(field, plane);
                if (up > 0)
                {
                    code.vpsllw(field, field, (byte)up);
                }
                else
                {
                    code.vpsrlw(field, field, (byte)-up);
                }

                code.vpand(field, field, HighMask);
            }

            code.vpor(to, to, field);
        }
    }

    /// <summary>Emits code for the scale of a tile of a format without super-blocks.</summary>
    public void EmitTileScale(AssemblerRegister64 tile, int half, AssemblerRegisterYMM scale, AssemblerRegisterYMM temporary)
    {
        if (layout.Scales is CodeScales.Half or CodeScales.HalfWithMinimum)
        {
            code.vcvtph2ps(scale, __xmmword_ptr[tile + (16 * half)]);
            return;
        }

        if (layout.Scales == CodeScales.FloatExponent)
        {
            code.vpmovzxbd(scale, __qword_ptr[tile + (8 * half)]);
            code.vpslld(scale, scale, 23);
            return;
        }

        // (e - 1) << 23 is the number but for exponents below 2, where it is (e + 1) << 21, which is less for all others.
        code.vpmovzxbd(scale, __qword_ptr[tile + (8 * half)]);
        code.vpaddd(temporary, scale, Narrow(kernel.Vector(_ => 1)));
        code.vpaddd(scale, scale, Narrow(kernel.Vector(_ => uint.MaxValue)));
        code.vpslld(temporary, temporary, 21);
        code.vpslld(scale, scale, 23);
        code.vpmaxsd(scale, scale, temporary);
    }

    /// <summary>
    /// Emits code for eight rows of a super-block's header: the scale of every block goes to memory; minimums stay in <see cref="MinimumVector"/> and <see cref="MinimumUnit"/>.
    /// Uses the registers 0 to 6.
    /// </summary>
    /// <param name="header">Holds the address of the header.</param>
    /// <param name="half">Which rows.</param>
    /// <param name="scales">Where the scale of a block goes.</param>
    public void EmitSubScales(AssemblerRegister64 header, int half, Func<int, AssemblerMemoryOperand> scales)
    {
        AssemblerRegisterYMM unit = ymm4;
        AssemblerRegisterYMM temporary = ymm5;
        int vectorsAt = layout.HeaderBytes - (64 * layout.SubScaleVectors);
        for (int vector = 0; vector < layout.SubScaleVectors; vector++)
        {
            code.vmovdqu(Bytes(vector), __ymmword_ptr[header + (vectorsAt + (64 * vector) + (HalfBytes * half))]);
        }

        code.vcvtph2ps(unit, __xmmword_ptr[header + (16 * half)]);
        bool nibbles = layout.Scales == CodeScales.SuperNibblesWithMinimum;
        if (layout.Scales is CodeScales.SuperSixes or CodeScales.SuperSixesWithMinimum)
        {
            // The last four numbers: two bits from the top of each byte.
            for (int vector = 0; vector < 3; vector++)
            {
                AssemblerRegisterYMM field = vector == 0 ? Bytes(3) : temporary;
                code.vpsrld(field, Bytes(vector), (byte)(6 - (2 * vector)));
                code.vpand(field, field, Narrow(kernel.Bytes(_ => 3 << (2 * vector))));
                if (vector > 0)
                {
                    code.vpor(Bytes(3), Bytes(3), field);
                }

                code.vpand(Bytes(vector), Bytes(vector), Narrow(kernel.Bytes(_ => 0x3F)));
            }
        }

        for (int block = 0; block < CodeLayout.SuperTiles * layout.SubBlocks; block++)
        {
            AssemblerRegisterYMM bytes = Bytes(block / 4);
            int bit = block % 4 * 8;
            if (layout.Scales == CodeScales.SuperBytes)
            {
                // Signed.
                if (bit < 24)
                {
                    code.vpslld(temporary, bytes, (byte)(24 - bit));
                }

                code.vpsrad(temporary, bit < 24 ? temporary : bytes, 24);
            }
            else
            {
                if (bit > 0)
                {
                    code.vpsrld(temporary, bytes, (byte)bit);
                }

                if (bit < 24 || nibbles)
                {
                    code.vpand(temporary, bit > 0 ? temporary : bytes, Narrow(kernel.Vector(_ => nibbles ? 0x0Fu : 0xFFu)));
                }
            }

            if (layout.Scales == CodeScales.SuperSixes)
            {
                code.vpsubd(temporary, temporary, Narrow(kernel.Vector(_ => 32)));
            }

            code.vcvtdq2ps(temporary, temporary);
            code.vmulps(temporary, temporary, unit);
            code.vmovups(scales(block), temporary);
        }

        if (!layout.HasSuperMinimum)
        {
            return;
        }

        code.vcvtph2ps(MinimumUnit, __xmmword_ptr[header + (32 + (16 * half))]);
        for (int vector = 0; vector < 4 && nibbles; vector++)
        {
            code.vpsrld(Bytes(vector), Bytes(vector), 4);
            code.vpand(Bytes(vector), Bytes(vector), Narrow(kernel.Bytes(_ => 0x0F)));
        }

        static AssemblerRegisterYMM Bytes(int vector) => new(Register.YMM0 + vector);
    }

    // Whether words can be taken from the stored bytes at once.
    private bool IsDirect => layout.HighBits == 0 && layout.Table is null;

    private static AssemblerMemoryOperand Narrow(AssemblerMemoryOperand constant) => __ymmword_ptr[constant];
}
