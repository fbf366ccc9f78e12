using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// Codes of 2, 3 or 4 bits. What a code means to a row is one of at most 16 bfloat16 numbers (with two sub-blocks: code and sub-block together),
/// so the tables of two rows fill one register, and one permutation of words looks up 32 weights.
/// </summary>
internal sealed class SmallTableExpander(PackedFormat format, KernelAssembler kernel, AssemblerRegister64 scratch) : TileExpander(format, kernel, scratch)
{
    private readonly AssemblerRegisterZMM values = zmm31;
    private readonly AssemblerRegisterZMM mask = zmm30;
    private readonly AssemblerRegisterZMM odd = zmm29;
    private readonly AssemblerRegisterZMM even = zmm28;

    private readonly AssemblerRegisterZMM[] words = [zmm16, zmm17, zmm18, zmm19];

    // With two sub-blocks an index is code * 2 + sub-block.
    private int CodeShift => Format.SubBlocks - 1;

    private int Fields => 16 / Format.Bits;

    public override void EmitConstants()
    {
        int entries = Format.Values.Length << CodeShift;
        Code.vmovaps(values, Kernel.Floats(i => i < entries ? Format.Values[i >> CodeShift] : 0));
        Code.vmovdqa64(mask, Kernel.Words(_ => ((1 << Format.Bits) - 1) << CodeShift));
        Code.vmovdqa64(even, Kernel.Words(SubBlock));
        Code.vmovdqa64(odd, Kernel.Words(column => 16 + SubBlock(column)));
    }

    protected override void EmitCodes(AssemblerRegister64 tile, AssemblerMemoryOperand destination)
    {
        for (int word = 0; word < Format.Bits; word++)
        {
            Code.vmovdqu64(words[word], __zmmword_ptr[tile + Format.ScaleBytes + (64 * word)]);
        }

        for (int pair = 0; pair < 8; pair++)
        {
            // Registers rotate, so that the order in which results come in does not matter.
            AssemblerRegisterZMM low = Rotating(pair, 0);
            AssemblerRegisterZMM high = Rotating(pair, 1);
            AssemblerRegisterZMM index0 = Rotating(pair, 2);
            AssemblerRegisterZMM index1 = Rotating(pair, 3);
            EmitTable(low, 2 * pair);
            EmitTable(high, (2 * pair) + 1);
            Code.vcvtne2ps2bf16(low, high, low);
            EmitIndex(index0, 2 * pair);
            EmitIndex(index1, (2 * pair) + 1);
            Code.vpermw(index0, index0, low);
            Code.vpermw(index1, index1, low);
            Code.vmovdqa64(destination + (128 * pair), index0);
            Code.vmovdqa64(destination + (128 * pair) + 64, index1);
        }
    }

    private static AssemblerRegisterZMM Rotating(int pair, int role) => new(Register.ZMM0 + (pair % 4 * 4) + role);

    private int SubBlock(int column) => Format.SubBlocks == 2 ? column / 16 : 0;

    private void EmitTable(AssemblerRegisterZMM table, int row)
    {
        if (Format.SubBlocks == 1)
        {
            if (!Format.HasOffset)
            {
                Code.vmulps(table, values, __dword_bcst[Scratch + ScaleAt(row)]);
                return;
            }

            Code.vbroadcastss(table, __dword_ptr[Scratch + ScaleAt(row)]);
            Code.vfmadd213ps(table, values, __dword_bcst[Scratch + OffsetAt(row)]);
            return;
        }

        Code.vbroadcastsd(table, __qword_ptr[Scratch + ScaleAt(row)]);
        if (Format.HasOffset)
        {
            Code.vbroadcastsd(zmm20, __qword_ptr[Scratch + OffsetAt(row)]);
            Code.vfmadd213ps(table, values, zmm20);
        }
        else
        {
            Code.vmulps(table, table, values);
        }
    }

    /// <summary>The codes of a row, brought to the position of an index, and marked with the half of the table that is theirs.</summary>
    private void EmitIndex(AssemblerRegisterZMM index, int row)
    {
        AssemblerRegisterZMM marks = row % 2 == 0 ? even : odd;
        if (row >= Fields * Format.Bits)
        {
            EmitLastRow(index);
            Code.vporq(index, index, marks);
            return;
        }

        AssemblerRegisterZMM word = words[row / Fields];
        int shift = (row % Fields * Format.Bits) - CodeShift;
        if (shift > 0)
        {
            Code.vpsrlw(index, word, (byte)shift);
        }
        else if (shift < 0)
        {
            Code.vpsllw(index, word, (byte)-shift);
        }

        AssemblerRegisterZMM source = shift == 0 ? word : index;
        if (row % 2 == 0 && Format.SubBlocks == 1)
        {
            Code.vpandq(index, source, mask);
            return;
        }

        if (shift == 0)
        {
            Code.vmovdqa64(index, word);
        }

        Code.vpternlogq(index, mask, marks, Ternary.AndOr);
    }

    /// <summary>Three-bit codes leave one bit in each of three words: together the code of row 15.</summary>
    private void EmitLastRow(AssemblerRegisterZMM index)
    {
        for (int bit = 0; bit < Format.Bits; bit++)
        {
            int to = bit + CodeShift;
            AssemblerRegisterZMM part = bit == 0 ? index : zmm21;
            Code.vpsrlw(part, words[bit], (byte)(15 - to));
            AssemblerMemoryOperand single = Kernel.Words(_ => 1 << to);
            if (bit == 0)
            {
                Code.vpandq(index, index, single);
            }
            else
            {
                Code.vpternlogq(index, part, single, Ternary.OrAnd);
            }
        }
    }
}
