using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Integers;

/// <summary>
/// Generates <see cref="IntegerKernels"/> for AVX-512 with dot products of integers (VNNI): 16, 32 or 48 queries in the lanes of one to three vectors. Twenty-four sums
/// stay in registers; for twenty-four products there are eleven loads.
/// </summary>
internal static class Avx512Integers
{
    private const int TileRows = IntegerKernels.TileRows;
    private const int MostVectors = IntegerKernels.MostVectors;
    private const int Unrolled = IntegerKernels.Unrolled;
    private const int LineBytes = 64;

    public static GeneratedCode GenerateScores(int keySize, int vectors)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        int rowBytes = keySize * sizeof(short);
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
        Label nextPairs = code.CreateLabel();
        for (int vector = 0; vector < vectors; vector++)
        {
            code.vmovaps(Shared(vector), kernel.Floats(_ => float.NegativeInfinity));
            code.vmovups(__zmmword_ptr[greatest + (64 * vector)], Shared(vector));
        }

        code.Label(ref nextKeys);
        Clear(code, vectors);
        code.mov(queries, kernel.Argument(ScoreArguments.QueriesField));
        code.mov(inner, keySize / (2 * Unrolled));
        code.mov(keys, __qword_ptr[places]);
        code.mov(next, __qword_ptr[places + 8]);
        code.Label(ref nextPairs);
        for (int pair = 0; pair < Unrolled; pair++)
        {
            Multiply(
                code, vectors, vector => __zmmword_ptr[queries + (64 * ((pair * vectors) + vector))],
                key => __dword_ptr[keys + ((key * rowBytes) + (sizeof(int) * pair))]);
        }

        // The next eight keys, in even steps: their lines follow each other.
        for (int line = 0; line < 2; line++)
        {
            code.prefetcht0(__byte_ptr[next + (line * LineBytes)]);
        }

        code.prefetcht1(__byte_ptr[ahead]);
        code.add(ahead, LineBytes);
        code.add(queries, 64 * Unrolled * vectors);
        code.add(keys, sizeof(int) * Unrolled);
        code.add(next, 2 * LineBytes);
        code.dec(inner);
        code.jnz(nextPairs);
        for (int vector = 0; vector < vectors; vector++)
        {
            AssemblerRegisterZMM most = Shared(vector);
            code.vmovups(most, __zmmword_ptr[greatest + (64 * vector)]);
            for (int key = 0; key < TileRows; key++)
            {
                AssemblerRegisterZMM sum = Sum(vectors, key, vector);
                code.vcvtdq2ps(sum, sum);
                code.vmulps(sum, sum, __dword_bcst[keyScales + (sizeof(float) * key)]);
                code.vmaxps(most, most, sum);
                code.vmovups(__zmmword_ptr[scores + (64 * ((key * vectors) + vector))], sum);
            }

            code.vmovups(__zmmword_ptr[greatest + (64 * vector)], most);
        }

        code.add(places, 8);
        code.add(keyScales, TileRows * sizeof(float));
        code.add(scores, 64 * TileRows * vectors);
        code.dec(kernel.Argument(ScoreArguments.CountField));
        code.jnz(nextKeys);
        return kernel.Finish();
    }

    public static GeneratedCode GenerateValues(int valueSize, int vectors, bool masked)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        const int pairBytes = TileRows * sizeof(int);
        const int tileBytes = IntegerArithmetic.BlockKeys / 2 * pairBytes;
        AssemblerRegister64 weights = kernel.Take();
        AssemblerRegister64 values = kernel.Take();
        AssemblerRegister64 inner = kernel.Take();
        EmitWeights(kernel, vectors, masked, weights, values, inner);
        AssemblerRegister64 tile = kernel.TakeArgument(ValueArguments.ValuesField);
        AssemblerRegister64 units = kernel.TakeArgument(ValueArguments.ScratchField);
        AssemblerRegister64 outputs = kernel.TakeArgument(ValueArguments.OutputsField);
        AssemblerRegister64 outer = kernel.Take();
        AssemblerRegister64 ahead = kernel.Take();
        Label nextTile = code.CreateLabel();
        Label nextPairs = code.CreateLabel();
        code.mov(outer, valueSize / TileRows);
        code.Label(ref nextTile);
        Clear(code, vectors);
        code.mov(weights, kernel.Argument(ValueArguments.ScoresField));
        code.mov(values, tile);
        code.mov(ahead, outputs);
        code.mov(inner, kernel.Argument(ValueArguments.CountField));
        code.Label(ref nextPairs);
        for (int pair = 0; pair < Unrolled; pair++)
        {
            Multiply(
                code, vectors, vector => __zmmword_ptr[weights + (64 * ((pair * vectors) + vector))],
                d => __dword_ptr[values + ((pair * pairBytes) + (sizeof(int) * d))]);
        }

        // The next eight values, and the outputs of these.
        for (int line = 0; line < Unrolled * pairBytes; line += LineBytes)
        {
            code.prefetcht0(__byte_ptr[values + (tileBytes + line)]);
        }

        for (int vector = 0; vector < vectors; vector++)
        {
            code.prefetcht0(__byte_ptr[ahead + (64 * vector)]);
        }

        code.add(ahead, 64 * vectors);

        code.add(weights, 64 * Unrolled * vectors);
        code.add(values, Unrolled * pairBytes);
        code.dec(inner);
        code.jnz(nextPairs);
        for (int vector = 0; vector < vectors; vector++)
        {
            code.vmovups(Shared(vector), __zmmword_ptr[units + (64 * vector)]);
        }

        for (int d = 0; d < TileRows; d++)
        {
            for (int vector = 0; vector < vectors; vector++)
            {
                AssemblerRegisterZMM sum = Sum(vectors, d, vector);
                AssemblerMemoryOperand output = __zmmword_ptr[outputs + (64 * ((d * vectors) + vector))];
                code.vcvtdq2ps(sum, sum);
                code.vfmadd213ps(sum, Shared(vector), output);
                code.vmovups(output, sum);
            }
        }

        code.add(outputs, 64 * TileRows * vectors);
        code.add(tile, tileBytes);
        code.dec(outer);
        code.jnz(nextTile);
        return kernel.Finish();
    }

    /// <summary>
    /// Weights of 64 keys for all queries, vector after vector: <see cref="IntegerArithmetic"/> says what is computed, and in which order weights are added up.
    /// What they are worth comes to the beginning of the scratch memory.
    /// </summary>
    private static void EmitWeights(
        KernelAssembler kernel, int vectors, bool masked, AssemblerRegister64 column, AssemblerRegister64 key, AssemblerRegister64 count)
    {
        Assembler code = kernel.Code;
        int rowBytes = 64 * vectors;
        (AssemblerRegisterZMM factors, AssemblerRegisterZMM shift, AssemblerRegisterZMM sum) = (zmm31, zmm30, zmm29);
        (AssemblerRegisterZMM lowest, AssemblerRegisterZMM log2E, AssemblerRegisterZMM ln2, AssemblerRegisterZMM rounder, AssemblerRegisterZMM one) = (zmm28, zmm27, zmm26, zmm25, zmm24);
        AssemblerRegisterZMM[] power = [zmm20, zmm21, zmm22, zmm23];
        AssemblerRegisterZMM[] most = [zmm16, zmm17, zmm18, zmm19];
        AssemblerRegister64 scales = kernel.Take();
        AssemblerRegister64 tree = kernel.Take();
        code.vmovaps(lowest, kernel.Floats(_ => IntegerArithmetic.LowestScore));
        code.vmovaps(log2E, kernel.Floats(_ => IntegerArithmetic.Log2E));
        code.vmovaps(ln2, kernel.Floats(_ => IntegerArithmetic.Ln2));
        code.vmovaps(rounder, kernel.Floats(_ => IntegerArithmetic.Rounder));
        code.vmovaps(one, kernel.Floats(_ => 1));
        for (int i = 0; i < power.Length; i++)
        {
            float coefficient = IntegerArithmetic.Power[i];
            code.vmovaps(power[i], kernel.Floats(_ => coefficient));
        }

        // Odd words.
        code.mov(count, 0xAAAAAAAA);
        code.kmovd(k2, new AssemblerRegister32(count.Value - Register.RAX + Register.EAX));
        for (int vector = 0; vector < vectors; vector++)
        {
            Label nextKeys = code.CreateLabel();
            Label nextPairs = code.CreateLabel();
            code.mov(column, kernel.Argument(ValueArguments.FactorsField));
            code.vmovups(factors, __zmmword_ptr[column + (64 * vector)]);
            code.mov(column, kernel.Argument(ValueArguments.ShiftsField));
            code.vxorps(shift, shift, shift);
            code.vsubps(shift, shift, __zmmword_ptr[column + (64 * vector)]);
            foreach (AssemblerRegisterZMM greatest in most)
            {
                code.vxorps(greatest, greatest, greatest);
            }

            code.mov(column, kernel.Argument(ValueArguments.ScoresField));
            code.add(column, 64 * vector);
            code.mov(key, column);
            code.mov(scales, kernel.Argument(ValueArguments.ValueScalesField));
            code.mov(tree, kernel.Argument(ValueArguments.ScratchField));
            code.add(tree, 64 * MostVectors);
            code.mov(count, 16);
            code.Label(ref nextKeys);
            // Step by step for four keys, because each step waits for the one before: the processor looks ahead over less than a hundred instructions.
            Each(i => code.vmovups(X(i), Score(i)));
            if (masked)
            {
                Each(i => code.vcmpps(Seen(i), X(i), kernel.Floats(_ => float.NegativeInfinity), 0x1E));
            }

            Each(i => code.vfmadd213ps(X(i), factors, shift));
            Each(i => code.vmaxps(X(i), X(i), lowest));
            Each(i => code.vmovaps(Rounded(i), rounder));
            Each(i => code.vfmadd231ps(Rounded(i), X(i), log2E));
            Each(i => code.vsubps(Weight(i), Rounded(i), rounder));
            Each(i => code.vfnmadd231ps(X(i), Weight(i), ln2));
            Each(i => code.vmovaps(Weight(i), power[3]));
            for (int c = 2; c >= 0; c--)
            {
                AssemblerRegisterZMM coefficient = power[c];
                Each(i => code.vfmadd213ps(Weight(i), X(i), coefficient));
            }

            // Times 2^n: the lowest bits of the rounded number are n, and no weight comes near the ends of the exponents.
            Each(i => code.vfmadd213ps(Weight(i), X(i), one));
            Each(i => code.vpslld(Rounded(i), Rounded(i), 23));
            Each(i => code.vpaddd(masked ? Masked(Weight(i), i) : Weight(i), Weight(i), Rounded(i)));
            code.vmovaps(sum, Weight(0));
            Each(i => code.vmulps(masked ? Masked(X(i), i) : X(i), Weight(i), __dword_bcst[scales + (16 * i * sizeof(float))]));
            Each(i => code.vmaxps(most[i], most[i], X(i)));
            Each(i => code.vmovups(Score(i), X(i)));
            for (int i = 1; i < 4; i++)
            {
                code.vaddps(sum, sum, Weight(i));
            }

            code.vmovups(__zmmword_ptr[tree], sum);
            code.add(tree, 64);
            code.add(key, rowBytes);
            code.add(scales, sizeof(float));
            code.dec(count);
            code.jnz(nextKeys);

            code.sub(tree, 64 * 16);
            for (int i = 0; i < 8; i++)
            {
                code.vmovups(Zmm(i), __zmmword_ptr[tree + (64 * i)]);
                code.vaddps(Zmm(i), Zmm(i), __zmmword_ptr[tree + (64 * (i + 8))]);
            }

            for (int half = 4; half > 0; half /= 2)
            {
                for (int i = 0; i < half; i++)
                {
                    code.vaddps(Zmm(i), Zmm(i), Zmm(i + half));
                }
            }

            code.mov(key, kernel.Argument(ValueArguments.SumsField));
            code.vaddps(zmm0, zmm0, __zmmword_ptr[key + (64 * vector)]);
            code.vmovups(__zmmword_ptr[key + (64 * vector)], zmm0);

            code.vmaxps(most[0], most[0], most[1]);
            code.vmaxps(most[2], most[2], most[3]);
            code.vmaxps(most[0], most[0], most[2]);
            code.vmulps(zmm0, most[0], kernel.Floats(_ => 1f / IntegerArithmetic.WeightLimit));
            code.mov(tree, kernel.Argument(ValueArguments.ScratchField));
            code.vmovups(__zmmword_ptr[tree + (64 * vector)], zmm0);
            AssemblerRegisterZMM inverse = most[1];
            code.vcmpps(k1, most[0], kernel.Floats(_ => IntegerArithmetic.LeastWeight), 0x1D);
            code.vmovaps(inverse, kernel.Floats(_ => IntegerArithmetic.WeightLimit));
            code.vdivps(inverse.k1.z, inverse, most[0]);

            code.mov(key, column);
            code.mov(count, IntegerArithmetic.BlockKeys / 8);
            code.Label(ref nextPairs);
            for (int i = 0; i < 4; i++)
            {
                (AssemblerRegisterZMM even, AssemblerRegisterZMM odd) = (Zmm(2 * i), Zmm((2 * i) + 1));
                code.vmovups(even, __zmmword_ptr[key + (2 * i * rowBytes)]);
                code.vmovups(odd, __zmmword_ptr[key + (((2 * i) + 1) * rowBytes)]);
                code.vfmadd213ps(even, inverse, rounder);
                code.vfmadd213ps(odd, inverse, rounder);
                code.vpslld(odd, odd, 16);
                code.vmovdqu16(even.k2, odd);
                code.vmovups(__zmmword_ptr[column + (i * rowBytes)], even);
            }

            code.add(key, 8 * rowBytes);
            code.add(column, 4 * rowBytes);
            code.dec(count);
            code.jnz(nextPairs);
        }

        kernel.Release(scales);
        kernel.Release(tree);

        static void Each(Action<int> emit)
        {
            for (int i = 0; i < 4; i++)
            {
                emit(i);
            }
        }

        static AssemblerRegisterZMM X(int i) => Zmm(3 * i);
        static AssemblerRegisterZMM Rounded(int i) => Zmm((3 * i) + 1);
        static AssemblerRegisterZMM Weight(int i) => Zmm((3 * i) + 2);
        static AssemblerRegisterK Seen(int i) => new(Register.K3 + i);

        // Zeros where a query does not see the key; what is computed there may be anything.
        static AssemblerRegisterZMM Masked(AssemblerRegisterZMM register, int i) => (i switch { 0 => register.k3, 1 => register.k4, 2 => register.k5, _ => register.k6 }).z;

        AssemblerMemoryOperand Score(int i) => __zmmword_ptr[key + (16 * i * rowBytes)];
    }

    private static void Clear(Assembler code, int vectors)
    {
        for (int i = 0; i < TileRows * vectors; i++)
        {
            code.vpxord(Zmm(i), Zmm(i), Zmm(i));
        }
    }

    /// <summary>Adds the products of a pair of each query with eight pairs that are broadcast.</summary>
    private static void Multiply(Assembler code, int vectors, Func<int, AssemblerMemoryOperand> query, Func<int, AssemblerMemoryOperand> pair)
    {
        for (int vector = 0; vector < vectors; vector++)
        {
            code.vmovdqu32(Shared(vector), query(vector));
        }

        for (int row = 0; row < TileRows; row++)
        {
            // By turns, so that several are under way at once.
            AssemblerRegisterZMM broadcast = Zmm((TileRows * MostVectors) + MostVectors + (row % 5));
            code.vpbroadcastd(broadcast, pair(row));
            for (int vector = 0; vector < vectors; vector++)
            {
                code.vpdpwssd(Sum(vectors, row, vector), Shared(vector), broadcast);
            }
        }
    }

    private static AssemblerRegisterZMM Sum(int vectors, int row, int vector) => Zmm((row * vectors) + vector);

    /// <summary>What all rows of a tile are multiplied with.</summary>
    private static AssemblerRegisterZMM Shared(int vector) => Zmm((TileRows * MostVectors) + vector);

    private static AssemblerRegisterZMM Zmm(int number) => new((Register)((int)Register.ZMM0 + number));
}
