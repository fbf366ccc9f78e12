using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.MultiScale;

/// <summary>Emits code that takes the stored form of <see cref="CodeLayout"/> apart.</summary>
internal static class CodeUnpacking
{
    private static readonly AssemblerRegisterZMM Unit = zmm4;
    private static readonly AssemblerRegisterZMM Temporary = zmm5;

    /// <summary>Holds the super-block's number that minimums are multiples of, after <see cref="EmitSubScales"/>.</summary>
    public static AssemblerRegisterZMM MinimumUnit => zmm6;

    /// <summary>Holds the multiples of four blocks for each row, as bytes, after <see cref="EmitSubScales"/>.</summary>
    public static AssemblerRegisterZMM MinimumVector(int vector) => new(Register.ZMM0 + vector);

    /// <summary>Emits code that loads the three constants of <see cref="Emit"/>.</summary>
    public static void EmitConstants(KernelAssembler kernel, CodeLayout layout, AssemblerRegisterZMM lowMask, AssemblerRegisterZMM highMask, AssemblerRegisterZMM values)
    {
        kernel.Code.vmovdqa64(lowMask, kernel.Bytes(_ => layout.IsPlain ? 0x80 : (1 << layout.LowBits) - 1));
        if (layout.HighBits > 0)
        {
            kernel.Code.vmovdqa64(highMask, kernel.Bytes(_ => ((1 << layout.HighBits) - 1) << layout.LowBits));
        }

        if (layout.Table is { } table)
        {
            kernel.Code.vmovdqa64(values, kernel.Bytes(i => table[i % 16] + layout.Offset));
        }
    }

    /// <summary>Emits code for the codes of a tile: unsigned, one register for each group.</summary>
    /// <param name="code">Where to.</param>
    /// <param name="layout">The layout.</param>
    /// <param name="tile">Holds the address of the tile's codes.</param>
    /// <param name="register">The register of a group.</param>
    /// <param name="temporary">A register to use.</param>
    /// <param name="lowMask">The bits of the first plane; for bytes, what makes them unsigned.</param>
    /// <param name="highMask">The bits of the second plane, where they belong.</param>
    /// <param name="values">The value of each code, where the format has a table.</param>
    public static void Emit(
        Assembler code,
        CodeLayout layout,
        AssemblerRegister64 tile,
        Func<int, AssemblerRegisterZMM> register,
        AssemblerRegisterZMM temporary,
        AssemblerRegisterZMM lowMask,
        AssemblerRegisterZMM highMask,
        AssemblerRegisterZMM values)
    {
        if (layout.IsPlain)
        {
            for (int group = 0; group < CodeLayout.Groups; group++)
            {
                code.vpxord(register(group), lowMask, __zmmword_ptr[tile + (64 * group)]);
            }

            return;
        }

        int bits = layout.LowBits;
        for (int vector = 0; vector < bits; vector++)
        {
            // The first field is masked last, so that the register can serve the others before.
            AssemblerRegisterZMM first = register(vector);
            code.vmovdqu64(first, __zmmword_ptr[tile + (64 * vector)]);
            for (int field = 1; field * bits < 8; field++)
            {
                AssemblerRegisterZMM other = register(vector + (field * bits));
                code.vpsrlw(other, first, (byte)(field * bits));
                code.vpandd(other, other, lowMask);
            }

            code.vpandd(first, first, lowMask);
        }

        int high = layout.HighBits;
        for (int group = 0; group < CodeLayout.Groups && high > 0; group++)
        {
            AssemblerMemoryOperand plane = __zmmword_ptr[tile + (64 * (bits + (group % high)))];
            int shift = (group / high * high) - bits;
            if (shift == 0)
            {
                code.vpternlogd(register(group), highMask, plane, 0xF8);
                continue;
            }

            code.vmovdqu64(temporary, plane);
            if (shift > 0)
            {
                code.vpsrlw(temporary, temporary, (byte)shift);
            }
            else
            {
                code.vpsllw(temporary, temporary, (byte)-shift);
            }

            // code | (field & mask)
            code.vpternlogd(register(group), temporary, highMask, 0xF8);
        }

        for (int group = 0; group < CodeLayout.Groups && layout.Table is not null; group++)
        {
            code.vpshufb(register(group), values, register(group));
        }
    }

    /// <summary>Emits code that loads the constants of <see cref="EmitValues"/>.</summary>
    /// <param name="kernel">Where to.</param>
    /// <param name="layout">The layout; not of plain bytes.</param>
    /// <param name="matrix">The register of a field's matrix: those of the first plane, then those of the second.</param>
    /// <param name="values">Receives the value of each code, where the format has a table.</param>
    public static void EmitMatrices(KernelAssembler kernel, CodeLayout layout, Func<int, AssemblerRegisterZMM> matrix, AssemblerRegisterZMM values)
    {
        int lows = 8 / layout.LowBits;
        int highs = layout.HighBits > 0 ? 8 / layout.HighBits : 0;
        for (int field = 0; field < lows + highs && !layout.IsPlain; field++)
        {
            bool low = field < lows;
            byte[] rows = low
                ? BitRows(layout, field * layout.LowBits, layout.LowBits, 0)
                : BitRows(layout, (field - lows) * layout.HighBits, layout.HighBits, layout.LowBits);
            kernel.Code.vmovdqa64(matrix(field), kernel.Bytes(i => rows[i % 8]));
        }

        if (layout.Table is { } table)
        {
            kernel.Code.vmovdqa64(values, kernel.Bytes(i => table[i % 16]));
        }
    }

    /// <summary>Emits code for the values of a tile: signed bytes, one register for each group. A product with a matrix of bits takes a field out of its byte, and its offset away.</summary>
    /// <param name="code">Where to.</param>
    /// <param name="layout">The layout; not of plain bytes.</param>
    /// <param name="tile">Holds the address of the tile's codes.</param>
    /// <param name="register">The register of a group.</param>
    /// <param name="temporary">A register to use.</param>
    /// <param name="plane">Another.</param>
    /// <param name="matrix">As for <see cref="EmitMatrices"/>.</param>
    /// <param name="values">The value of each code, where the format has a table.</param>
    public static void EmitValues(
        Assembler code,
        CodeLayout layout,
        AssemblerRegister64 tile,
        Func<int, AssemblerRegisterZMM> register,
        AssemblerRegisterZMM temporary,
        AssemblerRegisterZMM plane,
        Func<int, AssemblerRegisterZMM> matrix,
        AssemblerRegisterZMM values)
    {
        int bits = layout.LowBits;
        int high = layout.HighBits;
        for (int vector = 0; vector < bits; vector++)
        {
            code.vmovdqu64(plane, __zmmword_ptr[tile + (64 * vector)]);
            for (int field = 0; field * bits < 8; field++)
            {
                code.vgf2p8affineqb(register(vector + (field * bits)), plane, matrix(field), SignBits(layout, 0, bits));
            }
        }

        for (int vector = 0; vector < high; vector++)
        {
            code.vmovdqu64(plane, __zmmword_ptr[tile + (64 * (bits + vector))]);
            for (int field = 0; field * high < 8; field++)
            {
                AssemblerRegisterZMM group = register(vector + (field * high));
                code.vgf2p8affineqb(temporary, plane, matrix((8 / bits) + field), SignBits(layout, bits, high));
                code.vpord(group, group, temporary);
            }
        }

        for (int group = 0; group < CodeLayout.Groups && layout.Table is not null; group++)
        {
            code.vpshufb(register(group), values, register(group));
        }
    }

    /// <summary>Emits code that stores signed bytes as words: of each group first and third column, then second and fourth (<see cref="SplitOrder.Pairs"/>).</summary>
    /// <param name="code">Where to.</param>
    /// <param name="register">The register of a group, which is overwritten.</param>
    /// <param name="temporary">A register to use.</param>
    /// <param name="to">Where a vector of words goes.</param>
    public static void EmitWords(Assembler code, Func<int, AssemblerRegisterZMM> register, AssemblerRegisterZMM temporary, Func<int, AssemblerMemoryOperand> to)
    {
        for (int group = 0; group < CodeLayout.Groups; group++)
        {
            code.vpsllw(temporary, register(group), 8);
            code.vpsraw(register(group), register(group), 8);
            code.vpsraw(temporary, temporary, 8);
            code.vmovdqu64(to(2 * group), temporary);
            code.vmovdqu64(to((2 * group) + 1), register(group));
        }
    }

    /// <summary>The matrix that brings a field to its place in the code: for each bit of the result, from the highest on, the bit that it is.</summary>
    /// <remarks>An offset is half the codes there are: a code minus that is the code with its highest bit inverted, and all bits above the same as that.</remarks>
    private static byte[] BitRows(CodeLayout layout, int from, int bits, int to)
    {
        byte[] rows = new byte[8];
        for (int bit = to; bit < 8; bit++)
        {
            int source = bit < to + bits ? bit - to : SignBits(layout, to, bits) != 0 ? bits - 1 : -1;
            rows[7 - bit] = source < 0 ? (byte)0 : (byte)(1 << (from + source));
        }

        return rows;
    }

    /// <summary>The bits that are inverted where a plane, from bit <paramref name="to"/> of the code on, has the highest bit of a code with an offset.</summary>
    private static byte SignBits(CodeLayout layout, int to, int bits) =>
        layout.Offset > 0 && layout.Table is null && to + bits == layout.LowBits + layout.HighBits ? (byte)(0xFF << (to + bits - 1)) : (byte)0;

    /// <summary>Emits code for the scale, and the minimum, of a tile of a format without super-blocks.</summary>
    public static void EmitTileScales(
        KernelAssembler kernel, CodeLayout layout, AssemblerRegister64 tile, AssemblerRegisterZMM scale, AssemblerRegisterZMM minimum, AssemblerRegisterZMM temporary)
    {
        Assembler code = kernel.Code;
        switch (layout.Scales)
        {
            case CodeScales.Half:
                code.vcvtph2ps(scale, __ymmword_ptr[tile]);
                break;
            case CodeScales.HalfWithMinimum:
                code.vcvtph2ps(scale, __ymmword_ptr[tile]);
                code.vcvtph2ps(minimum, __ymmword_ptr[tile + 32]);
                break;
            case CodeScales.Exponent:
                // (e - 1) << 23 is the number but for exponents below 2, where it is (e + 1) << 21, which is less for all others.
                code.vpmovzxbd(scale, __xmmword_ptr[tile]);
                code.vpaddd(temporary, scale, kernel.Vector(_ => 1));
                code.vpaddd(scale, scale, kernel.Vector(_ => uint.MaxValue));
                code.vpslld(temporary, temporary, 21);
                code.vpslld(scale, scale, 23);
                code.vpmaxsd(scale, scale, temporary);
                break;
            case CodeScales.FloatExponent:
                code.vpmovzxbd(scale, __xmmword_ptr[tile]);
                code.vpslld(scale, scale, 23);
                break;
            default:
                break;
        }
    }

    /// <summary>
    /// Emits code for the header of a super-block: the scale of every block, a vector of 16 rows each, goes to memory; minimums stay in
    /// <see cref="MinimumVector"/> and <see cref="MinimumUnit"/>. Uses zmm0 to zmm6.
    /// </summary>
    public static void EmitSubScales(KernelAssembler kernel, CodeLayout layout, AssemblerRegister64 header, AssemblerRegister64 destination)
    {
        Assembler code = kernel.Code;
        int vectorsAt = layout.HeaderBytes - (64 * layout.SubScaleVectors);
        for (int vector = 0; vector < layout.SubScaleVectors; vector++)
        {
            code.vmovdqu64(MinimumVector(vector), __zmmword_ptr[header + (vectorsAt + (64 * vector))]);
        }

        code.vcvtph2ps(Unit, __ymmword_ptr[header]);
        if (layout.HasSuperMinimum)
        {
            code.vcvtph2ps(MinimumUnit, __ymmword_ptr[header + 32]);
        }

        if (layout.Scales is CodeScales.SuperSixes or CodeScales.SuperSixesWithMinimum)
        {
            // The last four numbers: two bits from the top of each byte.
            code.vpsrld(zmm3, zmm0, 6);
            code.vpandd(zmm3, zmm3, kernel.Bytes(_ => 0x03));
            code.vpsrld(Temporary, zmm1, 4);
            code.vpternlogd(zmm3, Temporary, kernel.Bytes(_ => 0x0C), 0xF8);
            code.vpsrld(Temporary, zmm2, 2);
            code.vpternlogd(zmm3, Temporary, kernel.Bytes(_ => 0x30), 0xF8);
            for (int vector = 0; vector < 3; vector++)
            {
                code.vpandd(MinimumVector(vector), MinimumVector(vector), kernel.Bytes(_ => 0x3F));
            }
        }

        bool nibbles = layout.Scales == CodeScales.SuperNibblesWithMinimum;
        for (int block = 0; block < CodeLayout.SuperTiles * layout.SubBlocks; block++)
        {
            AssemblerRegisterZMM bytes = MinimumVector(block / 4);
            int bit = block % 4 * 8;
            if (layout.Scales == CodeScales.SuperBytes)
            {
                // Signed.
                if (bit < 24)
                {
                    code.vpslld(Temporary, bytes, (byte)(24 - bit));
                }

                code.vpsrad(Temporary, bit < 24 ? Temporary : bytes, 24);
            }
            else
            {
                if (bit > 0)
                {
                    code.vpsrld(Temporary, bytes, (byte)bit);
                }

                if (bit < 24 || nibbles)
                {
                    code.vpandd(Temporary, bit > 0 ? Temporary : bytes, kernel.Vector(_ => nibbles ? 0x0Fu : 0xFFu));
                }
            }

            if (layout.Scales == CodeScales.SuperSixes)
            {
                code.vpsubd(Temporary, Temporary, kernel.Vector(_ => 32));
            }

            code.vcvtdq2ps(Temporary, Temporary);
            code.vmulps(Temporary, Temporary, Unit);
            code.vmovaps(__zmmword_ptr[destination + (64 * block)], Temporary);
        }

        if (nibbles)
        {
            for (int vector = 0; vector < 4; vector++)
            {
                code.vpsrld(MinimumVector(vector), MinimumVector(vector), 4);
                code.vpandd(MinimumVector(vector), MinimumVector(vector), kernel.Bytes(_ => 0x0F));
            }
        }
        else if (layout.HasSuperMinimum)
        {
            code.vmovdqa64(zmm0, zmm2);
            code.vmovdqa64(zmm1, zmm3);
        }
    }
}
