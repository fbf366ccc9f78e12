using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Tiled;

/// <summary>
/// Takes blocks of keys and values into the states of 16 or 32 queries. Scores are products of key rows, as they lie in the cache, with queries; so a vector holds
/// the scores of one key, a lane for each query, and neither the greatest score nor the sum goes across lanes. Weights of two keys make a row of pairs, which is
/// what the product with the values wants; that needs the values of 32 keys side by side.
/// </summary>
internal static class BlockKernel
{
    private const int TileBytes = 1024;

    // Weights of a block, for 16 queries: a row of pairs for two keys. Then its scores, a row for each key.
    private const int WeightBytes = TiledSizes.BlockKeys / 2 * 64;
    private const int ScoreBytes = TiledSizes.BlockKeys * 64;

    // Subnormal numbers count as zero, all exceptions are masked: what tile products do by themselves.
    private const int FlushMode = 0x9FC0;

    private static readonly AssemblerRegisterZMM Scale = zmm31;
    private static readonly AssemblerRegisterZMM[] Power = [zmm27, zmm28, zmm29, zmm30];
    private static readonly AssemblerRegisterZMM HighHalves = zmm26;
    private static readonly AssemblerRegisterZMM Ones = zmm25;
    private static readonly AssemblerRegisterZMM NegativeShift = zmm24;
    private static readonly AssemblerRegisterZMM Sum = zmm23;
    private static readonly AssemblerRegisterZMM Unseen = zmm22;

    /// <summary>Bytes of scratch memory.</summary>
    public static int ScratchBytes(int groups) => groups * (WeightBytes + ScoreBytes);

    /// <summary>Generates the kernel.</summary>
    /// <param name="keySize">Values in a key row, a multiple of 32.</param>
    /// <param name="valueSize">Values in a value row, a multiple of 32.</param>
    /// <param name="groups">Sixteens of queries, 1 or 2.</param>
    /// <param name="masked">Whether some queries do not see all keys.</param>
    public static GeneratedCode Generate(int keySize, int valueSize, int groups, bool masked)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        int stateBytes = TiledSizes.StateBytes(valueSize);
        AssemblerRegister64 sixtyFour = kernel.Take();
        AssemblerRegister64 stride = kernel.TakeArgument(BlockArguments.KeyStrideField);
        AssemblerRegister64 queries = kernel.TakeArgument(BlockArguments.QueriesField);
        AssemblerRegister64 state = kernel.TakeArgument(BlockArguments.StateField);
        AssemblerRegister64 weights = kernel.TakeArgument(BlockArguments.ScratchField);
        AssemblerRegister64 keys = kernel.TakeArgument(BlockArguments.KeysField);
        AssemblerRegister64 values = kernel.TakeArgument(BlockArguments.ValuesField);
        AssemblerRegister64 count = kernel.Take();
        AssemblerRegister64 inner = kernel.Take();
        AssemblerRegister64[] at = [kernel.Take(), kernel.Take(), kernel.Take()];
        int scores = groups * WeightBytes;

        code.mov(sixtyFour, kernel.Argument(BlockArguments.ConfigField));
        code.ldtilecfg(__[sixtyFour]);
        code.mov(sixtyFour, 64);
        code.stmxcsr(__dword_ptr[kernel.Arguments + (8 * BlockArguments.ModeField)]);
        code.mov(__dword_ptr[kernel.Arguments + (8 * BlockArguments.ModeField) + 4], FlushMode);
        code.ldmxcsr(__dword_ptr[kernel.Arguments + (8 * BlockArguments.ModeField) + 4]);
        code.vbroadcastss(Scale, __dword_ptr[kernel.Arguments + (8 * BlockArguments.ScaleField)]);
        for (int i = 0; i < 4; i++)
        {
            float coefficient = TiledArithmetic.WeightCoefficients[i];
            code.vmovaps(Power[i], kernel.Floats(_ => coefficient));
        }

        code.vmovaps(HighHalves, kernel.Vector(_ => 0xFFFF0000));
        code.vmovaps(Ones, kernel.Vector(_ => 0x3F803F80));
        if (masked)
        {
            code.vmovaps(Unseen, kernel.Floats(_ => float.NegativeInfinity));
        }

        Label nextBlock = code.CreateLabel();
        code.Label(ref nextBlock);
        code.mov(count, TiledSizes.BlockSteps);
        code.cmp(kernel.Argument(BlockArguments.BlocksField), 1);
        code.cmove(count, kernel.Argument(BlockArguments.LastStepsField));
        code.mov(kernel.Argument(BlockArguments.StepsField), count);
        EmitScores();
        for (int group = 0; group < groups; group++)
        {
            EmitShift(group);
            EmitWeights(group);
        }

        EmitValues();
        code.add(values, TiledSizes.BlockSteps * valueSize * 64);
        code.dec(kernel.Argument(BlockArguments.BlocksField));
        code.jnz(nextBlock);
        code.ldmxcsr(__dword_ptr[kernel.Arguments + (8 * BlockArguments.ModeField)]);
        code.tilerelease();
        return kernel.Finish();

        // Scores of all keys of the block, and in zmm0 to zmm3 the greatest of each query (two for each 16 queries).
        void EmitScores()
        {
            for (int i = 0; i < 2 * groups; i++)
            {
                code.vmovaps(Zmm(i), kernel.Floats(_ => float.NegativeInfinity));
            }

            code.lea(at[2], __[weights + scores]);
            if (masked)
            {
                code.mov(inner, kernel.Argument(BlockArguments.VisibleField));
            }

            Label nextStep = code.CreateLabel();
            code.Label(ref nextStep);
            code.mov(at[0], __qword_ptr[keys]);
            code.mov(at[1], __qword_ptr[keys + 8]);
            code.add(keys, 16);
            for (int i = 0; i < 2 * groups; i++)
            {
                code.tilezero(Tmm((2 * (i / groups)) + (i % groups)));
            }

            for (int d = 0; d < keySize; d += 32)
            {
                for (int tile = 0; tile < 2; tile++)
                {
                    code.tileloadd(Tmm(4 + tile), __[at[tile] + (stride * 1) + (2 * d)]);
                    for (int group = 0; group < groups; group++)
                    {
                        if (tile == 0)
                        {
                            code.tileloadd(Tmm(6 + group), __[queries + (sixtyFour * 1) + (((group * keySize) + d) / 32 * TileBytes)]);
                        }

                        code.tdpbf16ps(Tmm((2 * tile) + group), Tmm(4 + tile), Tmm(6 + group));
                    }
                }
            }

            for (int tile = 0; tile < 2; tile++)
            {
                for (int group = 0; group < groups; group++)
                {
                    code.tilestored(__[at[2] + (sixtyFour * 1) + ((group * ScoreBytes) + (tile * TileBytes))], Tmm((2 * tile) + group));
                }
            }

            for (int key = 0; key < TiledSizes.StepKeys; key++)
            {
                for (int group = 0; group < groups; group++)
                {
                    AssemblerRegisterZMM greatest = Zmm((2 * group) + (key % 2));
                    AssemblerMemoryOperand score = __zmmword_ptr[at[2] + ((group * ScoreBytes) + (key * 64))];
                    if (!masked)
                    {
                        code.vmaxps(greatest, greatest, score);
                        continue;
                    }

                    code.kmovw(k1, __word_ptr[inner + (2 * ((key * groups) + group))]);
                    code.vmovaps(zmm4, Unseen);
                    code.vmovaps(zmm4.k1, score);
                    code.vmovaps(score, zmm4);
                    code.vmaxps(greatest, greatest, zmm4);
                }
            }

            if (masked)
            {
                code.add(inner, 2 * groups * TiledSizes.StepKeys);
            }

            code.add(at[2], TiledSizes.StepKeys * 64);
            code.dec(count);
            code.jnz(nextStep);
        }

        // The shift follows where the greatest score is too far above it; sums shrink accordingly.
        void EmitShift(int group)
        {
            Label done = code.CreateLabel();
            Label nextRows = code.CreateLabel();
            int own = group * stateBytes;
            AssemblerRegisterZMM greatest = zmm4;
            AssemblerRegisterZMM shift = zmm5;
            AssemblerRegisterZMM factor = zmm6;
            code.vmaxps(greatest, Zmm(2 * group), Zmm((2 * group) + 1));
            code.vmulps(greatest, greatest, Scale);
            code.vmovaps(shift, __zmmword_ptr[state + own]);
            code.vmovaps(Sum, __zmmword_ptr[state + own + 64]);
            code.vaddps(zmm7, shift, kernel.Floats(_ => TiledArithmetic.Tolerance));
            code.vcmpps(k1, greatest, zmm7, 0x1E);
            code.kortestw(k1, k1);
            code.jz(done);
            code.vsubps(zmm7.k1.z, shift, greatest);
            code.vreduceps(zmm8, zmm7, 9);
            code.vmovaps(factor, kernel.Floats(_ => TiledArithmetic.FactorCoefficients[3]));
            for (int i = 2; i >= 0; i--)
            {
                float coefficient = TiledArithmetic.FactorCoefficients[i];
                code.vfmadd213ps(factor, zmm8, kernel.Floats(_ => coefficient));
            }

            code.vscalefps(factor, factor, zmm7);
            code.vmovaps(shift.k1, greatest);
            code.vmovaps(__zmmword_ptr[state + own], shift);

            // Sums that are all zero, as those of a fresh state, need not be multiplied.
            code.vptestmd(k2, Sum, Sum);
            code.kortestw(k2, k2);
            code.jz(done);
            code.vmulps(Sum, Sum, factor);
            code.lea(inner, __[state + own + 128]);
            code.mov(count, valueSize / 8);
            code.Label(ref nextRows);
            for (int i = 0; i < 8; i++)
            {
                code.vmulps(Zmm(8 + i), factor, __zmmword_ptr[inner + (64 * i)]);
                code.vmovaps(__zmmword_ptr[inner + (64 * i)], Zmm(8 + i));
            }

            code.add(inner, 512);
            code.dec(count);
            code.jnz(nextRows);
            code.Label(ref done);
            code.vxorps(NegativeShift, shift, kernel.Vector(_ => 0x80000000));
        }

        void EmitWeights(int group)
        {
            Label nextStep = code.CreateLabel();
            code.lea(at[0], __[weights + (scores + (group * ScoreBytes))]);
            code.lea(at[1], __[weights + (group * WeightBytes)]);
            code.mov(count, kernel.Argument(BlockArguments.StepsField));
            code.Label(ref nextStep);
            for (int key = 0; key < TiledSizes.StepKeys; key += 2)
            {
                // Registers by turns, so that the instructions of several keys are under way at once; zmm0 to zmm3 still hold the other group's greatest scores.
                AssemblerRegisterZMM first = Zmm(4 + (key % 16));
                AssemblerRegisterZMM second = Zmm(5 + (key % 16));
                EmitPower(__zmmword_ptr[at[0] + (64 * key)], first);
                EmitPower(__zmmword_ptr[at[0] + (64 * (key + 1))], second);
                code.vpsrld(first, first, 16);
                code.vpternlogd(first, second, HighHalves, 0xF8);
                code.vmovaps(__zmmword_ptr[at[1] + (32 * key)], first);
                code.vdpbf16ps(Sum, first, Ones);
            }

            code.add(at[0], TiledSizes.StepKeys * 64);
            code.add(at[1], TileBytes);
            code.dec(count);
            code.jnz(nextStep);
            code.vmovaps(__zmmword_ptr[state + ((group * stateBytes) + 64)], Sum);
        }

        // 2^(score * scale - shift); VSCALEFPS takes the whole part of its second operand by itself.
        void EmitPower(AssemblerMemoryOperand score, AssemblerRegisterZMM result)
        {
            AssemblerRegisterZMM x = zmm20;
            AssemblerRegisterZMM fraction = zmm21;
            code.vmovaps(x, score);
            code.vfmadd213ps(x, Scale, NegativeShift);
            code.vreduceps(fraction, x, 9);
            code.vmovaps(result, Power[3]);
            for (int i = 2; i >= 0; i--)
            {
                code.vfmadd213ps(result, fraction, Power[i]);
            }

            code.vscalefps(result, result, x);
        }

        void EmitValues()
        {
            Label nextTiles = code.CreateLabel();
            Label nextStep = code.CreateLabel();
            AssemblerRegister64 source = at[0];
            AssemblerRegister64 sums = at[1];
            AssemblerRegister64 pairs = at[2];
            code.lea(sums, __[state + 128]);
            code.mov(count, valueSize / 32);
            code.Label(ref nextTiles);
            for (int tile = 0; tile < 2; tile++)
            {
                for (int group = 0; group < groups; group++)
                {
                    code.tileloadd(Tmm((2 * tile) + group), __[sums + (sixtyFour * 1) + ((group * stateBytes) + (tile * TileBytes))]);
                }
            }

            code.mov(source, values);
            code.mov(pairs, weights);
            code.mov(inner, kernel.Argument(BlockArguments.StepsField));
            code.Label(ref nextStep);
            for (int tile = 0; tile < 2; tile++)
            {
                code.tileloadd(Tmm(4 + tile), __[source + (sixtyFour * 1) + (tile * TileBytes)]);
                for (int group = 0; group < groups; group++)
                {
                    if (tile == 0)
                    {
                        code.tileloadd(Tmm(6 + group), __[pairs + (sixtyFour * 1) + (group * WeightBytes)]);
                    }

                    code.tdpbf16ps(Tmm((2 * tile) + group), Tmm(4 + tile), Tmm(6 + group));
                }
            }

            code.add(source, valueSize * 64);
            code.add(pairs, TileBytes);
            code.dec(inner);
            code.jnz(nextStep);
            for (int tile = 0; tile < 2; tile++)
            {
                for (int group = 0; group < groups; group++)
                {
                    code.tilestored(__[sums + (sixtyFour * 1) + ((group * stateBytes) + (tile * TileBytes))], Tmm((2 * tile) + group));
                }
            }

            code.add(sums, 2 * TileBytes);
            code.add(values, 2 * TileBytes);
            code.dec(count);
            code.jnz(nextTiles);
            code.sub(values, valueSize * 64);
        }
    }

    private static AssemblerRegisterZMM Zmm(int number) => new(Register.ZMM0 + number);

    private static AssemblerRegisterTMM Tmm(int number) => new(Register.TMM0 + number);
}
