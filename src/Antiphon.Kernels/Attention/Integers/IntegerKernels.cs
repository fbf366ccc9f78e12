using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Integers;

/// <summary>
/// The products of attention over integers for 16, 32 or 48 queries in the lanes of one to three vectors, made for the sizes of a model. An instruction
/// multiplies pairs of 16-bit integers and adds both products: a pair of a key's values, or of two keys' values, is broadcast to all queries. Twenty-four
/// sums stay in registers; for twenty-four products there are eleven loads.
/// </summary>
internal sealed class IntegerKernels : IDisposable
{
    /// <summary>Most vectors of queries.</summary>
    public const int MostVectors = 3;

    /// <summary>Keys, or values of a row, whose sums are in registers at once.</summary>
    public const int TileRows = 8;

    // Pairs between two looks at the loop's counter.
    private const int Unrolled = 4;
    private const int LineBytes = 64;

    private readonly GeneratedCode[] scores = new GeneratedCode[MostVectors];
    private readonly GeneratedCode[] values = new GeneratedCode[MostVectors];

    /// <summary>Generates the kernels.</summary>
    /// <param name="keySize">Values in a key row.</param>
    /// <param name="valueSize">Values in a value row.</param>
    /// <exception cref="CodeGenerationException">The system denies executable memory.</exception>
    public IntegerKernels(int keySize, int valueSize)
    {
        KeySize = keySize;
        ValueSize = valueSize;
        for (int i = 0; i < MostVectors; i++)
        {
            scores[i] = GenerateScores(PaddedKey(keySize), i + 1);
            values[i] = GenerateValues(PaddedValue(valueSize), i + 1);
        }
    }

    public int KeySize { get; }

    public int ValueSize { get; }

    /// <summary>Values in a row of keys or queries, filled up with zeros to whole turns of the loop.</summary>
    public static int PaddedKey(int size) => (size + (2 * Unrolled) - 1) & -(2 * Unrolled);

    /// <summary>Values in a value row, filled up to whole tiles, two by two.</summary>
    public static int PaddedValue(int size) => (size + (2 * TileRows) - 1) & -(2 * TileRows);

    /// <summary>Scores of eights of keys, see <see cref="ScoreArguments"/>.</summary>
    public GeneratedCode Scores(int vectors) => scores[vectors - 1];

    /// <summary>Adds the weighted values of a block, see <see cref="ValueArguments"/>.</summary>
    public GeneratedCode Values(int vectors) => values[vectors - 1];

    /// <inheritdoc/>
    public void Dispose()
    {
        for (int i = 0; i < MostVectors; i++)
        {
            scores[i].Dispose();
            values[i].Dispose();
        }
    }

    private static GeneratedCode GenerateScores(int keySize, int vectors)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        int rowBytes = keySize * sizeof(short);
        AssemblerRegister64 queries = kernel.Take();
        AssemblerRegister64 keys = kernel.TakeArgument(ScoreArguments.KeysField);
        AssemblerRegister64 keyScales = kernel.TakeArgument(ScoreArguments.KeyScalesField);
        AssemblerRegister64 scores = kernel.TakeArgument(ScoreArguments.ScoresField);
        AssemblerRegister64 greatest = kernel.TakeArgument(ScoreArguments.GreatestField);
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
            code.prefetcht0(__byte_ptr[keys + (TileRows * rowBytes) + (line * LineBytes)]);
        }

        code.add(queries, 64 * Unrolled * vectors);
        code.add(keys, sizeof(int) * Unrolled);
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

        code.add(keys, (TileRows - 1) * rowBytes);
        code.add(keyScales, TileRows * sizeof(float));
        code.add(scores, 64 * TileRows * vectors);
        code.dec(kernel.Argument(ScoreArguments.CountField));
        code.jnz(nextKeys);
        return kernel.Finish();
    }

    private static GeneratedCode GenerateValues(int valueSize, int vectors)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        const int pairBytes = TileRows * sizeof(int);
        const int tileBytes = IntegerArithmetic.BlockKeys / 2 * pairBytes;
        AssemblerRegister64 weights = kernel.Take();
        AssemblerRegister64 values = kernel.Take();
        AssemblerRegister64 tile = kernel.TakeArgument(ValueArguments.ValuesField);
        AssemblerRegister64 units = kernel.TakeArgument(ValueArguments.UnitsField);
        AssemblerRegister64 outputs = kernel.TakeArgument(ValueArguments.OutputsField);
        AssemblerRegister64 outer = kernel.Take();
        AssemblerRegister64 inner = kernel.Take();
        Label nextTile = code.CreateLabel();
        Label nextPairs = code.CreateLabel();
        code.mov(outer, valueSize / TileRows);
        code.Label(ref nextTile);
        Clear(code, vectors);
        code.mov(weights, kernel.Argument(ValueArguments.WeightsField));
        code.mov(values, tile);
        code.mov(inner, kernel.Argument(ValueArguments.CountField));
        code.Label(ref nextPairs);
        for (int pair = 0; pair < Unrolled; pair++)
        {
            Multiply(
                code, vectors, vector => __zmmword_ptr[weights + (64 * ((pair * vectors) + vector))],
                d => __dword_ptr[values + ((pair * pairBytes) + (sizeof(int) * d))]);
        }

        // The next eight values.
        for (int line = 0; line < Unrolled * pairBytes; line += LineBytes)
        {
            code.prefetcht0(__byte_ptr[values + (tileBytes + line)]);
        }

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
