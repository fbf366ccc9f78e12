using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Integers;

/// <summary>
/// Generates <see cref="IntegerKernels"/> for AVX2: 16 queries in the lanes of two vectors, by four keys or values of a row. A product of pairs is VPMADDWD and an addition, with AVX-VNNI
/// one instruction. Eight sums stay in registers; for eight products there are six loads.
/// </summary>
internal static class Avx2Integers
{
    private const int TileRows = IntegerKernels.TileRows;
    private const int Unrolled = IntegerKernels.Unrolled;
    private const int LineBytes = 64;

    // Sixteen queries: two vectors, of which each has its half of every row.
    private const int RowBytes = 64;
    private const int HalfBytes = 32;
    private const int SumRows = 4;

    /// <summary>Scores of eights of keys, see <see cref="ScoreArguments"/>.</summary>
    /// <param name="keySize">Values in a key row.</param>
    /// <param name="fuses">Whether the processor adds products to sums in one instruction (AVX-VNNI).</param>
    public static GeneratedCode GenerateScores(int keySize, bool fuses)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        int keyBytes = keySize * sizeof(short);
        AssemblerRegister64 queries = kernel.Take();
        AssemblerRegister64 places = kernel.TakeArgument(ScoreArguments.KeysField);
        AssemblerRegister64 keys = kernel.Take();
        AssemblerRegister64 next = kernel.Take();
        AssemblerRegister64 keyScales = kernel.TakeArgument(ScoreArguments.KeyScalesField);
        AssemblerRegister64 scores = kernel.TakeArgument(ScoreArguments.ScoresField);
        AssemblerRegister64 greatest = kernel.TakeArgument(ScoreArguments.GreatestField);
        AssemblerRegister64 ahead = kernel.TakeArgument(ScoreArguments.AheadField);
        AssemblerRegister64 inner = kernel.Take();
        Label nextKeys = code.CreateLabel();
        code.vmovups(ymm0, Constant(kernel, float.NegativeInfinity));
        code.vmovups(__ymmword_ptr[greatest], ymm0);
        code.vmovups(__ymmword_ptr[greatest + HalfBytes], ymm0);
        code.Label(ref nextKeys);
        for (int four = 0; four < TileRows; four += SumRows)
        {
            Label nextPairs = code.CreateLabel();
            int first = four * keyBytes;
            Clear(code);
            code.mov(queries, kernel.Argument(ScoreArguments.QueriesField));
            code.mov(inner, keySize / (2 * Unrolled));
            code.mov(keys, __qword_ptr[places]);
            code.mov(next, __qword_ptr[places + 8]);
            code.Label(ref nextPairs);
            for (int pair = 0; pair < Unrolled; pair++)
            {
                Multiply(kernel, queries + (RowBytes * pair), key => __dword_ptr[keys + (first + (key * keyBytes) + (sizeof(int) * pair))], fuses);
            }

            // Of the next eight keys every second line, and once for all eight what is further ahead.
            code.prefetcht0(__byte_ptr[next + (four == 0 ? 0 : LineBytes)]);
            code.add(next, 2 * LineBytes);
            if (four == 0)
            {
                code.prefetcht1(__byte_ptr[ahead]);
                code.add(ahead, LineBytes);
            }

            code.add(queries, RowBytes * Unrolled);
            code.add(keys, sizeof(int) * Unrolled);
            code.dec(inner);
            code.jnz(nextPairs);
            for (int half = 0; half < 2; half++)
            {
                AssemblerRegisterYMM most = Shared(half);
                code.vmovups(most, __ymmword_ptr[greatest + (HalfBytes * half)]);
                for (int key = 0; key < SumRows; key++)
                {
                    AssemblerRegisterYMM sum = Sum(key, half);
                    AssemblerRegisterYMM scale = Spare(key);
                    code.vbroadcastss(scale, __dword_ptr[keyScales + (sizeof(float) * (four + key))]);
                    code.vcvtdq2ps(sum, sum);
                    code.vmulps(sum, sum, scale);
                    code.vmaxps(most, most, sum);
                    code.vmovups(__ymmword_ptr[scores + ((RowBytes * (four + key)) + (HalfBytes * half))], sum);
                }

                code.vmovups(__ymmword_ptr[greatest + (HalfBytes * half)], most);
            }
        }

        code.add(places, 8);
        code.add(keyScales, TileRows * sizeof(float));
        code.add(scores, RowBytes * TileRows);
        code.dec(kernel.Argument(ScoreArguments.CountField));
        code.jnz(nextKeys);
        return kernel.Finish();
    }

    /// <summary>Turns scores into weights and adds the weighted values of a block, see <see cref="ValueArguments"/>.</summary>
    /// <param name="valueSize">Values in a value row.</param>
    /// <param name="masked">Whether scores may be minus infinity: those of keys that a query does not see.</param>
    /// <param name="fuses">Whether the processor adds products to sums in one instruction (AVX-VNNI).</param>
    public static GeneratedCode GenerateValues(int valueSize, bool masked, bool fuses)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        const int pairBytes = TileRows * sizeof(int);
        const int tileBytes = IntegerArithmetic.BlockKeys / 2 * pairBytes;
        AssemblerRegister64 weights = kernel.Take();
        AssemblerRegister64 values = kernel.Take();
        AssemblerRegister64 inner = kernel.Take();
        for (int half = 0; half < 2; half++)
        {
            EmitWeights(kernel, half, masked, weights, values, inner);
        }

        AssemblerRegister64 tile = kernel.TakeArgument(ValueArguments.ValuesField);
        AssemblerRegister64 units = kernel.TakeArgument(ValueArguments.ScratchField);
        AssemblerRegister64 outputs = kernel.TakeArgument(ValueArguments.OutputsField);
        AssemblerRegister64 outer = kernel.Take();
        AssemblerRegister64 ahead = kernel.Take();
        Label nextTile = code.CreateLabel();
        code.mov(outer, valueSize / TileRows);
        code.Label(ref nextTile);
        code.mov(ahead, outputs);
        for (int four = 0; four < TileRows; four += SumRows)
        {
            Label nextPairs = code.CreateLabel();
            Clear(code);
            code.mov(weights, kernel.Argument(ValueArguments.ScoresField));
            code.mov(values, tile);
            code.mov(inner, kernel.Argument(ValueArguments.CountField));
            code.Label(ref nextPairs);
            for (int pair = 0; pair < Unrolled; pair++)
            {
                Multiply(kernel, weights + (RowBytes * pair), d => __dword_ptr[values + ((pair * pairBytes) + (sizeof(int) * (four + d)))], fuses);
            }

            // Of the next eight values every second line; and outputs, of these first.
            code.prefetcht0(__byte_ptr[values + (tileBytes + (four == 0 ? 0 : LineBytes))]);
            code.prefetcht0(__byte_ptr[ahead]);
            code.add(ahead, RowBytes);
            code.add(weights, RowBytes * Unrolled);
            code.add(values, Unrolled * pairBytes);
            code.dec(inner);
            code.jnz(nextPairs);
            for (int half = 0; half < 2; half++)
            {
                code.vmovups(Shared(half), __ymmword_ptr[units + (HalfBytes * half)]);
                for (int d = 0; d < SumRows; d++)
                {
                    AssemblerRegisterYMM sum = Sum(d, half);
                    AssemblerMemoryOperand output = __ymmword_ptr[outputs + ((RowBytes * d) + (HalfBytes * half))];
                    code.vcvtdq2ps(sum, sum);
                    code.vfmadd213ps(sum, Shared(half), output);
                    code.vmovups(output, sum);
                }
            }

            code.add(outputs, RowBytes * SumRows);
        }

        code.add(tile, tileBytes);
        code.dec(outer);
        code.jnz(nextTile);
        return kernel.Finish();
    }

    /// <summary>
    /// Weights of 64 keys for eight queries: <see cref="IntegerArithmetic"/> says what is computed, and in which order weights are added up.
    /// What they are worth comes to the beginning of the scratch memory.
    /// </summary>
    private static void EmitWeights(KernelAssembler kernel, int half, bool masked, AssemblerRegister64 column, AssemblerRegister64 key, AssemblerRegister64 count)
    {
        Assembler code = kernel.Code;
        Label nextKeys = code.CreateLabel();
        Label nextPairs = code.CreateLabel();
        AssemblerRegister64 scales = kernel.Take();
        AssemblerRegister64 tree = kernel.Take();
        AssemblerRegister64 factors = kernel.TakeArgument(ValueArguments.FactorsField);
        AssemblerRegister64 shifts = kernel.TakeArgument(ValueArguments.ShiftsField);
        Each(i => code.vxorps(Most(i), Most(i), Most(i)));
        code.mov(column, kernel.Argument(ValueArguments.ScoresField));
        code.add(column, HalfBytes * half);
        code.mov(key, column);
        code.mov(scales, kernel.Argument(ValueArguments.ValueScalesField));
        code.mov(tree, kernel.Argument(ValueArguments.ScratchField));
        code.add(tree, RowBytes);
        code.mov(count, 16);
        code.Label(ref nextKeys);

        // Step by step for four keys, because each step waits for the one before.
        code.vmovups(Rounded(0), __ymmword_ptr[factors + (HalfBytes * half)]);
        Each(i => code.vmovups(X(i), Score(i)));
        Each(i => code.vfmsub213ps(X(i), Rounded(0), __ymmword_ptr[shifts + (HalfBytes * half)]));
        Each(i => code.vmaxps(X(i), X(i), Constant(kernel, IntegerArithmetic.LowestScore)));
        Each(i => code.vmovups(Rounded(i), Constant(kernel, IntegerArithmetic.Rounder)));
        Each(i => code.vfmadd231ps(Rounded(i), X(i), Constant(kernel, IntegerArithmetic.Log2E)));
        Each(i => code.vsubps(Weight(i), Rounded(i), Constant(kernel, IntegerArithmetic.Rounder)));
        Each(i => code.vfnmadd231ps(X(i), Weight(i), Constant(kernel, IntegerArithmetic.Ln2)));
        Each(i => code.vmovups(Weight(i), Constant(kernel, IntegerArithmetic.Power[3])));
        for (int c = 2; c >= 0; c--)
        {
            float coefficient = IntegerArithmetic.Power[c];
            Each(i => code.vfmadd213ps(Weight(i), X(i), Constant(kernel, coefficient)));
        }

        // Times 2^n: the lowest bits of the rounded number are n, and no weight comes near the ends of the exponents.
        Each(i => code.vfmadd213ps(Weight(i), X(i), Constant(kernel, 1)));
        Each(i => code.vpslld(Rounded(i), Rounded(i), 23));
        Each(i => code.vpaddd(Weight(i), Weight(i), Rounded(i)));
        if (masked)
        {
            Each(i => code.vmovups(Rounded(i), Score(i)));
            Each(i => code.vcmpps(Rounded(i), Rounded(i), Constant(kernel, float.NegativeInfinity), 0x1E));
            Each(i => code.vandps(Weight(i), Weight(i), Rounded(i)));
        }

        Each(i => code.vbroadcastss(X(i), __dword_ptr[scales + (16 * i * sizeof(float))]));
        Each(i => code.vmulps(X(i), X(i), Weight(i)));
        if (masked)
        {
            // Zeros where a query does not see the key; what was computed there may be anything, and so may the scale of a value that is not there.
            Each(i => code.vandps(X(i), X(i), Rounded(i)));
        }

        Each(i => code.vmaxps(Most(i), Most(i), X(i)));
        Each(i => code.vmovups(Score(i), X(i)));
        for (int i = 1; i < 4; i++)
        {
            code.vaddps(Weight(0), Weight(0), Weight(i));
        }

        code.vmovups(__ymmword_ptr[tree], Weight(0));
        code.add(tree, HalfBytes);
        code.add(key, RowBytes);
        code.add(scales, sizeof(float));
        code.dec(count);
        code.jnz(nextKeys);

        code.sub(tree, 16 * HalfBytes);
        for (int i = 0; i < 8; i++)
        {
            code.vmovups(Ymm(i), __ymmword_ptr[tree + (HalfBytes * i)]);
            code.vaddps(Ymm(i), Ymm(i), __ymmword_ptr[tree + (HalfBytes * (i + 8))]);
        }

        for (int pairs = 4; pairs > 0; pairs /= 2)
        {
            for (int i = 0; i < pairs; i++)
            {
                code.vaddps(Ymm(i), Ymm(i), Ymm(i + pairs));
            }
        }

        code.mov(key, kernel.Argument(ValueArguments.SumsField));
        code.vaddps(ymm0, ymm0, __ymmword_ptr[key + (HalfBytes * half)]);
        code.vmovups(__ymmword_ptr[key + (HalfBytes * half)], ymm0);

        code.vmaxps(Most(0), Most(0), Most(1));
        code.vmaxps(Most(2), Most(2), Most(3));
        code.vmaxps(Most(0), Most(0), Most(2));
        code.vmulps(ymm0, Most(0), Constant(kernel, 1f / IntegerArithmetic.WeightLimit));
        code.mov(tree, kernel.Argument(ValueArguments.ScratchField));
        code.vmovups(__ymmword_ptr[tree + (HalfBytes * half)], ymm0);
        AssemblerRegisterYMM inverse = Most(1);
        code.vcmpps(Most(2), Most(0), Constant(kernel, IntegerArithmetic.LeastWeight), 0x1D);
        code.vmovups(inverse, Constant(kernel, IntegerArithmetic.WeightLimit));
        code.vdivps(inverse, inverse, Most(0));
        code.vandps(inverse, inverse, Most(2));

        code.mov(key, column);
        code.mov(count, IntegerArithmetic.BlockKeys / 8);
        code.Label(ref nextPairs);
        for (int i = 0; i < 4; i++)
        {
            (AssemblerRegisterYMM even, AssemblerRegisterYMM odd) = (Ymm(2 * i), Ymm((2 * i) + 1));
            code.vmovups(even, __ymmword_ptr[key + (2 * i * RowBytes)]);
            code.vmovups(odd, __ymmword_ptr[key + (((2 * i) + 1) * RowBytes)]);
            code.vfmadd213ps(even, inverse, Constant(kernel, IntegerArithmetic.Rounder));
            code.vfmadd213ps(odd, inverse, Constant(kernel, IntegerArithmetic.Rounder));
            code.vpslld(odd, odd, 16);
            code.vpblendw(even, even, odd, 0xAA);
            code.vmovups(__ymmword_ptr[column + (i * RowBytes)], even);
        }

        code.add(key, 8 * RowBytes);
        code.add(column, 4 * RowBytes);
        code.dec(count);
        code.jnz(nextPairs);
        kernel.Release(shifts);
        kernel.Release(factors);
        kernel.Release(tree);
        kernel.Release(scales);

        static void Each(Action<int> emit)
        {
            for (int i = 0; i < 4; i++)
            {
                emit(i);
            }
        }

        static AssemblerRegisterYMM X(int i) => Ymm(3 * i);
        static AssemblerRegisterYMM Rounded(int i) => Ymm((3 * i) + 1);
        static AssemblerRegisterYMM Weight(int i) => Ymm((3 * i) + 2);
        static AssemblerRegisterYMM Most(int i) => Ymm(12 + i);

        AssemblerMemoryOperand Score(int i) => __ymmword_ptr[key + (16 * i * RowBytes)];
    }

    private static void Clear(Assembler code)
    {
        for (int i = 0; i < 2 * SumRows; i++)
        {
            code.vpxor(Ymm(i), Ymm(i), Ymm(i));
        }
    }

    /// <summary>Adds the products of a pair of each query with four pairs that are broadcast.</summary>
    private static void Multiply(KernelAssembler kernel, AssemblerMemoryOperand queries, Func<int, AssemblerMemoryOperand> pair, bool fuses)
    {
        Assembler code = kernel.Code;
        code.vmovdqu(Shared(0), __ymmword_ptr[queries]);
        code.vmovdqu(Shared(1), __ymmword_ptr[queries + HalfBytes]);
        for (int row = 0; row < SumRows; row++)
        {
            // By turns, so that several are under way at once.
            (AssemblerRegisterYMM broadcast, AssemblerRegisterYMM product) = (Spare(2 * row), Spare((2 * row) + 1));
            code.vpbroadcastd(broadcast, pair(row));
            if (fuses)
            {
                kernel.AddPairs(Sum(row, 0), Shared(0), broadcast);
                kernel.AddPairs(Sum(row, 1), Shared(1), broadcast);
            }
            else
            {
                code.vpmaddwd(product, broadcast, Shared(0));
                code.vpmaddwd(broadcast, broadcast, Shared(1));
                code.vpaddd(Sum(row, 0), Sum(row, 0), product);
                code.vpaddd(Sum(row, 1), Sum(row, 1), broadcast);
            }
        }
    }

    private static AssemblerMemoryOperand Constant(KernelAssembler kernel, float value) => __ymmword_ptr[kernel.Floats(_ => value)];

    private static AssemblerRegisterYMM Sum(int row, int half) => Ymm((2 * row) + half);

    /// <summary>What all rows of a tile are multiplied with.</summary>
    private static AssemblerRegisterYMM Shared(int half) => Ymm((2 * SumRows) + half);

    private static AssemblerRegisterYMM Spare(int index) => Ymm((2 * SumRows) + 2 + (index % 6));

    private static AssemblerRegisterYMM Ymm(int number) => new(Register.YMM0 + number);
}
