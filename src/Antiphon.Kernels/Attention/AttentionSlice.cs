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

    /// <summary>Whether each query sees the rows up to its own, as far as the window goes: nothing else is asked for.</summary>
    internal readonly bool IsPlain => Visible is null && Positions is null;

    /// <summary>Position of a row of the slice.</summary>
    internal readonly int Position(int row) => Positions is null ? FirstRow + row : Positions[row];

    /// <summary>The position from which on a row of the slice sees.</summary>
    internal readonly int FirstPosition(int row, int window) => window == 0 ? 0 : (int)Math.Max(0, (long)Position(row) - window + 1);

    /// <summary>The first cache row that any of some rows of the slice may see.</summary>
    internal readonly int FirstVisible(int row, int rows, int window)
    {
        int least = FirstRow;
        for (int i = row; i < row + rows; i++)
        {
            least = Math.Min(least, FirstPosition(i, window));
        }

        return least;
    }

    /// <summary>Whether a row of the slice sees a cache row.</summary>
    internal readonly bool Sees(int row, int cacheRow, int window)
    {
        int own = cacheRow - FirstRow;
        return own < 0
            ? cacheRow >= FirstPosition(row, window)
            : own < Rows && (Visible is null ? own <= row : Visible[((long)row * Rows) + own]) && Position(own) >= FirstPosition(row, window);
    }
}
