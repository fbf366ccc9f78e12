using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// Codes of 2, 3 or 4 bits. What a code means to a row is one of at most 16 numbers (with two sub-blocks: code and sub-block together), which fill one
/// register as float32. Half a unit of bfloat16 added to their bits makes their upper halves rounded bfloat16, and those are the odd words:
/// a permutation of words with the indices 2 * entry + 1 looks up 32 weights, without any conversion.
/// </summary>
internal sealed class SmallTableExpander(PackedFormat format, KernelAssembler kernel, AssemblerRegister64 scratch) : TileExpander(format, kernel, scratch)
{
    private readonly AssemblerRegisterZMM values = zmm31;
    private readonly AssemblerRegisterZMM half = zmm30;
    private readonly AssemblerRegisterZMM mask = zmm29;
    private readonly AssemblerRegisterZMM marks = zmm28;

    private readonly AssemblerRegisterZMM[] words = [zmm16, zmm17, zmm18, zmm19];

    // With two sub-blocks an entry is code * 2 + sub-block; an index is entry * 2 + 1.
    private int CodeShift => Format.SubBlocks;

    private int Fields => 16 / Format.Bits;

    public override void EmitConstants()
    {
        int entries = Format.Values.Length * Format.SubBlocks;
        Code.vmovaps(values, Kernel.Floats(i => i < entries ? Format.Values[i / Format.SubBlocks] : 0));
        Code.vmovdqa64(half, Kernel.Vector(_ => 0x8000));
        if (Format.Bits == 4)
        {
            // Ones below the codes of fields 0 and 2, after a shift by one, and below those of fields 1 and 3.
            Code.vmovdqa64(marks, Kernel.Words(_ => 0x0101));
            Code.vmovdqa64(mask, Kernel.Words(_ => 0x0808));
        }
        else
        {
            Code.vmovdqa64(mask, Kernel.Words(_ => ((1 << Format.Bits) - 1) << CodeShift));
            Code.vmovdqa64(marks, Kernel.Words(column => 1 + (2 * SubBlock(column))));
        }
    }

    protected override void EmitCodes(AssemblerRegister64 tile, AssemblerMemoryOperand destination)
    {
        for (int word = 0; word < Format.Bits; word++)
        {
            Code.vmovdqu64(words[word], __zmmword_ptr[tile + Format.ScaleBytes + (64 * word)]);
        }

        for (int row = 0; row < PackedFormat.StripRows; row++)
        {
            AssemblerRegisterZMM table = new(Register.ZMM0 + (row % 6));
            AssemblerRegisterZMM index = new(Register.ZMM6 + (row % 6));
            EmitTable(table, row);
            Code.vpaddd(table, table, half);
            if (Format.Bits == 4)
            {
                index = EmitNibbleIndex(index, row);
            }
            else
            {
                EmitIndex(index, row);
            }

            Code.vpermw(table, index, table);
            Code.vmovdqa64(destination + (64 * row), table);
            AfterRow?.Invoke(row);
        }
    }

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

    /// <summary>The indices of a row of four-bit codes: bits above the fifth do not count, so setting the lowest is all that a shift leaves to do.</summary>
    private AssemblerRegisterZMM EmitNibbleIndex(AssemblerRegisterZMM index, int row)
    {
        AssemblerRegisterZMM word = words[row / 4];
        AssemblerRegisterZMM even = zmm20;
        switch (row % 4)
        {
            case 0:
                Code.vpaddw(even, word, word);
                Code.vporq(even, even, marks);
                return even;
            case 1:
                Code.vporq(word, word, mask);
                Code.vpsrlw(index, word, 3);
                return index;
            case 2:
                Code.vpsrlw(index, even, 8);
                return index;
            default:
                Code.vpsrlw(index, word, 11);
                return index;
        }
    }

    /// <summary>The indices of a row of two- or three-bit codes.</summary>
    private void EmitIndex(AssemblerRegisterZMM index, int row)
    {
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
        else
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
