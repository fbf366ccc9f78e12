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
}
