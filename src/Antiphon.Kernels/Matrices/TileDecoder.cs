using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels;

/// <summary>
/// Writes the part of a <see cref="TileKernel"/> that turns four rows, as they are stored, into float32 numbers: exactly <see cref="BlockDecoder"/>'s.
/// The scales of blocks were made floats before, by <see cref="IBlocks{T}.Prepare"/>.
/// </summary>
internal sealed class TileDecoder
{
    private readonly KernelAssembler kernel;
    private readonly Assembler code;
    private readonly bool narrow;
    private readonly AssemblerRegister64 w;
    private readonly AssemblerRegister64 row1;
    private readonly AssemblerRegister64 row3;
    private readonly AssemblerRegister64 factor;
    private readonly AssemblerRegister64 factorRow1;
    private readonly AssemblerRegister64 factorRow3;

    /// <summary>Takes the registers that a form needs.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="form">How the weights lie.</param>
    /// <param name="narrow">Whether vectors have 256 bits.</param>
    /// <param name="w">Points to a block of the first row.</param>
    public TileDecoder(KernelAssembler kernel, TileWeights form, bool narrow, AssemblerRegister64 w)
    {
        this.kernel = kernel;
        this.narrow = narrow;
        IsCheap = DecodesCheaply(form, narrow);
        this.w = w;
        code = kernel.Code;
        Form = form;
        (StepsOfBlock, BytesOfBlock, FactorsOfBlock) = form switch
        {
            TileWeights.F16 or TileWeights.BF16 => (2, 64, 0),
            TileWeights.Q8_0 => (2, 34, 1),
            TileWeights.Q4_0 => (2, 18, 1),
            TileWeights.Q4_K => (16, 144, 32),
            TileWeights.Q6_K => (16, 210, 16),
            _ => (2, 128, 0),
        };
        if (form != TileWeights.Panel)
        {
            row1 = kernel.TakeArgument(TileArguments.RowBytesField);
            row3 = kernel.Take();
            code.lea(row3, __[row1 + (row1 * 2)]);
        }

        if (HasFactors)
        {
            factor = kernel.Take();
            factorRow1 = kernel.TakeArgument(TileArguments.FactorRowBytesField);
            factorRow3 = kernel.Take();
            code.lea(factorRow3, __[factorRow1 + (factorRow1 * 2)]);
        }
    }

    /// <summary>How the weights lie.</summary>
    public TileWeights Form { get; }

    /// <summary>Steps of sixteen columns in a block; 2 where there are no blocks.</summary>
    public int StepsOfBlock { get; }

    /// <summary>Bytes of that.</summary>
    public int BytesOfBlock { get; }

    /// <summary>Floats that were prepared for a block.</summary>
    private int FactorsOfBlock { get; }

    /// <summary>Whether rows are whole blocks with scales.</summary>
    public bool HasFactors => FactorsOfBlock > 0;

    /// <summary>See <see cref="DecodesCheaply"/>.</summary>
    public bool IsCheap { get; }

    /// <summary>Whether sixteen values cost one instruction, so that a panel of them is not worth its place in the first-level cache.</summary>
    public static bool DecodesCheaply(TileWeights form, bool narrow) => form is TileWeights.BF16 or TileWeights.BF16Shared && !narrow && CpuFeatures.Current.HasAvx512Vbmi;

    // What the codes of a format are too large by.
    private uint Offset => Form switch
    {
        TileWeights.Q4_0 => 8,
        TileWeights.Q6_K => 32,
        _ => 0,
    };

    /// <summary>What comes once, at the start.</summary>
    public void EmitBegin()
    {
        if (IsCheap)
        {
            // One permutation takes a number to the upper half of its float and clears the lower. (That of words was measured to take twice as long as that of bytes.)
            code.vmovdqu8(zmm30, kernel.Bytes(i => (i / 4 * 2) + (i % 2)));
            code.vmovdqu8(zmm31, kernel.Bytes(i => 32 + (i / 4 * 2) + (i % 2)));
            code.kmovq(k1, __qword_ptr[kernel.Vector(_ => 0xCCCCCCCC)]);
        }
    }

    /// <summary>What comes before a group of tokens (and a half of the lanes), where there are scales.</summary>
    /// <param name="hasRoom">Whether the registers 8 and 9 of 256 bits are free.</param>
    public void EmitBeginRows(bool hasRoom)
    {
        code.mov(factor, kernel.Argument(TileArguments.FactorsField));
        if (narrow && hasRoom)
        {
            code.vmovdqu(ymm8, __ymmword_ptr[kernel.Vector(_ => 15)]);
            code.vmovdqu(ymm9, __ymmword_ptr[kernel.Vector(_ => Offset)]);
        }
    }

    /// <summary>What comes behind each block.</summary>
    public void EmitNextBlock()
    {
        if (HasFactors)
        {
            code.add(factor, FactorsOfBlock * sizeof(float));
        }
    }

    /// <summary>What comes behind each tile.</summary>
    public void EmitNextTile()
    {
        if (HasFactors)
        {
            code.lea(factor, __[factorRow1 * 4]);
            code.add(kernel.Argument(TileArguments.FactorsField), factor);
        }
    }

    /// <summary>Sixteen values of a row. Decoding blocks may use the register 28; 30 and 31 belong to the decoder.</summary>
    /// <param name="values">Receives them.</param>
    /// <param name="row">Which row.</param>
    /// <param name="step">Which step of the block.</param>
    /// <param name="steps">How many steps there are from the block's start on: 1 of an odd step, else all.</param>
    public void EmitWide(AssemblerRegisterZMM values, int row, int step, int steps)
    {
        switch (Form)
        {
            case TileWeights.BF16 when steps == 1 || !IsCheap:
                code.vpmovzxwd(values, __ymmword_ptr[At(row, 32 * step)]);
                code.vpslld(values, values, 16);
                break;
            case TileWeights.BF16:
                code.vpermb(values.k1.z, step % 2 == 0 ? zmm30 : zmm31, __zmmword_ptr[At(row, 64 * (step / 2))]);
                break;
            case TileWeights.F16:
                code.vcvtph2ps(values, __ymmword_ptr[At(row, 32 * step)]);
                break;
            case TileWeights.Q8_0:
                code.vpmovsxbd(values, __xmmword_ptr[At(row, 2 + (16 * step))]);
                code.vcvtdq2ps(values, values);
                code.vmulps(values, values, __dword_bcst[FactorAt(row, 0)]);
                break;
            case TileWeights.Q4_0:
                EmitNibbles(2, step == 1, level => level - (int)Offset);
                code.vmulps(values, values, __dword_bcst[FactorAt(row, 0)]);
                break;
            case TileWeights.Q4_K:
                EmitNibbles(NibblesOf4K(step), step / 2 % 2 == 1, level => level);
                code.vbroadcastss(zmm28, __dword_ptr[FactorAt(row, step / 2)]);
                code.vfmadd213ps(values, zmm28, __dword_bcst[FactorAt(row, 24 + (step / 2))]);
                break;
            case TileWeights.Q6_K:
                (int low, int lowShift, int high, int highShift) = PartsOf6K(step);
                code.vpmovzxbd(values, __xmmword_ptr[At(row, low)]);
                code.vpmovzxbd(zmm28, __xmmword_ptr[At(row, high)]);
                if (lowShift > 0)
                {
                    code.vpsrld(values, values, (byte)lowShift);
                }

                if (highShift < 4)
                {
                    code.vpslld(zmm28, zmm28, (byte)(4 - highShift));
                }
                else if (highShift > 4)
                {
                    code.vpsrld(zmm28, zmm28, (byte)(highShift - 4));
                }

                // Four bits of the one, two of the other.
                code.vpandd(zmm28, zmm28, kernel.Vector(_ => 0x30));
                code.vpternlogd(values, zmm28, kernel.Vector(_ => 15), 0xEC);
                code.vpsubd(values, values, kernel.Vector(_ => Offset));
                code.vcvtdq2ps(values, values);
                code.vmulps(values, values, __dword_bcst[FactorAt(row, step)]);
                break;
            default:
                code.vmovups(values, __zmmword_ptr[At(row, 64 * step)]);
                break;
        }

        // The permutation looks at the lowest four bits of an index alone.
        void EmitNibbles(int at, bool upper, Func<int, float> level)
        {
            code.vpmovzxbd(values, __xmmword_ptr[At(row, at)]);
            if (upper)
            {
                code.vpsrld(values, values, 4);
            }

            code.vpermps(values, values, kernel.Floats(level));
        }
    }

    /// <summary>Eight values of a row. Decoding blocks may use the registers 12 and 13.</summary>
    /// <param name="values">Receives them.</param>
    /// <param name="row">Which row.</param>
    /// <param name="half">Which half of the sixteen lanes.</param>
    /// <param name="step">Which step of the block.</param>
    /// <param name="hasConstants">Whether the registers 8 and 9 hold what <see cref="EmitBeginRows"/> put there.</param>
    public void EmitNarrow(AssemblerRegisterYMM values, int row, int half, int step, bool hasConstants)
    {
        switch (Form)
        {
            case TileWeights.BF16:
                code.vpmovzxwd(values, __xmmword_ptr[At(row, (32 * step) + (16 * half))]);
                code.vpslld(values, values, 16);
                break;
            case TileWeights.F16:
                code.vcvtph2ps(values, __xmmword_ptr[At(row, (32 * step) + (16 * half))]);
                break;
            case TileWeights.Q8_0:
                code.vpmovsxbd(values, __qword_ptr[At(row, 2 + (16 * step) + (8 * half))]);
                code.vcvtdq2ps(values, values);
                code.vbroadcastss(ymm12, __dword_ptr[FactorAt(row, 0)]);
                code.vmulps(values, values, ymm12);
                break;
            case TileWeights.Q4_0:
                EmitNibbles(2, step == 1);
                code.vbroadcastss(ymm12, __dword_ptr[FactorAt(row, 0)]);
                code.vmulps(values, values, ymm12);
                break;
            case TileWeights.Q4_K:
                EmitNibbles(NibblesOf4K(step), step / 2 % 2 == 1);
                code.vbroadcastss(ymm12, __dword_ptr[FactorAt(row, step / 2)]);
                code.vbroadcastss(ymm13, __dword_ptr[FactorAt(row, 24 + (step / 2))]);
                code.vfmadd213ps(values, ymm12, ymm13);
                break;
            case TileWeights.Q6_K:
                (int low, int lowShift, int high, int highShift) = PartsOf6K(step);
                code.vpmovzxbd(values, __qword_ptr[At(row, low + (8 * half))]);
                code.vpmovzxbd(ymm12, __qword_ptr[At(row, high + (8 * half))]);
                if (lowShift > 0)
                {
                    code.vpsrld(values, values, (byte)lowShift);
                }
                else
                {
                    EmitLower();
                }

                if (highShift < 4)
                {
                    code.vpslld(ymm12, ymm12, (byte)(4 - highShift));
                }
                else if (highShift > 4)
                {
                    code.vpsrld(ymm12, ymm12, (byte)(highShift - 4));
                }

                code.vpand(ymm12, ymm12, Bits(0x30));
                code.vpor(values, values, ymm12);
                EmitOffset();
                code.vcvtdq2ps(values, values);
                code.vbroadcastss(ymm12, __dword_ptr[FactorAt(row, step)]);
                code.vmulps(values, values, ymm12);
                break;
            default:
                code.vmovups(values, __ymmword_ptr[At(row, (64 * step) + (32 * half))]);
                break;
        }

        void EmitNibbles(int at, bool upper)
        {
            code.vpmovzxbd(values, __qword_ptr[At(row, at + (8 * half))]);
            if (upper)
            {
                code.vpsrld(values, values, 4);
            }
            else
            {
                EmitLower();
            }

            if (Offset > 0)
            {
                EmitOffset();
            }

            code.vcvtdq2ps(values, values);
        }

        void EmitLower()
        {
            if (hasConstants)
            {
                code.vpand(values, values, ymm8);
            }
            else
            {
                code.vpand(values, values, Bits(15));
            }
        }

        void EmitOffset()
        {
            if (hasConstants)
            {
                code.vpsubd(values, values, ymm9);
            }
            else
            {
                code.vpsubd(values, values, Bits(Offset));
            }
        }

        AssemblerMemoryOperand Bits(uint bits) => __ymmword_ptr[kernel.Vector(_ => bits)];
    }

    // Where a step of sixteen values of a Q4_K block begins: 32 bytes hold 32 values in their lower halves and the next 32 in their upper ones.
    private static int NibblesOf4K(int step) => 16 + (32 * (step / 4)) + (16 * (step % 2));

    // Where the lower four and the upper two bits of sixteen values of a Q6_K block begin. See Q6_KBlocks.
    private static (int Low, int LowShift, int High, int HighShift) PartsOf6K(int step)
    {
        (int pair, int part) = (step / 2, 16 * (step % 2));
        (int half, int quarter) = (pair / 4, pair % 4);
        return ((64 * half) + (32 * (quarter % 2)) + part, quarter / 2 * 4, 128 + (32 * half) + part, 2 * quarter);
    }

    /// <summary>Where a row is, if the first one is here.</summary>
    public AssemblerMemoryOperand RowOf(AssemblerRegister64 first, int row) => Row(first, row1, row3, row);

    private AssemblerMemoryOperand At(int row, int offset) => RowOf(w, row) + offset;

    private AssemblerMemoryOperand FactorAt(int row, int index) => Row(factor, factorRow1, factorRow3, row) + (index * sizeof(float));

    private static AssemblerMemoryOperand Row(AssemblerRegister64 first, AssemblerRegister64 one, AssemblerRegister64 three, int row) => row switch
    {
        0 => first + 0,
        1 => first + one,
        2 => first + (one * 2),
        _ => first + three,
    };
}
