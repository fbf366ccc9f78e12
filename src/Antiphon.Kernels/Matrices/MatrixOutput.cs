namespace Antiphon.Kernels;

/// <summary>One of several products with the same input.</summary>
/// <param name="matrix">The matrix.</param>
/// <param name="output">Receives a row of <c>matrix.Rows</c> values for every row of the input.</param>
/// <param name="stride">Distance between the starts of two output rows, in floats.</param>
public readonly unsafe struct MatrixOutput(WeightMatrix matrix, float* output, int stride)
{
    /// <summary>The matrix.</summary>
    public WeightMatrix Matrix { get; } = matrix;

    /// <summary>The first output row.</summary>
    public float* Output { get; } = output;

    /// <summary>Distance between the starts of two output rows, in floats.</summary>
    public int Stride { get; } = stride;

    /// <summary>
    /// Receives, for every row of the input, the <see cref="BlockMaxima"/> of the output row, found while the values are in the cache of who wrote them;
    /// null: they are not wanted. The rows of maxima lie one behind the other.
    /// </summary>
    /// <remarks>Not for a slice of a packed matrix that begins within a strip of 16 rows.</remarks>
    public float* Maxima { get; init; }

    /// <summary>How many rows of the matrix one worker takes at least, and of how many it takes a multiple.</summary>
    internal int RowUnit => Maxima is null ? 1 : BlockMaxima.Length;

    /// <summary>Refuses what no product can be written to.</summary>
    /// <param name="firstRow">The matrix's first row in the packed weights that it is a view of.</param>
    internal void Check(long firstRow)
    {
        if (Stride < Matrix.Rows)
        {
            throw new ArgumentException($"output rows of {Matrix.Rows} values cannot begin every {Stride}");
        }

        if (Maxima is not null && firstRow % BlockMaxima.Length != 0)
        {
            throw new ArgumentException($"a view from row {firstRow} on leaves no maxima: it begins within a strip of {BlockMaxima.Length} rows");
        }
    }

    /// <summary>Finds the maxima of outputs that have just been written, if they are wanted.</summary>
    /// <param name="first">The first of the matrix's rows; the first of a block.</param>
    /// <param name="end">Behind the last of them.</param>
    /// <param name="inputs">Rows of the input.</param>
    internal void FindMaxima(int first, int end, int inputs)
    {
        if (Maxima is null)
        {
            return;
        }

        int blocks = BlockMaxima.Count(Matrix.Rows);
        for (int input = 0; input < inputs; input++)
        {
            BlockMaxima.Find(
                new ReadOnlySpan<float>(Output + ((long)input * Stride) + first, end - first),
                new Span<float>(Maxima + ((long)input * blocks) + (first / BlockMaxima.Length), BlockMaxima.Count(end - first)));
        }
    }
}
