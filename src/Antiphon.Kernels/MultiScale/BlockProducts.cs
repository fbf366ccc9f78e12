using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.MultiScale;

/// <summary>
/// Emits products of up to three strips with up to 8 tokens by integer dot products (VPDPBUSD; of words VPDPWSSD). A row of weights is a lane; every pair of a strip and a token has a register for the
/// integers of a block, and its float sum in memory.
/// </summary>
/// <remarks>
/// The instruction multiplies unsigned bytes with signed ones. Here activations are the unsigned ones (<see cref="SplitOrder.Unsigned"/>): what that adds to a product depends on the weights
/// alone, so the sums of integers start with minus that. Both passes add to one register, which is shifted by 8 bits between them. Each broadcast of activations serves three
/// strips, as does each of a pair of 16 bits, which words are multiplied with in one pass: Ice Lake was measured to load little more than one vector a cycle, where it makes two of these products. Uses all vector registers.
///
/// What is fetched into the cache meanwhile is fetched a line at a time: many lines at once wait for the fill buffers, and the products behind them with them.
/// </remarks>
internal sealed class BlockProducts(KernelAssembler kernel, CodeLayout layout, int strips, int passes, bool words)
{
    /// <summary>Strips that are multiplied at a time.</summary>
    public const int MaxStrips = 3;

    /// <summary>Tokens that are multiplied at a time.</summary>
    public const int MaxTokens = 8;

    private readonly Assembler code = kernel.Code;

    private IReadOnlyList<AssemblerMemoryOperand> fetches = [];
    private int broadcasts;
    private int broadcastsDone;
    private int fetchesDone;

    /// <summary>The values of a group of columns of a strip's tile: signed bytes; or of every second column of a group: words.</summary>
    public required Func<int, int, AssemblerMemoryOperand> Values { get; init; }

    /// <summary>With what the integers of a block of a strip start: -128 times the sum of its values. Not for words.</summary>
    public required Func<int, int, AssemblerMemoryOperand> Starts { get; init; }

    /// <summary>The scales of a block of a strip.</summary>
    public required Func<int, int, AssemblerMemoryOperand> Scales { get; init; }

    /// <summary>What is added to the weights of a strip's tile, where each tile has its own.</summary>
    public required Func<int, AssemblerMemoryOperand> Minimums { get; init; }

    /// <summary>The float sums of a strip and a token.</summary>
    public required Func<int, int, AssemblerMemoryOperand> Sums { get; init; }

    /// <summary>Holds the address of the tile's integers.</summary>
    public required AssemblerRegister64 Input { get; init; }

    /// <summary>Holds the address of minus their sums.</summary>
    public required AssemblerRegister64 TokenSums { get; init; }

    /// <summary>Holds the address of the digits of the super-block's sums.</summary>
    public required AssemblerRegister64 Digits { get; init; }

    private bool HasTileMinimum => layout.HasMinimum && !layout.HasSuperMinimum;

    /// <summary>How many of some strips to multiply next, and how many at a time: three where that leaves no single one, which costs nearly as much as two.</summary>
    public static int Together(int strips, out int together)
    {
        together = strips is 2 or 4 ? 2 : Math.Min(strips, MaxStrips);
        return strips <= 4 ? strips / together * together : (strips - (strips % 3 == 1 ? 4 : 0)) / 3 * 3;
    }

    /// <summary>Emits a tile's products with some tokens.</summary>
    /// <param name="tokens">The tokens, up to <see cref="MaxTokens"/>.</param>
    /// <param name="ahead">What is fetched into the first-level cache meanwhile.</param>
    public void Emit(int tokens, IReadOnlyList<AssemblerMemoryOperand> ahead)
    {
        fetches = ahead;
        broadcasts = CodeLayout.Groups * (words ? 2 : passes) * tokens;
        (broadcastsDone, fetchesDone) = (0, 0);
        for (int block = 0; block < layout.SubBlocks; block++)
        {
            if (words)
            {
                EmitPairs(block, tokens);
            }
            else
            {
                EmitIntegers(block, tokens);
            }

            for (int strip = 0; strip < strips; strip++)
            {
                code.vmovaps(Weights(strip), Scales(strip, block));
                if (HasTileMinimum)
                {
                    code.vmovaps(Minimum(strip), Minimums(strip));
                }
            }

            for (int token = 0; token < tokens; token++)
            {
                if (HasTileMinimum)
                {
                    // Sums are stored negated.
                    code.vcvtdq2ps(TokenSum, __dword_bcst[TokenSums + (4 * token)]);
                }

                for (int strip = 0; strip < strips; strip++)
                {
                    AssemblerRegisterZMM total = Total(strip, token);
                    code.vcvtdq2ps(total, total);
                    if (HasTileMinimum)
                    {
                        code.vmovaps(Sum, Sums(strip, token));
                        code.vfnmadd231ps(Sum, TokenSum, Minimum(strip));
                        code.vfmadd213ps(total, Weights(strip), Sum);
                    }
                    else
                    {
                        code.vfmadd213ps(total, Weights(strip), Sums(strip, token));
                    }

                    code.vmovaps(Sums(strip, token), total);
                }
            }
        }
    }

    /// <summary>Emits what the minimums of a strip's super-block add to the sums of all tokens.</summary>
    /// <param name="strip">The strip.</param>
    /// <param name="tokens">The tokens.</param>
    /// <param name="unit">Holds what the minimums are multiples of.</param>
    /// <param name="multiples">The registers of the multiples, four blocks in each.</param>
    public void EmitSuperMinimums(int strip, int tokens, AssemblerRegisterZMM unit, Func<int, AssemblerRegisterZMM> multiples)
    {
        int blocks = layout.SubBlocks;
        for (int token = 0; token < tokens; token++)
        {
            AssemblerRegisterZMM total = Integers(token);
            code.vpxord(total, total, total);
            for (int digit = 0; digit < 3; digit++)
            {
                if (digit > 0)
                {
                    code.vpslld(total, total, 8);
                }

                for (int vector = 0; vector < 2 * blocks; vector++)
                {
                    code.vpdpbusd(total, multiples(vector), __dword_bcst[Digits + ((32 * blocks * token) + (8 * blocks * digit) + (4 * vector))]);
                }
            }

            code.vcvtdq2ps(total, total);
            code.vfmadd213ps(total, unit, Sums(strip, token));
            code.vmovaps(Sums(strip, token), total);
        }
    }

    /// <summary>Emits code that sets all sums to zero.</summary>
    public void EmitClear(int tokens)
    {
        code.vpxord(zmm0, zmm0, zmm0);
        for (int strip = 0; strip < strips; strip++)
        {
            for (int token = 0; token < tokens; token++)
            {
                code.vmovaps(Sums(strip, token), zmm0);
            }
        }
    }

    /// <summary>Emits code that multiplies the sums with the tokens' factors, and stores them.</summary>
    /// <param name="tokens">The tokens.</param>
    /// <param name="factors">Holds the address of the factors.</param>
    /// <param name="output">Holds the address of the first token's outputs, and is moved on.</param>
    public void EmitResults(int tokens, AssemblerRegister64 factors, AssemblerRegister64 output)
    {
        for (int token = 0; token < tokens; token++)
        {
            for (int strip = 0; strip < strips; strip++)
            {
                AssemblerRegisterZMM sum = Total(strip, token % MaxTokens);
                code.vmovaps(sum, Sums(strip, token));
                code.vmulps(sum, sum, __dword_bcst[factors + (8 * token)]);
                code.vmulps(sum, sum, __dword_bcst[factors + (8 * token) + 4]);
                code.vmovups(__zmmword_ptr[output + (64 * strip)], sum);
            }

            code.add(output, kernel.Argument(CodeArguments.OutputStrideField));
        }
    }

    private void EmitIntegers(int block, int tokens)
    {
        for (int strip = 0; strip < strips; strip++)
        {
            AssemblerRegisterZMM start = Weights(strip);
            code.vmovdqa64(start, Starts(strip, block));
            for (int token = 0; token < tokens; token++)
            {
                code.vmovdqa64(Total(strip, token), start);
            }
        }

        int groups = CodeLayout.Groups / layout.SubBlocks;
        for (int pass = 0; pass < passes; pass++)
        {
            for (int i = 0; i < strips * tokens && pass == 1; i++)
            {
                AssemblerRegisterZMM total = Total(i % strips, i / strips);
                code.vpslld(total, total, 8);
            }

            for (int i = 0; i < groups; i++)
            {
                int group = (block * groups) + i;
                for (int strip = 0; strip < strips; strip++)
                {
                    code.vmovdqu64(Weights(strip), Values(strip, group));
                }

                for (int token = 0; token < tokens; token++)
                {
                    code.vpbroadcastd(Integers(token), __dword_ptr[Input + ((64 * token) + (32 * pass) + (4 * group))]);
                    for (int strip = 0; strip < strips; strip++)
                    {
                        code.vpdpbusd(Total(strip, token), Integers(token), Weights(strip));
                    }

                    EmitFetches();
                }
            }
        }
    }

    private void EmitPairs(int block, int tokens)
    {
        int pairs = 2 * CodeLayout.Groups / layout.SubBlocks;
        for (int pair = block * pairs; pair < (block + 1) * pairs; pair++)
        {
            for (int strip = 0; strip < strips; strip++)
            {
                code.vmovdqu64(Weights(strip), Values(strip, pair));
            }

            for (int token = 0; token < tokens; token++)
            {
                code.vpbroadcastd(Integers(token), __dword_ptr[Input + ((64 * token) + (4 * pair))]);
                for (int strip = 0; strip < strips; strip++)
                {
                    if (pair == block * pairs)
                    {
                        code.vpmaddwd(Total(strip, token), Integers(token), Weights(strip));
                    }
                    else
                    {
                        code.vpdpwssd(Total(strip, token), Integers(token), Weights(strip));
                    }
                }

                EmitFetches();
            }
        }
    }

    private void EmitFetches()
    {
        for (broadcastsDone++; (fetchesDone + 1) * broadcasts <= fetches.Count * broadcastsDone; fetchesDone++)
        {
            code.prefetcht0(fetches[fetchesDone]);
        }
    }

    private static AssemblerRegisterZMM TokenSum => zmm30;

    private static AssemblerRegisterZMM Sum => zmm31;

    private static AssemblerRegisterZMM Total(int strip, int token) => new(Register.ZMM0 + (strip * MaxTokens) + token);

    private static AssemblerRegisterZMM Weights(int strip) => new(Register.ZMM24 + strip);

    private static AssemblerRegisterZMM Minimum(int strip) => new(Register.ZMM27 + strip);

    private static AssemblerRegisterZMM Integers(int token) => new(Register.ZMM27 + (token % 5));
}
