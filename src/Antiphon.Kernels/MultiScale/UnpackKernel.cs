using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.MultiScale;

/// <summary>The kernel that writes strips in the form of <see cref="UnpackedStrip"/>, one behind the other.</summary>
/// <remarks>Takes the first destination in <see cref="CodeArguments.Output"/> and the distance to the next in <see cref="CodeArguments.OutputStride"/>.</remarks>
internal static class UnpackKernel
{
    private const int PrefetchDistance = 2048;

    private static readonly AssemblerRegisterZMM Other = zmm10;
    private static readonly AssemblerRegisterZMM TileScale = zmm11;
    private static readonly AssemblerRegisterZMM TileMinimum = zmm12;
    private static readonly AssemblerRegisterZMM LowMask = zmm13;
    private static readonly AssemblerRegisterZMM HighMask = zmm14;
    private static readonly AssemblerRegisterZMM Values = zmm15;
    private static readonly AssemblerRegisterZMM Offset = zmm16;
    private static readonly AssemblerRegisterZMM Bias = zmm17;
    private static readonly AssemblerRegisterZMM Start = zmm18;

    /// <summary>Generates the kernel.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="form">What the values are to be.</param>
    public static GeneratedCode Generate(CodeLayout layout, UnpackedValues form)
    {
        bool starts = form == UnpackedValues.BytesWithStarts;
        bool words = form == UnpackedValues.Words;
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 scales = kernel.Take();
        AssemblerRegister64 codes = kernel.Take();
        AssemblerRegister64 values = kernel.Take();
        AssemblerRegister64 scalesTo = kernel.Take();
        AssemblerRegister64 startsTo = kernel.Take();
        AssemblerRegister64 minimumsTo = kernel.Take();
        AssemblerRegister64 steps = kernel.Take();
        AssemblerRegister64 toHeader = kernel.Take();
        AssemblerRegister64 ahead = kernel.TakeArgument(CodeArguments.WeightsField);
        code.add(ahead, PrefetchDistance);
        CodeUnpacking.EmitConstants(kernel, layout, LowMask, HighMask, Values);
        code.vmovdqa64(Offset, kernel.Bytes(_ => layout.Offset));
        code.vmovdqa64(Bias, kernel.Bytes(_ => 128));
        Label nextStrip = code.CreateLabel();
        Label nextTile = code.CreateLabel();
        code.Label(ref nextStrip);
        code.mov(scales, kernel.Argument(CodeArguments.WeightsField));
        code.mov(codes, scales);
        code.add(codes, kernel.Argument(CodeArguments.CodesAtField));
        code.mov(values, kernel.Argument(CodeArguments.OutputField));
        code.mov(steps, kernel.Argument(CodeArguments.StepsField));

        // Values take 512 bytes a tile, words twice as many, then come the scales, 64 bytes a block, the starts likewise, then the minimums.
        code.mov(scalesTo, steps);
        code.shl(scalesTo, (byte)(words ? 10 : 9));
        code.add(scalesTo, values);
        code.mov(minimumsTo, steps);
        code.shl(minimumsTo, (byte)(5 + layout.SubBlocks));
        code.mov(startsTo, minimumsTo);
        code.add(startsTo, scalesTo);
        code.add(minimumsTo, starts ? startsTo : scalesTo);
        code.mov(toHeader, 1);
        code.Label(ref nextTile);
        if (layout.HeaderBytes > 0)
        {
            Label noHeader = code.CreateLabel();
            code.dec(toHeader);
            code.jnz(noHeader);
            EmitPrefetches(layout.HeaderBytes);
            CodeUnpacking.EmitSubScales(kernel, layout, scales, scalesTo);
            if (layout.HasSuperMinimum)
            {
                code.vmovups(__zmmword_ptr[minimumsTo], CodeUnpacking.MinimumUnit);
                for (int vector = 0; vector < 2 * layout.SubBlocks; vector++)
                {
                    code.vmovdqu64(__zmmword_ptr[minimumsTo + (64 * (vector + 1))], CodeUnpacking.MinimumVector(vector));
                }

                code.add(minimumsTo, 64 + (128 * layout.SubBlocks));
            }

            code.add(scalesTo, 64 * CodeLayout.SuperTiles * layout.SubBlocks);
            code.add(scales, layout.HeaderBytes);
            code.mov(toHeader, CodeLayout.SuperTiles);
            code.Label(ref noHeader);
        }

        EmitPrefetches(layout.TileBytes + layout.TileScaleBytes);
        if (layout.TileScaleBytes > 0)
        {
            CodeUnpacking.EmitTileScales(kernel, layout, scales, TileScale, TileMinimum, Other);
            code.vmovups(__zmmword_ptr[scalesTo], TileScale);
            code.add(scales, layout.TileScaleBytes);
            code.add(scalesTo, 64);
            if (layout.HasMinimum)
            {
                code.vmovups(__zmmword_ptr[minimumsTo], TileMinimum);
                code.add(minimumsTo, 64);
            }
        }

        EmitValues();
        code.add(codes, layout.TileBytes);
        code.add(values, words ? UnpackedStrip.WordTileBytes : UnpackedStrip.TileBytes);
        code.dec(steps);
        code.jnz(nextTile);
        code.mov(values, kernel.Argument(CodeArguments.OutputStrideField));
        code.add(kernel.Argument(CodeArguments.OutputField), values);
        code.mov(values, kernel.Argument(CodeArguments.StripBytesField));
        code.add(kernel.Argument(CodeArguments.WeightsField), values);
        code.dec(kernel.Argument(CodeArguments.StripsField));
        code.jnz(nextStrip);
        return kernel.Finish();

        void EmitPrefetches(int bytes)
        {
            for (int at = 0; at < bytes; at += 64)
            {
                code.prefetcht0(__byte_ptr[ahead + at]);
            }

            code.add(ahead, bytes);
        }

        void EmitValues()
        {
            CodeUnpacking.Emit(code, layout, codes, Code, Other, LowMask, HighMask, Values);
            for (int group = 0; group < CodeLayout.Groups; group++)
            {
                if (layout.Offset > 0)
                {
                    code.vpsubb(Code(group), Code(group), Offset);
                }

                if (!words)
                {
                    code.vmovdqu64(__zmmword_ptr[values + (64 * group)], Code(group));
                }
            }

            if (words)
            {
                CodeUnpacking.EmitWords(code, Code, Other, vector => __zmmword_ptr[values + (64 * vector)]);
            }

            for (int block = 0; block < layout.SubBlocks && starts; block++)
            {
                int groups = CodeLayout.Groups / layout.SubBlocks;
                code.vpxord(Other, Other, Other);
                code.vpxord(Start, Start, Start);
                for (int group = block * groups; group < (block + 1) * groups; group++)
                {
                    code.vpdpbusd(Start, Bias, Code(group));
                }

                code.vpsubd(Start, Other, Start);
                code.vmovdqu64(__zmmword_ptr[startsTo + (64 * block)], Start);
            }

            code.add(startsTo, 64 * layout.SubBlocks);
        }
    }

    private static AssemblerRegisterZMM Code(int group) => new(Register.ZMM0 + group);
}
