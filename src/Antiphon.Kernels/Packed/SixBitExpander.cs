using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// Codes of 6 bits with two sub-blocks a row. As with bytes, a code is put into the fraction of a float, here bits 14 to 19 of 512, which makes it 512 + code;
/// the offset -(512 + 32) * S has 5 + 19 bits, so the fused multiply-add is exact.
/// </summary>
internal sealed class SixBitExpander(PackedFormat format, KernelAssembler kernel, AssemblerRegister64 scratch) : TileExpander(format, kernel, scratch)
{
    private const int Place = 14;

    private readonly AssemblerRegisterZMM magic = zmm31;
    private readonly AssemblerRegisterZMM mask = zmm30;
    private readonly AssemblerRegisterZMM[] words = [zmm16, zmm17, zmm18];

    protected override float OffsetFactor => -(512 + 32);

    public override void EmitConstants()
    {
        Code.vmovaps(magic, Kernel.Floats(_ => 512));
        Code.vmovdqa64(mask, Kernel.Vector(_ => 63u << Place));
    }

    protected override void EmitCodes(AssemblerRegister64 tile, AssemblerMemoryOperand destination)
    {
        for (int row = 0; row < PackedFormat.StripRows; row++)
        {
            int half = row / 8;
            if (row % 8 == 0)
            {
                for (int word = 0; word < 3; word++)
                {
                    Code.vmovdqu64(words[word], __zmmword_ptr[tile + Format.ScaleBytes + (192 * half) + (64 * word)]);
                }
            }

            AssemblerRegisterZMM low = new(Register.ZMM0 + (row % 8 * 2));
            AssemblerRegisterZMM high = new(Register.ZMM1 + (row % 8 * 2));
            EmitVector(low, row % 8 * 2);
            EmitVector(high, (row % 8 * 2) + 1);
            EmitScaled(low, row, 0);
            EmitScaled(high, row, 1);
            Code.vcvtne2ps2bf16(low, high, low);
            Code.vmovdqa64(destination + (64 * row), low);
            AfterRow?.Invoke(row);
        }
    }

    private void EmitScaled(AssemblerRegisterZMM vector, int row, int subBlock)
    {
        Code.vbroadcastss(zmm20, __dword_ptr[Scratch + ScaleAt(row, subBlock)]);
        Code.vfmadd213ps(vector, zmm20, __dword_bcst[Scratch + OffsetAt(row, subBlock)]);
    }

    private void EmitVector(AssemblerRegisterZMM to, int vector)
    {
        if (vector == 15)
        {
            // Two bits of each word.
            Code.vpslld(to, words[0], Place);
            Code.vpandd(to, to, Kernel.Vector(_ => 3u << Place));
            for (int word = 1; word < 3; word++)
            {
                int at = Place + (2 * word);
                Code.vpslld(zmm21, words[word], (byte)at);
                Code.vpternlogd(to, zmm21, Kernel.Vector(_ => 3u << at), Ternary.OrAnd);
            }

            Code.vporq(to, to, magic);
            return;
        }

        AssemblerRegisterZMM source = words[vector / 5];
        int shift = PackedFormat.SixShifts[vector % 5] - Place;
        if (shift > 0)
        {
            Code.vpsrld(to, source, (byte)shift);
        }
        else if (shift < 0)
        {
            Code.vpslld(to, source, (byte)-shift);
        }
        else
        {
            Code.vmovdqa64(to, source);
        }

        Code.vpternlogd(to, mask, magic, Ternary.AndOr);
    }
}
