using Antiphon.Kernels.Jit;
using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.Integers;

/// <summary>
/// The products of attention over integers for sixteen or more queries in the lanes of vectors, made for the sizes of a model. An instruction
/// multiplies pairs of 16-bit integers and adds both products: a pair of a key's values, or of two keys' values, is broadcast to all queries.
/// Between the products of keys and those of values, scores become weights.
/// </summary>
internal sealed class IntegerKernels : IDisposable
{
    /// <summary>Most sixteens of queries that share a call.</summary>
    public const int MostVectors = 3;

    /// <summary>Keys, or values of a row, that are taken in one turn.</summary>
    public const int TileRows = 8;

    /// <summary>Pairs between two looks at a loop's counter.</summary>
    public const int Unrolled = 4;

    /// <summary>Floats that the value kernel needs: sums of sixteen queries that wait to be added, and what weights are worth.</summary>
    public const int ScratchFloats = 16 * (16 + MostVectors);

    private readonly IntegerForm form;
    private readonly GeneratedCode[] scores;
    private readonly GeneratedCode[] values;

    /// <summary>Generates the kernels.</summary>
    /// <param name="keySize">Values in a key row.</param>
    /// <param name="valueSize">Values in a value row.</param>
    /// <param name="form">For which instructions.</param>
    /// <exception cref="CodeGenerationException">The system denies executable memory.</exception>
    public IntegerKernels(int keySize, int valueSize, IntegerForm form)
    {
        this.form = form;
        KeySize = keySize;
        ValueSize = valueSize;
        int key = PaddedKey(keySize);
        int value = PaddedValue(valueSize);
        if (form == IntegerForm.Avx512)
        {
            scores = [.. Enumerable.Range(1, MostVectors).Select(vectors => Avx512Integers.GenerateScores(key, vectors))];
            values = [.. Enumerable.Range(1, MostVectors).SelectMany(vectors => (GeneratedCode[])
                [Avx512Integers.GenerateValues(value, vectors, masked: false), Avx512Integers.GenerateValues(value, vectors, masked: true)])];
            return;
        }

        bool fuses = form == IntegerForm.Avx2Fused;
        scores = [Avx2Integers.GenerateScores(key, fuses)];
        values = [Avx2Integers.GenerateValues(value, masked: false, fuses), Avx2Integers.GenerateValues(value, masked: true, fuses)];
    }

    /// <summary>The kernels, for people.</summary>
    public IEnumerable<GeneratedKernel> Generated
    {
        get
        {
            KernelTier tier = form == IntegerForm.Avx512 ? KernelTier.Avx512 : KernelTier.Avx2;
            for (int i = 0; i < scores.Length; i++)
            {
                yield return new("attention scores", TensorFormat.I16, $"{16 * (i + 1)} queries, keys of {KeySize}", tier, scores[i].Length);
                yield return new("attention values", TensorFormat.I16, $"{16 * (i + 1)} queries, values of {ValueSize}", tier, values[2 * i].Length + values[(2 * i) + 1].Length);
            }
        }
    }

    public int KeySize { get; }

    public int ValueSize { get; }

    /// <summary>Values in a row of keys or queries, filled up with zeros to whole turns of the loop.</summary>
    public static int PaddedKey(int size) => (size + (2 * Unrolled) - 1) & -(2 * Unrolled);

    /// <summary>Values in a value row, filled up to whole tiles, two by two.</summary>
    public static int PaddedValue(int size) => (size + (2 * TileRows) - 1) & -(2 * TileRows);

    /// <summary>How many of the queries that are left a call should take.</summary>
    /// <param name="left">Queries left, a multiple of 16.</param>
    public int GroupWidth(int left) => form == IntegerForm.Avx512 ? QueryLanes<Lanes512>.Width(left) : 16;

    /// <summary>Scores of eights of keys, see <see cref="ScoreArguments"/>.</summary>
    public GeneratedCode Scores(int vectors) => scores[vectors - 1];

    /// <summary>Turns scores into weights and adds the weighted values of a block, see <see cref="ValueArguments"/>.</summary>
    /// <param name="vectors">Sixteens of queries.</param>
    /// <param name="masked">Whether scores may be minus infinity: those of keys that a query does not see.</param>
    public GeneratedCode Values(int vectors, bool masked) => values[(2 * (vectors - 1)) + (masked ? 1 : 0)];

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (GeneratedCode code in (ReadOnlySpan<GeneratedCode>)[.. scores, .. values])
        {
            code.Dispose();
        }
    }
}
