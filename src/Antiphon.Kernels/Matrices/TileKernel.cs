using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels;

/// <summary>How a kernel finds its weights.</summary>
internal enum TileWeights
{
    /// <summary>Decoded and laid out for it.</summary>
    Panel,

    /// <summary>Rows of float32 numbers.</summary>
    F32,

    /// <summary>Rows of half-precision numbers.</summary>
    F16,

    /// <summary>Rows of bfloat16 numbers.</summary>
    BF16,
}

/// <summary>
/// The generated form of <see cref="DotTiles{T}"/>: all sums of a tile stay in registers while its columns pass by. Sixteen lanes are one 512-bit register,
/// or two of 256 bits, whose sums are then taken one half after the other: lanes never meet, and more rows and tokens share what is loaded.
/// </summary>
internal static class TileKernel
{
    private const int Rows = DotTiles.Rows;
    private const int VectorBytes = 64;

    /// <summary>Most tokens that a kernel takes: what fits in the registers beside the weights and an input.</summary>
    public static int MostTokens(KernelTier tier) => tier == KernelTier.Avx2 ? 3 : 6;

    /// <summary>Generates a kernel that takes <see cref="TileArguments"/>.</summary>
    /// <param name="tokens">Number of tokens, 1 to <see cref="MostTokens"/>.</param>
    /// <param name="tier">AVX2, or AVX-512 and better.</param>
    /// <param name="form">How the weights lie.</param>
    /// <exception cref="CodeGenerationException">The system denies executable memory.</exception>
    public static GeneratedCode Generate(int tokens, KernelTier tier, TileWeights form)
    {
        bool narrow = tier == KernelTier.Avx2;
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 weights = kernel.TakeArgument(TileArguments.WeightsField);
        AssemblerRegister64 sums = kernel.TakeArgument(TileArguments.SumsField);
        AssemblerRegister64 input = kernel.TakeArgument(TileArguments.InputField);
        AssemblerRegister64 steps = kernel.TakeArgument(TileArguments.StepsField);
        AssemblerRegister64 tiles = kernel.TakeArgument(TileArguments.TilesField);
        AssemblerRegister64 w = kernel.Take();
        AssemblerRegister64 x = kernel.Take();
        AssemblerRegister64 left = kernel.Take();
        AssemblerRegister64 output = kernel.TakeArgument(TileArguments.OutputField);
        AssemblerRegister64 one = kernel.TakeArgument(TileArguments.RowBytesField);
        AssemblerRegister64 three = kernel.Take();
        AssemblerRegister64 ahead = kernel.Take();
        int valueBytes = form is TileWeights.Panel or TileWeights.F32 ? sizeof(float) : sizeof(ushort);
        int stepBytes = 16 * valueBytes * (form == TileWeights.Panel ? Rows : 1);
        code.lea(three, __[one + (one * 2)]);
        Label nextTile = code.CreateLabel();
        code.Label(ref nextTile);
        for (int half = 0; half < (narrow ? 2 : 1); half++)
        {
            int at = half * (VectorBytes / 2);
            EmitBegin(at);
            Label nextSteps = code.CreateLabel();
            Label even = code.CreateLabel();
            Label done = code.CreateLabel();
            code.mov(w, weights);
            code.lea(ahead, __[weights + (one * 4)]);
            code.mov(x, input);
            code.mov(left, steps);
            code.shr(left, 1);
            code.jnc(even);
            EmitStep(half, 0);
            Advance(1);
            code.test(left, left);
            code.Label(ref even);
            code.jz(done);
            code.Label(ref nextSteps);
            EmitStep(half, 0);
            EmitStep(half, 1);
            Advance(2);
            code.dec(left);
            code.jnz(nextSteps);
            code.Label(ref done);
            Label keep = code.CreateLabel();
            Label stored = code.CreateLabel();
            if (!narrow || half == 1)
            {
                code.cmp(kernel.Argument(TileArguments.FinishField), 0);
                code.je(keep);
                code.mov(x, output);
                if (narrow)
                {
                    EmitNarrowFinish();
                }
                else
                {
                    EmitWideFinish();
                }

                code.jmp(stored);
                code.Label(ref keep);
            }

            for (int sum = 0; sum < Rows * tokens; sum++)
            {
                if (narrow)
                {
                    code.vmovups(__ymmword_ptr[sums + ((VectorBytes * sum) + at)], Narrow(sum));
                }
                else
                {
                    code.vmovups(__zmmword_ptr[sums + (VectorBytes * sum)], Wide(sum));
                }
            }

            code.Label(ref stored);
        }

        code.add(weights, kernel.Argument(TileArguments.TileBytesField));
        code.add(output, Rows * sizeof(float));
        code.add(sums, Rows * tokens * VectorBytes);
        code.dec(tiles);
        code.jnz(nextTile);
        return kernel.Finish();

        void EmitBegin(int at)
        {
            Label old = code.CreateLabel();
            Label begun = code.CreateLabel();
            code.cmp(kernel.Argument(TileArguments.AddField), 0);
            code.jne(old);
            for (int sum = 0; sum < Rows * tokens; sum++)
            {
                if (narrow)
                {
                    code.vxorps(Narrow(sum), Narrow(sum), Narrow(sum));
                }
                else
                {
                    code.vpxord(Wide(sum), Wide(sum), Wide(sum));
                }
            }

            code.jmp(begun);
            code.Label(ref old);
            for (int sum = 0; sum < Rows * tokens; sum++)
            {
                if (narrow)
                {
                    code.vmovups(Narrow(sum), __ymmword_ptr[sums + ((VectorBytes * sum) + at)]);
                }
                else
                {
                    code.vmovups(Wide(sum), __zmmword_ptr[sums + (VectorBytes * sum)]);
                }
            }

            code.Label(ref begun);
        }

        // Lane i to lane i + 8, then i + 4, of each row of four tokens, whose lanes are then parts of one register; a transposition adds up the rest.
        void EmitWideFinish()
        {
            AssemblerRegisterZMM other = Wide(24);
            for (int first = 0; first < tokens; first += 4)
            {
                for (int row = 0; row < Rows; row++)
                {
                    EmitHalves(Sum(0), Sum(1), 0x44, 0xEE);
                    if (first + 2 < tokens)
                    {
                        EmitHalves(Sum(2), Sum(3), 0x44, 0xEE);
                    }

                    EmitHalves(Sum(0), Sum(2), 0x88, 0xDD);

                    // Where there are fewer tokens, anything stands in.
                    AssemblerRegisterZMM Sum(int token) => first + token < tokens ? Wide(((first + token) * Rows) + row) : Wide(28 + token);
                }

                int at = first * Rows;
                code.vunpcklps(other, Wide(at), Wide(at + 1));
                code.vunpckhps(Wide(at), Wide(at), Wide(at + 1));
                code.vaddps(Wide(at), Wide(at), other);
                code.vunpcklps(other, Wide(at + 2), Wide(at + 3));
                code.vunpckhps(Wide(at + 2), Wide(at + 2), Wide(at + 3));
                code.vaddps(Wide(at + 2), Wide(at + 2), other);
                code.vunpcklpd(other, Wide(at), Wide(at + 2));
                code.vunpckhpd(Wide(at), Wide(at), Wide(at + 2));
                code.vaddps(Wide(at), Wide(at), other);
                for (int token = first; token < Math.Min(first + 4, tokens); token++)
                {
                    code.vextractf32x4(__xmmword_ptr[x], Wide(at), (byte)(token - first));
                    code.add(x, kernel.Argument(TileArguments.OutputStrideField));
                }
            }

            void EmitHalves(AssemblerRegisterZMM a, AssemblerRegisterZMM b, byte low, byte high)
            {
                code.vshuff32x4(other, a, b, low);
                code.vshuff32x4(a, a, b, high);
                code.vaddps(a, a, other);
            }
        }

        // The same with parts of 128 bits for two tokens; lanes 0 to 7 were stored by the first half.
        void EmitNarrowFinish()
        {
            AssemblerRegisterYMM other = Narrow(12);
            for (int sum = 0; sum < Rows * tokens; sum++)
            {
                code.vaddps(Narrow(sum), Narrow(sum), __ymmword_ptr[sums + (VectorBytes * sum)]);
            }

            for (int first = 0; first < tokens; first += 2)
            {
                int at = first * Rows;
                for (int row = 0; row < Rows; row++)
                {
                    AssemblerRegisterYMM a = Narrow(at + row);
                    AssemblerRegisterYMM b = first + 1 < tokens ? Narrow(at + Rows + row) : a;
                    code.vperm2f128(other, a, b, 0x20);
                    code.vperm2f128(a, a, b, 0x31);
                    code.vaddps(a, a, other);
                }

                code.vunpcklps(other, Narrow(at), Narrow(at + 1));
                code.vunpckhps(Narrow(at), Narrow(at), Narrow(at + 1));
                code.vaddps(Narrow(at), Narrow(at), other);
                code.vunpcklps(other, Narrow(at + 2), Narrow(at + 3));
                code.vunpckhps(Narrow(at + 2), Narrow(at + 2), Narrow(at + 3));
                code.vaddps(Narrow(at + 2), Narrow(at + 2), other);
                code.vunpcklpd(other, Narrow(at), Narrow(at + 2));
                code.vunpckhpd(Narrow(at), Narrow(at), Narrow(at + 2));
                code.vaddps(Narrow(at), Narrow(at), other);
                for (int token = first; token < Math.Min(first + 2, tokens); token++)
                {
                    code.vextractf128(__xmmword_ptr[x], Narrow(at), (byte)(token - first));
                    code.add(x, kernel.Argument(TileArguments.OutputStrideField));
                }
            }
        }

        void Advance(int count)
        {
            code.add(w, count * stepBytes);
            code.add(x, count * tokens * VectorBytes);
            if (form != TileWeights.Panel)
            {
                code.add(ahead, count * stepBytes);
            }
        }

        void EmitStep(int half, int step)
        {
            // Panels are in the cache; of rows in memory, the next tile's are fetched, a line of each at a time.
            for (int row = 0; form != TileWeights.Panel && half == 0 && step * stepBytes % 64 == 0 && row < Rows; row++)
            {
                code.prefetcht0(__byte_ptr[RowOf(ahead, row) + (step * stepBytes)]);
            }

            if (narrow)
            {
                EmitNarrowStep(half, step);
            }
            else
            {
                EmitWideStep(step);
            }
        }

        // Sums in 24 registers, the weights of four rows in the next four, inputs in the last four in turns.
        void EmitWideStep(int step)
        {
            for (int row = 0; row < Rows; row++)
            {
                AssemblerMemoryOperand source = WeightsOf(row, 0, step);
                AssemblerRegisterZMM values = Wide(24 + row);
                if (form == TileWeights.BF16)
                {
                    code.vpmovzxwd(values, __ymmword_ptr[source]);
                    code.vpslld(values, values, 16);
                }
                else if (form == TileWeights.F16)
                {
                    code.vcvtph2ps(values, __ymmword_ptr[source]);
                }
                else
                {
                    code.vmovups(values, __zmmword_ptr[source]);
                }
            }

            for (int token = 0; token < tokens; token++)
            {
                AssemblerRegisterZMM value = Wide(28 + (token % 4));
                code.vmovups(value, __zmmword_ptr[x + (VectorBytes * ((tokens * step) + token))]);
                for (int row = 0; row < Rows; row++)
                {
                    code.vfmadd231ps(Wide((token * Rows) + row), value, Wide(24 + row));
                }
            }
        }

        // Sums in twelve registers, the inputs of three tokens in the next three, the weights of one row in the last.
        void EmitNarrowStep(int half, int step)
        {
            for (int token = 0; token < tokens; token++)
            {
                code.vmovups(Narrow(12 + token), __ymmword_ptr[x + ((VectorBytes * ((tokens * step) + token)) + (half * VectorBytes / 2))]);
            }

            AssemblerRegisterYMM values = Narrow(15);
            for (int row = 0; row < Rows; row++)
            {
                AssemblerMemoryOperand source = WeightsOf(row, half, step);
                if (form == TileWeights.BF16)
                {
                    code.vpmovzxwd(values, __xmmword_ptr[source]);
                    code.vpslld(values, values, 16);
                }
                else if (form == TileWeights.F16)
                {
                    code.vcvtph2ps(values, __xmmword_ptr[source]);
                }
                else
                {
                    code.vmovups(values, __ymmword_ptr[source]);
                }

                for (int token = 0; token < tokens; token++)
                {
                    code.vfmadd231ps(Narrow((token * Rows) + row), Narrow(12 + token), values);
                }
            }
        }

        AssemblerMemoryOperand WeightsOf(int row, int half, int step) => form == TileWeights.Panel
            ? w + ((VectorBytes * ((Rows * step) + row)) + (half * VectorBytes / 2))
            : RowOf(w, row) + ((step * stepBytes) + (half * 8 * valueBytes));

        AssemblerMemoryOperand RowOf(AssemblerRegister64 first, int row) => row switch
        {
            0 => first + 0,
            1 => first + one,
            2 => first + (one * 2),
            _ => first + three,
        };
    }

    private static AssemblerRegisterZMM Wide(int index) => new(Register.ZMM0 + index);

    private static AssemblerRegisterYMM Narrow(int index) => new(Register.YMM0 + index);
}
