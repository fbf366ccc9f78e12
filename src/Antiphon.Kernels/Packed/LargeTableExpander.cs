using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// Codes of 5 bits: the table of a row fills a register, and a permutation of words looks at the lowest five bits of each word only,
/// so a code need not even be cut out.
/// </summary>
internal sealed class LargeTableExpander(PackedFormat format, KernelAssembler kernel, AssemblerRegister64 scratch) : TileExpander(format, kernel, scratch)
{
    private const int Fields = 3;

    private readonly AssemblerRegisterZMM lowValues = zmm31;
    private readonly AssemblerRegisterZMM highValues = zmm30;
    private readonly AssemblerRegisterZMM[] words = [zmm16, zmm17, zmm18, zmm19, zmm20];

    public override void EmitConstants()
    {
        Code.vmovaps(lowValues, Kernel.Floats(i => Format.Values[i]));
        Code.vmovaps(highValues, Kernel.Floats(i => Format.Values[16 + i]));
    }

    protected override void EmitCodes(AssemblerRegister64 tile, AssemblerMemoryOperand destination)
    {
        for (int word = 0; word < Format.Bits; word++)
        {
            Code.vmovdqu64(words[word], __zmmword_ptr[tile + Format.ScaleBytes + (64 * word)]);
        }

        for (int row = 0; row < PackedFormat.StripRows; row++)
        {
            AssemblerRegisterZMM low = new(Register.ZMM0 + (row % 5 * 3));
            AssemblerRegisterZMM high = new(Register.ZMM1 + (row % 5 * 3));
            AssemblerRegisterZMM index = new(Register.ZMM2 + (row % 5 * 3));
            EmitTable(low, high, row);
            AssemblerRegisterZMM word = index;
            if (row == Fields * Format.Bits)
            {
                EmitLastRow(index);
            }
            else if (row % Fields == 0)
            {
                word = words[row / Fields];
            }
            else
            {
                Code.vpsrlw(index, words[row / Fields], (byte)(row % Fields * Format.Bits));
            }

            Code.vpermw(low, word, low);
            Code.vmovdqa64(destination + (64 * row), low);
            AfterRow?.Invoke(row);
        }
    }

    private void EmitTable(AssemblerRegisterZMM low, AssemblerRegisterZMM high, int row)
    {
        if (Format.HasOffset)
        {
            Code.vbroadcastss(low, __dword_ptr[Scratch + ScaleAt(row)]);
            Code.vmovaps(high, low);
            Code.vfmadd213ps(low, lowValues, __dword_bcst[Scratch + OffsetAt(row)]);
            Code.vfmadd213ps(high, highValues, __dword_bcst[Scratch + OffsetAt(row)]);
        }
        else
        {
            Code.vmulps(low, lowValues, __dword_bcst[Scratch + ScaleAt(row)]);
            Code.vmulps(high, highValues, __dword_bcst[Scratch + ScaleAt(row)]);
        }

        Code.vcvtne2ps2bf16(low, high, low);
    }

    /// <summary>The top bits of the five words are together the code of row 15.</summary>
    private void EmitLastRow(AssemblerRegisterZMM index)
    {
        Code.vpsrlw(index, words[0], 15);
        for (int bit = 1; bit < Format.Bits; bit++)
        {
            int to = bit;
            Code.vpsrlw(zmm21, words[bit], (byte)(15 - bit));
            Code.vpternlogq(index, zmm21, Kernel.Words(_ => 1 << to), Ternary.OrAnd);
        }
    }
}
