using System.Runtime.InteropServices;
using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Packed;

/// <summary>The argument block of <see cref="InputKernels"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct InputArguments
{
    public const int SourceField = 0;
    public const int SourceStrideField = 1;
    public const int TokensField = 2;
    public const int StepsField = 3;
    public const int DestinationField = 4;
    public const int DestinationStrideField = 5;
    public const int LowMaskField = 6;
    public const int HighMaskField = 7;
    public const int TokenMaskField = 8;
    public const int ScratchField = 9;

    /// <summary>The first token's first value.</summary>
    public float* Source;

    /// <summary>Bytes from a token to the next.</summary>
    public nint SourceStride;

    /// <summary>Tokens, at least 1; for tiles at most 16.</summary>
    public nint Tokens;

    /// <summary>Steps of 32 columns, at least 1.</summary>
    public nint Steps;

    /// <summary>Where the first step goes.</summary>
    public byte* Destination;

    /// <summary>Rows: bytes from a token to the next. Tiles: bytes from a pair of columns to the next, 4 for each token.</summary>
    public nint DestinationStride;

    /// <summary>Which of the first 16 columns of a step there are; the others count as zero.</summary>
    public nint LowMask;

    /// <summary>Which of the last 16 columns of a step there are.</summary>
    public nint HighMask;

    /// <summary>A bit for each token (tiles).</summary>
    public nint TokenMask;

    /// <summary>1 KiB, aligned to 64 (tiles).</summary>
    public byte* Scratch;
}

/// <summary>Kernels that round activations to bfloat16 and lay them out for the matrix kernels.</summary>
internal static class InputKernels
{
    /// <summary>Rows stay rows.</summary>
    public static GeneratedCode GenerateRows()
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        EmitMasks(kernel);
        AssemblerRegister64 tokens = kernel.TakeArgument(InputArguments.TokensField);
        AssemblerRegister64 source = kernel.Take();
        AssemblerRegister64 destination = kernel.Take();
        AssemblerRegister64 steps = kernel.Take();
        Label nextToken = code.CreateLabel();
        Label nextStep = code.CreateLabel();
        code.Label(ref nextToken);
        code.mov(source, kernel.Argument(InputArguments.SourceField));
        code.mov(destination, kernel.Argument(InputArguments.DestinationField));
        code.mov(steps, kernel.Argument(InputArguments.StepsField));
        code.Label(ref nextStep);
        EmitRound(code, source);
        code.vmovdqu64(__zmmword_ptr[destination], zmm0);
        code.add(source, 128);
        code.add(destination, 64);
        code.dec(steps);
        code.jnz(nextStep);
        code.mov(source, kernel.Argument(InputArguments.SourceStrideField));
        code.add(kernel.Argument(InputArguments.SourceField), source);
        code.mov(source, kernel.Argument(InputArguments.DestinationStrideField));
        code.add(kernel.Argument(InputArguments.DestinationField), source);
        code.dec(tokens);
        code.jnz(nextToken);
        return kernel.Finish();
    }

    /// <summary>Tiles: for each pair of columns, the pair of each token.</summary>
    public static GeneratedCode GenerateTiles()
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        EmitMasks(kernel);
        AssemblerRegister64 scratch = kernel.TakeArgument(InputArguments.ScratchField);
        AssemblerRegister64 destination = kernel.TakeArgument(InputArguments.DestinationField);
        AssemblerRegister64 steps = kernel.TakeArgument(InputArguments.StepsField);
        AssemblerRegister64 source = kernel.Take();
        AssemblerRegister64 tokens = kernel.Take();
        AssemblerRegister64 at = kernel.Take();
        Label nextStep = code.CreateLabel();
        Label nextToken = code.CreateLabel();
        code.Label(ref nextStep);
        code.mov(source, kernel.Argument(InputArguments.SourceField));
        code.mov(tokens, kernel.Argument(InputArguments.TokensField));
        code.mov(at, scratch);
        code.Label(ref nextToken);
        EmitRound(code, source);
        code.vmovdqa64(__zmmword_ptr[at], zmm0);
        code.add(source, kernel.Argument(InputArguments.SourceStrideField));
        code.add(at, 64);
        code.dec(tokens);
        code.jnz(nextToken);

        // Rows of tokens that do not exist hold what was there before; the mask keeps their columns out.
        for (int row = 0; row < 16; row++)
        {
            code.vmovups(new AssemblerRegisterZMM(Register.ZMM0 + row), __zmmword_ptr[scratch + (64 * row)]);
        }

        foreach (AssemblerRegisterZMM pair in Transposition.Emit(code))
        {
            code.vmovups(__zmmword_ptr[destination].k3, pair);
            code.add(destination, kernel.Argument(InputArguments.DestinationStrideField));
        }

        code.add(kernel.Argument(InputArguments.SourceField), 128);
        code.dec(steps);
        code.jnz(nextStep);
        return kernel.Finish();
    }

    private static void EmitMasks(KernelAssembler kernel)
    {
        kernel.Code.kmovw(k1, Word(InputArguments.LowMaskField));
        kernel.Code.kmovw(k2, Word(InputArguments.HighMaskField));
        kernel.Code.kmovw(k3, Word(InputArguments.TokenMaskField));

        AssemblerMemoryOperand Word(int field) => __word_ptr[kernel.Arguments + (8 * field)];
    }

    private static void EmitRound(Assembler code, AssemblerRegister64 source)
    {
        code.vmovups(zmm0.k1.z, __zmmword_ptr[source]);
        code.vmovups(zmm1.k2.z, __zmmword_ptr[source + 64]);
        code.vcvtne2ps2bf16(zmm0, zmm1, zmm0);
    }
}
