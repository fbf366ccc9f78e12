using Antiphon.Kernels.Tuning;

namespace Antiphon.Kernels.Packed;

/// <summary>A matrix that is packed in strips of rows, or a view of some of its rows.</summary>
/// <typeparam name="TMatrix">The matrix itself.</typeparam>
/// <typeparam name="TPlan">How a product is made.</typeparam>
/// <typeparam name="TWork">A product.</typeparam>
/// <param name="format">What the bits meant before they were packed.</param>
/// <param name="rows">Rows of the view.</param>
/// <param name="columns">Columns.</param>
/// <param name="strips">The strips of the whole matrix.</param>
/// <param name="firstRow">The view's first row in it.</param>
internal abstract unsafe class StripMatrix<TMatrix, TPlan, TWork>(TensorFormat format, int rows, int columns, PackedStrips strips, long firstRow) : WeightMatrix(format, rows, columns)
    where TMatrix : StripMatrix<TMatrix, TPlan, TWork>
    where TPlan : struct
    where TWork : struct, IStripWork
{
    private const int StripRows = PackedFormat.StripRows;

    /// <summary>The strips of the whole matrix.</summary>
    protected PackedStrips Strips => strips;

    /// <summary>The view's first row in the whole matrix.</summary>
    protected long FirstRow => firstRow;

    /// <summary>The strip that holds the view's first row.</summary>
    protected long FirstStrip => firstRow / StripRows;

    /// <summary>Strips that hold the view's rows.</summary>
    protected int StripCount => (int)(((firstRow + Rows + StripRows - 1) / StripRows) - FirstStrip);

    /// <summary>Rows of the first strip that are before the view's.</summary>
    protected int Skip => (int)(firstRow % StripRows);

    /// <summary>Multiplies the first few matrices in one pass of the team, if they are of this kind.</summary>
    /// <returns>How many were multiplied; 0: none.</returns>
    public static int MultiplyTogether(ReadOnlySpan<MatrixOutput> products, Activations x, ComputeTeam team)
    {
        if (products[0].Matrix is not TMatrix first)
        {
            return 0;
        }

        int count = 0;
        while (count < Math.Min(products.Length, MostTogether) && products[count].Matrix is TMatrix matrix && first.Shares(matrix))
        {
            // Before anybody looks at the clock.
            _ = matrix.Strips.Packed;
            count++;
        }

        TimedCall call = default;
        TPlan plan = x.Rows == 0 ? default : first.Plan(x.Rows, count, out call);
        StripProducts<TWork> works = default;
        foreach (MatrixOutput product in products[..count])
        {
            ((TMatrix)product.Matrix).Add(ref works, plan, x, product, team);
        }

        works.Cut(team.Size);
        team.Run(ref works, works.Chunks);
        call.End();
        for (int i = 0; i < count; i++)
        {
            GC.KeepAlive(products[i].Matrix);
        }

        return count;
    }

    /// <inheritdoc/>
    public sealed override void Multiply(Activations x, float* y, int stride, ComputeTeam team) => MultiplyTogether([new MatrixOutput(this, y, stride)], x, team);

    /// <inheritdoc/>
    public sealed override WeightMatrix Slice(int firstRow, int rowCount)
    {
        if (firstRow < 0 || rowCount < 0 || firstRow > Rows - rowCount)
        {
            throw new ArgumentOutOfRangeException(nameof(firstRow), $"rows [{firstRow}, {firstRow} + {rowCount}) of {Rows}");
        }

        return View(FirstRow + firstRow, rowCount);
    }

    /// <summary>A view of some rows of the whole matrix.</summary>
    protected abstract TMatrix View(long firstRow, int rows);

    /// <summary>Whether another matrix can be multiplied in the same pass.</summary>
    protected abstract bool Shares(TMatrix other);

    /// <summary>How to multiply some tokens, at least one, with so many matrices.</summary>
    protected abstract TPlan Plan(int tokens, int together, out TimedCall call);

    /// <summary>The product, for which the input is brought into its form; there are tokens, and rows.</summary>
    protected abstract TWork Work(TPlan plan, Activations x, in MatrixOutput output, ComputeTeam team);

    private void Add(ref StripProducts<TWork> works, TPlan plan, Activations x, in MatrixOutput output, ComputeTeam team)
    {
        if (x.Columns != Columns)
        {
            throw new ArgumentException($"an input of {x.Columns} columns does not fit a matrix of {Columns}", nameof(x));
        }

        output.Check(firstRow);
        if (x.Rows > 0 && Rows > 0)
        {
            works.Add(Work(plan, x, output, team));
        }
    }
}
