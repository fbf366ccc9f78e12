using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels;

/// <summary>
/// The rows that one or more weight matrices are multiplied with, as float32 and, made on first use, in the forms that kernels want
/// (quantised, split, packed). Matrices that share an input share those forms.
/// </summary>
public sealed unsafe class Activations : IDisposable
{
    private const long LeastRoom = 1 << 18;

    private NativeBuffer<float> buffer = new(0);

    /// <summary>Number of rows (tokens).</summary>
    public int Rows { get; private set; }

    /// <summary>Number of values in a row.</summary>
    public int Columns { get; private set; }

    /// <summary>Distance between the starts of two rows, in floats; at least <see cref="Columns"/>.</summary>
    public int Stride { get; private set; }

    /// <summary>The bfloat16 form that generated kernels read, made on first use.</summary>
    internal PackedInput Packed { get; } = new();

    /// <summary>The integers that kernels of integer products read, made on first use.</summary>
    internal SplitInput Split { get; } = new();

    /// <summary>The groups of tokens that kernels of float32 products read, made on first use.</summary>
    internal TokenGroups Groups { get; } = new();

    /// <summary>The first value of a row.</summary>
    public float* Row(int row) => buffer.Pointer + ((long)row * Stride);

    /// <summary>
    /// Makes room for a new input, whose rows the caller then writes (and nothing behind them), and forgets all forms made of the last one.
    /// Allocates only when the room is not yet large enough.
    /// </summary>
    public void Reset(int rows, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        int stride = checked(columns + 15) & ~15;
        long needed = checked((long)rows * stride);
        if (needed > buffer.Length)
        {
            buffer.Dispose();

            // Experts get another number of rows at every step: ample room, which costs nothing until it is touched, ends the growing early.
            buffer = new NativeBuffer<float>(Math.Max(2 * needed, LeastRoom), hugePages: true);
        }

        Packed.Forget();
        Split.Forget();
        Groups.Forget();
        Rows = rows;
        Columns = columns;
        Stride = stride;

        // Kernels read whole groups of sixteen columns; what lies behind a row must not disturb them.
        for (int row = 0; row < rows; row++)
        {
            new Span<float>(Row(row) + columns, stride - columns).Clear();
        }
    }

    /// <summary>
    /// Has all rows written by a team, and makes the form that a matrix reads of each few rows as soon as they are written, while they are in the cache.
    /// </summary>
    /// <param name="rows">Writes a row.</param>
    /// <param name="reader">The matrix; null: not known.</param>
    /// <param name="team">Who writes.</param>
    /// <returns>Whether that was done; if not, nothing was, because the matrix reads rows as they are, or in groups of which there are few.</returns>
    public bool TryWrite<TRows>(ref TRows rows, WeightMatrix? reader, ComputeTeam team)
        where TRows : struct, IRowWork
    {
        ArgumentNullException.ThrowIfNull(team);
        if (Rows == 0 || reader is null || reader.Columns != Columns || reader.BeginInput(this, team) is not { } form)
        {
            return false;
        }

        int together = IInputForm.RowsTogether(form, this, team);
        WriteWork<TRows> work = new() { X = this, Rows = rows, Form = form, Together = together };
        team.Run(ref work, (Rows + together - 1) / together);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        buffer.Dispose();
        Packed.Dispose();
        Split.Dispose();
        Groups.Dispose();
    }

    private struct WriteWork<TRows> : IParallelWork
        where TRows : struct, IRowWork
    {
        public Activations X;
        public TRows Rows;
        public IInputForm Form;
        public int Together;

        public void Execute(int chunk, int worker)
        {
            int first = chunk * Together;
            int count = Math.Min(Together, X.Rows - first);
            for (int row = first; row < first + count; row++)
            {
                Rows.Row(row, worker);
            }

            Form.Convert(X, first, count, worker);
        }
    }
}
