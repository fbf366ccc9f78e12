using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// Byte codes. Put into bits 8 to 15 of the float 2^15, a byte makes it 2^15 + code without a conversion; one fused multiply-add then takes the constant
/// and the format's 128 off again and scales. It is exact: the offset -(2^15 + 128) * S has 9 + 11 bits.
/// </summary>
internal sealed class ByteExpander(PackedFormat format, KernelAssembler kernel, AssemblerRegister64 scratch) : TileExpander(format, kernel, scratch)
{
    private readonly AssemblerRegisterZMM magic = zmm31;
    private readonly AssemblerRegisterZMM mask = zmm30;
    private readonly AssemblerRegisterZMM[] places = [zmm29, zmm28, zmm27];

    protected override float OffsetFactor => -(32768 + 128);

    public override void EmitConstants()
    {
        Code.vmovaps(magic, Kernel.Floats(_ => 32768));
        Code.vmovdqa64(mask, Kernel.Vector(_ => 0xFF00));

        // Byte 0, 2 or 3 of each dword goes to byte 1; the mask register lets nothing else change.
        int[] sources = [0, 2, 3];
        for (int i = 0; i < 3; i++)
        {
            int source = sources[i];
            Code.vmovdqa64(places[i], Kernel.Bytes(at => (at & ~3) + source));
        }

        AssemblerRegister64 bits = Kernel.Take();
        Code.mov(bits, 0x2222222222222222L);
        Code.kmovq(k1, bits);
        Kernel.Release(bits);
    }

    protected override void EmitCodes(AssemblerRegister64 tile, AssemblerMemoryOperand destination)
    {
        for (int pair = 0; pair < 8; pair++)
        {
            AssemblerRegisterZMM codes = Rotating(pair, 0);
            AssemblerRegisterZMM low0 = Rotating(pair, 1);
            AssemblerRegisterZMM low1 = Rotating(pair, 2);
            AssemblerRegisterZMM high1 = Rotating(pair, 3);
            Code.vmovdqu64(codes, __zmmword_ptr[tile + Format.ScaleBytes + (64 * pair)]);
            EmitPlace(low0, 0, codes);
            EmitPlace(low1, 1, codes);
            EmitPlace(high1, 2, codes);
            Code.vpternlogd(codes, mask, magic, Ternary.AndOr);
            EmitRow(low0, codes, 2 * pair, zmm20, zmm21);
            EmitRow(low1, high1, (2 * pair) + 1, zmm22, zmm23);
            Code.vmovdqa64(destination + (128 * pair), low0);
            AfterRow?.Invoke(2 * pair);
            Code.vmovdqa64(destination + (128 * pair) + 64, low1);
            AfterRow?.Invoke((2 * pair) + 1);
        }
    }

    private static AssemblerRegisterZMM Rotating(int pair, int role) => new(Register.ZMM0 + (pair % 4 * 4) + role);

    private void EmitPlace(AssemblerRegisterZMM to, int place, AssemblerRegisterZMM codes)
    {
        Code.vmovaps(to, magic);
        Code.vpermb(to.k1, places[place], codes);
    }

    private void EmitRow(AssemblerRegisterZMM low, AssemblerRegisterZMM high, int row, AssemblerRegisterZMM scale, AssemblerRegisterZMM offset)
    {
        Code.vbroadcastss(scale, __dword_ptr[Scratch + ScaleAt(row)]);
        Code.vbroadcastss(offset, __dword_ptr[Scratch + OffsetAt(row)]);
        Code.vfmadd213ps(low, scale, offset);
        Code.vfmadd213ps(high, scale, offset);
        Code.vcvtne2ps2bf16(low, high, low);
    }
}
