using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.MultiScale;

/// <summary>
/// Emits products of one or two vectors of eight rows with a few tokens by products of 16-bit pairs (AVX2: VPMADDWD and an addition, AVX-VNNI: VPDPWSSD). A row of weights is a lane;
/// every pair of a vector and a token has a register for the integers of a block, and its float sum in memory.
/// </summary>
/// <remarks>
/// Activations are integers of 16 bits, so both passes are one, and a single pass costs as much. Sums take the first registers; four from some number on are used besides, the first two of them
/// only between blocks.
/// What is fetched into the cache meanwhile is fetched a line at a time (see <see cref="BlockProducts"/>).
/// </remarks>
internal sealed class PairProducts(KernelAssembler kernel, CodeLayout layout, int vectors, int tokens, int free, bool fuses)
{
    private readonly Assembler code = kernel.Code;

    private IReadOnlyList<AssemblerMemoryOperand> fetches = [];
    private int products;
    private int productsDone;
    private int fetchesDone;

    /// <summary>The float sums of a half of the strip and a token.</summary>
    public required Func<int, int, AssemblerMemoryOperand> Sums { get; init; }

    /// <summary>Holds the address of the tile's integers.</summary>
    public required AssemblerRegister64 Input { get; init; }

    /// <summary>Holds the address of minus their sums.</summary>
    public required AssemblerRegister64 TokenSums { get; init; }

    /// <summary>Holds the address of the digits of the super-block's sums.</summary>
    public required AssemblerRegister64 Digits { get; init; }

    /// <summary>A tile begins, during which some lines are fetched.</summary>
    public void Begin(IReadOnlyList<AssemblerMemoryOperand> ahead)
    {
        fetches = ahead;
        products = 2 / vectors * 2 * CodeLayout.Groups * tokens;
        (productsDone, fetchesDone) = (0, 0);
    }

    /// <summary>Emits the start of a block's sums, where codes are too large by an offset.</summary>
    public void EmitStart(int block, int offset)
    {
        for (int token = 0; token < tokens; token++)
        {
            // Sums are stored negated.
            code.vpbroadcastd(Total(0, token), __dword_ptr[TokenSums + SumAt(block, token)]);
            code.vpslld(Total(0, token), Total(0, token), (byte)int.Log2(offset));
            if (vectors == 2)
            {
                code.vmovdqa(Total(1, token), Total(0, token));
            }
        }
    }

    /// <summary>Emits products with a half of a group's columns.</summary>
    /// <param name="pair">Which pairs of the tile: those of group <c>pair / 2</c>, first and third column or second and fourth.</param>
    /// <param name="weights">The weights of each vector.</param>
    /// <param name="starts">Whether the sums begin with these.</param>
    /// <param name="set">Which set of sums, of several that <see cref="EmitMerge"/> joins.</param>
    public void Emit(int pair, Func<int, AssemblerRegisterYMM> weights, bool starts, int set = 0)
    {
        for (int token = 0; token < tokens; token++)
        {
            code.vpbroadcastd(Integers, __dword_ptr[Input + ((64 * token) + (4 * pair))]);
            for (int vector = 0; vector < vectors; vector++)
            {
                AssemblerRegisterYMM total = Total(vector, token, set);
                if (IsFused)
                {
                    if (starts)
                    {
                        code.vpxor(total, total, total);
                    }

                    kernel.AddPairs(total, Integers, weights(vector));
                }
                else if (starts)
                {
                    code.vpmaddwd(total, Integers, weights(vector));
                }
                else
                {
                    AssemblerRegisterYMM product = vector == vectors - 1 ? Integers : Other;
                    code.vpmaddwd(product, Integers, weights(vector));
                    code.vpaddd(total, total, product);
                }
            }

            for (productsDone++; (fetchesDone + 1) * products <= fetches.Count * productsDone; fetchesDone++)
            {
                code.prefetcht0(fetches[fetchesDone]);
            }
        }
    }

    /// <summary>Emits code that adds a set of sums, which are multiples of a power of two too large by that factor, to the first set.</summary>
    public void EmitMerge(int set, int shift)
    {
        for (int token = 0; token < tokens; token++)
        {
            for (int vector = 0; vector < vectors; vector++)
            {
                code.vpsrad(Total(vector, token, set), Total(vector, token, set), (byte)shift);
                code.vpaddd(Total(vector, token), Total(vector, token), Total(vector, token, set));
            }
        }
    }

    /// <summary>Emits code that scales the sums of a block and adds them to the float sums.</summary>
    /// <param name="half">Which half of the strip the first vector is.</param>
    /// <param name="emitScale">Emits the scale of a half into a register, and may use another.</param>
    /// <param name="emitMinimum">Emits what is added to the weights of a half's tile, where each tile has its own; else null.</param>
    public void EmitFloats(int half, Action<int, AssemblerRegisterYMM, AssemblerRegisterYMM> emitScale, Action<int, AssemblerRegisterYMM>? emitMinimum)
    {
        for (int vector = 0; vector < vectors; vector++)
        {
            AssemblerRegisterYMM scale = Free(0);
            AssemblerRegisterYMM minimum = Free(1);
            emitScale(half + vector, scale, Other);
            emitMinimum?.Invoke(half + vector, minimum);
            for (int token = 0; token < tokens; token++)
            {
                AssemblerRegisterYMM total = Total(vector, token);
                AssemblerMemoryOperand sum = Sums(half + vector, token);
                code.vcvtdq2ps(total, total);
                if (emitMinimum is null)
                {
                    code.vfmadd213ps(total, scale, sum);
                }
                else
                {
                    code.vpbroadcastd(Integers, __dword_ptr[TokenSums + SumAt(0, token)]);
                    code.vcvtdq2ps(Integers, Integers);
                    code.vmovups(Other, sum);
                    code.vfnmadd231ps(Other, Integers, minimum);
                    code.vfmadd213ps(total, scale, Other);
                }

                code.vmovups(sum, total);
            }
        }
    }

    /// <summary>Emits what the minimums of a super-block add to the sums. Uses the registers 5 to 8 besides those it is given.</summary>
    /// <param name="half">Which rows.</param>
    /// <param name="unit">Holds what the minimums are multiples of.</param>
    /// <param name="multiples">The registers of the multiples, four blocks in each.</param>
    public void EmitSuperMinimums(int half, AssemblerRegisterYMM unit, Func<int, AssemblerRegisterYMM> multiples)
    {
        // The multiples have six bits: two products of two do not saturate.
        int blocks = layout.SubBlocks;
        for (int token = 0; token < tokens; token++)
        {
            AssemblerRegisterYMM total = ymm5;
            AssemblerRegisterYMM product = ymm8;
            for (int digit = 0; digit < 3; digit++)
            {
                AssemblerRegisterYMM words = digit == 0 ? total : ymm7;
                for (int vector = 0; vector < 2 * blocks; vector++)
                {
                    AssemblerRegisterYMM to = vector == 0 ? words : product;
                    code.vpbroadcastd(to, __dword_ptr[Digits + ((32 * blocks * token) + (8 * blocks * digit) + (4 * vector))]);
                    code.vpmaddubsw(to, multiples(vector), to);
                    if (vector > 0)
                    {
                        code.vpaddw(words, words, product);
                    }
                }

                code.vpmaddwd(words, words, __ymmword_ptr[kernel.Words(_ => digit == 0 ? 256 : 1)]);
                if (digit > 0)
                {
                    code.vpaddd(total, total, words);
                }

                if (digit == 1)
                {
                    code.vpslld(total, total, 8);
                }
            }

            code.vcvtdq2ps(total, total);
            code.vfmadd213ps(total, unit, Sums(half, token));
            code.vmovups(Sums(half, token), total);
        }
    }

    /// <summary>Emits code that sets all sums to zero.</summary>
    public void EmitClear()
    {
        code.vpxor(ymm0, ymm0, ymm0);
        for (int token = 0; token < tokens; token++)
        {
            code.vmovups(Sums(0, token), ymm0);
            code.vmovups(Sums(1, token), ymm0);
        }
    }

    /// <summary>Emits code that multiplies the sums with the tokens' factors, and stores them.</summary>
    /// <param name="factors">Holds the address of the factors.</param>
    /// <param name="output">Holds the address of the first token's outputs, and is moved on.</param>
    public void EmitResults(AssemblerRegister64 factors, AssemblerRegister64 output)
    {
        for (int token = 0; token < tokens; token++)
        {
            code.vbroadcastss(ymm2, __dword_ptr[factors + (8 * token)]);
            code.vbroadcastss(ymm3, __dword_ptr[factors + ((8 * token) + 4)]);
            for (int half = 0; half < 2; half++)
            {
                code.vmulps(ymm0, ymm2, Sums(half, token));
                code.vmulps(ymm0, ymm0, ymm3);
                code.vmovups(__ymmword_ptr[output + (32 * half)], ymm0);
            }

            code.add(output, kernel.Argument(CodeArguments.OutputStrideField));
        }
    }

    // It takes several cycles, which a few sums would wait for.
    private bool IsFused => fuses && tokens > 2;

    private AssemblerRegisterYMM Other => Free(2);

    private AssemblerRegisterYMM Integers => Free(3);

    private AssemblerRegisterYMM Free(int index) => new(Register.YMM0 + free + index);

    private AssemblerRegisterYMM Total(int vector, int token, int set = 0) => new(Register.YMM0 + (((set * vectors) + vector) * tokens) + token);

    private int SumAt(int block, int token) => 4 * ((layout.SubBlocks * token) + block);
}
