using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tuning;

namespace Antiphon.Kernels;

/// <summary>
/// A weight matrix [rows, columns] (output features, input features): a format, which says what the bits mean, and a layout, which is what
/// this machine's kernel wants. <see cref="Multiply"/> is all that a layer knows.
/// </summary>
/// <remarks>The value of an output depends on its weight row and its activation row alone, never on how many rows are multiplied together.</remarks>
public abstract unsafe class WeightMatrix
{
    /// <summary>Most matrices in one pass: as many as a layer has with one input.</summary>
    internal const int MostTogether = 4;

    private protected WeightMatrix(TensorFormat format, int rows, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        Format = format;
        Rows = rows;
        Columns = columns;
    }

    /// <summary>What the bits mean.</summary>
    public TensorFormat Format { get; }

    /// <summary>Number of output features.</summary>
    public int Rows { get; }

    /// <summary>Number of input features.</summary>
    public int Columns { get; }

    /// <summary>Bytes that one pass over the matrix reads.</summary>
    public long ByteCount => checked(Rows * Format.ByteCount(Columns));

    /// <summary>A matrix over rows in file layout. The memory must outlive the matrix and is not copied.</summary>
    /// <param name="format">A format with a decoder.</param>
    /// <param name="rows">Number of output features.</param>
    /// <param name="columns">Number of input features; a whole number of blocks.</param>
    /// <param name="data">The first block; no alignment is needed.</param>
    /// <param name="length">Bytes from <paramref name="data"/> on that may be read.</param>
    /// <param name="tier">The instruction set to compute with; null: <see cref="CpuFeatures.DefaultTier"/>. All give the same bits.</param>
    /// <param name="tuning">Chooses among kernels with the same bits; null: those that are usually fastest.</param>
    /// <exception cref="ArgumentException">The sizes do not fit the format or the memory, or the machine does not have the tier.</exception>
    public static WeightMatrix Create(TensorFormat format, int rows, int columns, byte* data, long length, KernelTier? tier = null, KernelTuning? tuning = null) =>
        new RowMajorMatrix(format, rows, columns, data, length, CpuFeatures.Resolve(tier), tuning);

    /// <summary>The generated kernels that matrices made by <see cref="Create"/> use, all of them generated now; none where none may be generated.</summary>
    /// <param name="tier">The instruction set; null: <see cref="CpuFeatures.DefaultTier"/>.</param>
    /// <exception cref="ArgumentException">The machine does not have the tier.</exception>
    public static IReadOnlyList<GeneratedKernel> Generated(KernelTier? tier = null) => [.. TileKernels.List(CpuFeatures.Resolve(tier))];

    /// <summary>
    /// Multiplies several matrices with the same input: the same results as one <see cref="Multiply"/> each, in one pass of the team where the
    /// matrices allow it. For query, key and value, and for gate and up.
    /// </summary>
    public static void MultiplyAll(ReadOnlySpan<MatrixOutput> products, Activations x, ComputeTeam team)
    {
        while (products.Length > 0)
        {
            int done = PackedMatrix.MultiplyTogether(products, x, team);
            if (done == 0)
            {
                done = CodeMatrix.MultiplyTogether(products, x, team);
            }

            if (done == 0)
            {
                done = RowMajorMatrix.MultiplyTogether(products, x, team);
            }

            products = products[done..];
        }
    }

    /// <summary>y[i, r] = sum over c of x[i, c] * w[r, c], for every row i of the activations.</summary>
    /// <param name="x">The input; its columns equal <see cref="Columns"/>.</param>
    /// <param name="y">Receives <c>x.Rows</c> rows of <see cref="Rows"/> values.</param>
    /// <param name="stride">Distance between the starts of two output rows, in floats.</param>
    /// <param name="team">Who computes.</param>
    public abstract void Multiply(Activations x, float* y, int stride, ComputeTeam team);

    /// <summary>Makes room for the form of its input that this matrix reads, of which all rows are then converted; null: it has none, or it is best made afterwards.</summary>
    /// <param name="x">The input, whose rows need not be written yet.</param>
    /// <param name="team">Who multiplies.</param>
    internal virtual IInputForm? BeginInput(Activations x, ComputeTeam team) => null;

    /// <summary>Decodes one row, as an embedding look-up does.</summary>
    public abstract void DecodeRow(int row, Span<float> destination);

    /// <summary>A view of some rows, for weights that files store fused.</summary>
    public abstract WeightMatrix Slice(int firstRow, int rowCount);
}
