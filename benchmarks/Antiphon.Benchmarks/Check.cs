using Antiphon.Kernels;
using Antiphon.Kernels.MultiScale;
using Antiphon.Models;

namespace Antiphon.Benchmarks;

/// <summary>Holds every element of a product against 64-bit sums over the format's own values.</summary>
internal static class Check
{
    // Tokens with inputs of their own; the others repeat them, and must give the same bits.
    private const int Distinct = 8;

    /// <summary>The input of a token: what it is compared with depends on this alone.</summary>
    public static int Input(int token) => token % Distinct;

    /// <summary>How far results may be from the true sums.</summary>
    /// <param name="precision">How they were computed.</param>
    /// <param name="products">Sum of the absolute values of all products.</param>
    /// <param name="weights">Sum of the absolute values of the weights.</param>
    /// <param name="greatest">The greatest absolute value of the input.</param>
    public static double Bound(MatrixPrecision precision, double products, double weights, double greatest) => precision switch
    {
        // Float32 sums in lanes; rounding of both operands to bfloat16 (2^-9 each) where that is what it means here; an input's step of 2^-15 of its greatest value.
        MatrixPrecision.Exact => products * Math.Pow(2, -18),
        MatrixPrecision.Fast => Math.Max(products * Math.Pow(2, -7.9), weights * greatest * Math.Pow(2, -15)),
        _ => (weights * greatest * Math.Pow(2, -15)) + (products * Math.Pow(2, -18)),
    };

    /// <summary>What is wrong with results; null: nothing.</summary>
    /// <param name="results">[tokens, rows].</param>
    /// <param name="rows">Rows.</param>
    /// <param name="truth">[distinct inputs, rows].</param>
    /// <param name="bounds">As many.</param>
    public static string? Find(ReadOnlySpan<float> results, int rows, double[] truth, double[] bounds)
    {
        for (int i = 0; i < results.Length; i++)
        {
            int token = i / rows;
            int row = i % rows;
            int at = (Input(token) * rows) + row;
            if (!(Math.Abs(results[i] - truth[at]) <= bounds[at]))
            {
                return $"token {token}, row {row}: {results[i]} is not {truth[at]} within {bounds[at]}";
            }

            if (token >= Distinct && BitConverter.SingleToInt32Bits(results[i]) != BitConverter.SingleToInt32Bits(results[(Input(token) * rows) + row]))
            {
                return $"token {token}, row {row}: other bits than token {Input(token)}, which has the same input";
            }
        }

        return null;
    }

    /// <summary>The true products and how far each precision may be from them.</summary>
    public static (double[] Truth, Func<MatrixPrecision, double[]> Bounds) Truth(TensorFormat format, ReadOnlyMemory<byte> weights, int rows, int columns, float[][] inputs)
    {
        var truth = new double[Distinct * rows];
        var products = new double[truth.Length];
        var sums = new double[rows];
        var steps = new double[rows];
        int rowBytes = checked((int)format.ByteCount(columns));
        Parallel.For(0, rows, row =>
        {
            float[] values = new float[columns];
            BlockDecoder.Decode(format, weights.Span.Slice(row * rowBytes, rowBytes), values);
            sums[row] = values.Sum(v => (double)Math.Abs(v));
            steps[row] = MultiScaleKernels.Rounds(format) ? values.Chunk(32).Sum(block => block.Length * block.Max(v => (double)Math.Abs(v))) * Math.Pow(2, -11) : 0;
            for (int input = 0; input < Distinct; input++)
            {
                double sum = 0;
                double absolute = 0;
                for (int c = 0; c < columns; c++)
                {
                    double product = (double)values[c] * inputs[input][c];
                    sum += product;
                    absolute += Math.Abs(product);
                }

                truth[(input * rows) + row] = sum;
                products[(input * rows) + row] = absolute;
            }
        });
        double[] greatest = [.. inputs.Take(Distinct).Select(x => (double)x.Max(Math.Abs))];
        return (truth, precision => [.. truth.Select((_, i) => Bound(precision, products[i], sums[i % rows], greatest[i / rows]) + (precision == MatrixPrecision.Exact ? 0 : steps[i % rows] * greatest[i / rows]))]);
    }

    /// <summary>Wrong results that were planted are found: a last element, one in a hundred, no number, a token that was left out.</summary>
    /// <exception cref="InvalidOperationException">One was not.</exception>
    public static void TestItself()
    {
        const int Rows = 100;
        const int Tokens = 12;
        double[] truth = [.. Enumerable.Range(0, Distinct * Rows).Select(i => (i % 37) - 18.0)];
        double[] bounds = [.. truth.Select(_ => 1e-3)];
        float[] right = [.. Enumerable.Range(0, Tokens * Rows).Select(i => (float)truth[(Input(i / Rows) * Rows) + (i % Rows)])];
        (string Name, Action<float[]> Spoil)[] faults =
        [
            ("the last element", r => r[^1] += 1),
            ("nine elements in a thousand", r => Array.ForEach([.. Enumerable.Range(0, r.Length * 9 / 1000)], i => r[i * 111] *= 1.5f + i)),
            ("no number", r => r[5] = float.NaN),
            ("a token left out", r => r.AsSpan(3 * Rows, Rows).Clear()),
            ("a last bit that depends on the batch", r => r[(9 * Rows) + 1] = MathF.BitIncrement(r[(9 * Rows) + 1])),
        ];
        if (Find(right, Rows, truth, bounds) is { } wrong)
        {
            throw new InvalidOperationException($"right results were refused: {wrong}");
        }

        foreach ((string name, Action<float[]> spoil) in faults)
        {
            float[] results = [.. right];
            spoil(results);
            if (Find(results, Rows, truth, bounds) is null)
            {
                throw new InvalidOperationException($"the check does not find a planted fault: {name}");
            }
        }
    }
}
