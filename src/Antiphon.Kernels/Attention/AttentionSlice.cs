namespace Antiphon.Kernels;

/// <summary>The queries of one sequence in a step. Keys and values of these tokens are in the cache already.</summary>
public unsafe struct AttentionSlice
{
    /// <summary>Queries, [row][head][key size] with <see cref="QueryStride"/> floats between rows.</summary>
    public float* Queries;

    /// <summary>Receives the outputs, [row][head][value size] with <see cref="OutputStride"/> floats between rows.</summary>
    public float* Outputs;

    /// <summary>Floats between the starts of two rows of queries.</summary>
    public int QueryStride;

    /// <summary>Floats between the starts of two rows of outputs.</summary>
    public int OutputStride;

    /// <summary>Number of query rows.</summary>
    public int Rows;

    /// <summary>Cache row of the first query's own token; rows before it are visible to all, and a row's position is its index.</summary>
    public int FirstRow;

    /// <summary>The sequence's blocks; at least as many as hold <see cref="FirstRow"/> + <see cref="Rows"/> rows.</summary>
    public int* Blocks;

    /// <summary>Null: query i sees the slice's rows 0 to i. Else [rows, rows]: whether query i sees row j of the slice.</summary>
    public bool* Visible;

    /// <summary>Positions of the slice's rows, for the window; null: they follow each other.</summary>
    public int* Positions;

    /// <summary>Position of a row of the slice.</summary>
    internal readonly int Position(int row) => Positions is null ? FirstRow + row : Positions[row];
}
