namespace Antiphon.Kernels;

/// <summary>The product of a weight matrix with some activation rows, cut into chunks of weight rows.</summary>
/// <remarks>
/// One or two activation rows: four weight rows at a time are decoded in registers, if their format has blocks.
/// Few: four weight rows at a time are decoded in pieces that stay in the first-level cache, and multiplied at once.
/// Many: a panel of weight rows is decoded into the second-level cache, and every group of activation rows passes over it.
/// </remarks>
internal unsafe struct MatrixProduct<T>
    where T : unmanaged, ILanes<T>
{
    private const int Piece = RowMajorWeights.Piece;
    private const int WeightRows = DotTiles<T>.WeightRows;
    private const int InputRows = DotTiles<T>.InputRows;
    private const int Lanes = 16;

    // For more, decoding once for all is cheaper than decoding in registers.
    private const int FusedRows = 2;

    private readonly RowMajorWeights weights;
    private readonly Activations x;
    private readonly float* y;
    private readonly long stride;
    private readonly ComputeTeam team;
    private readonly int chunkRows;

    public MatrixProduct(in RowMajorWeights weights, Activations x, float* y, int stride, ComputeTeam team)
    {
        this.weights = weights;
        this.x = x;
        this.y = y;
        this.stride = stride;
        this.team = team;

        // A chunk is long enough to stream and to hide the hand-out, and there are several for each worker, so that a slow one can take fewer.
        long wanted = x.Rows > InputRows
            ? Math.Min(32, CpuFeatures.Current.Level2Bytes / 2 / (4L * PanelStride))
            : Math.Max(1, 96 * 1024 / Math.Max(1, weights.RowBytes));
        long fair = weights.Rows / (team.Size == 1 ? 1 : 6L * team.Size);
        chunkRows = (int)Math.Max(WeightRows, Math.Min(wanted, fair)) & -WeightRows;
    }

    public readonly int Chunks => (int)(((long)weights.Rows + chunkRows - 1) / chunkRows);

    // Sixteen more floats than needed keep rows from falling on the same cache sets.
    private readonly long PanelStride => (((long)weights.Columns + 15) & ~15) + Lanes;

    public readonly void Execute(int chunk, int worker)
    {
        int first = chunk * chunkRows;
        int end = Math.Min(first + chunkRows, weights.Rows);
        if (x.Rows > InputRows)
        {
            MultiplyPanel(first, end, worker);
        }
        else if (x.Rows <= FusedRows && weights.Kernels.MultiplyFour is not null)
        {
            int fused = first + ((end - first) & -WeightRows);
            MultiplyFused(first, fused, worker);
            MultiplyPieces(fused, end, worker);
        }
        else
        {
            MultiplyPieces(first, end, worker);
        }
    }

    private readonly void MultiplyFused(int first, int end, int worker)
    {
        float* factors = (float*)team.Scratch(worker, sizeof(float) * (long)weights.Kernels.FactorCount(checked(WeightRows * weights.Columns)));
        for (int row = first; row < end; row += WeightRows)
        {
            for (int input = 0; input < x.Rows; input++)
            {
                weights.Kernels.MultiplyFour(weights.Data + (row * weights.RowBytes), weights.Columns, x.Row(input), factors, y + (input * stride) + row);
            }
        }
    }

    private readonly void MultiplyPieces(int first, int end, int worker)
    {
        const int pieceStride = Piece + Lanes;
        float* piece = (float*)team.Scratch(worker, sizeof(float) * ((WeightRows * pieceStride) + (WeightRows * InputRows * Lanes)));
        float* sums = piece + (WeightRows * pieceStride);
        bool direct = weights.Format == TensorFormat.F32 && weights.Columns % Lanes == 0;
        for (int row = first; row < end; row += WeightRows)
        {
            int rows = Math.Min(WeightRows, end - row);
            new Span<float>(sums, WeightRows * InputRows * Lanes).Clear();
            if (direct && rows == WeightRows)
            {
                DotTiles<T>.Accumulate((float*)(weights.Data + (row * weights.RowBytes)), weights.Columns, x.Row(0), x.Stride, x.Rows, weights.Columns, sums);
            }
            else
            {
                for (int column = 0; column < weights.Columns; column += Piece)
                {
                    int count = Math.Min(Piece, weights.Columns - column);
                    for (int r = 0; r < rows; r++)
                    {
                        weights.Decode(row + r, column, count, piece + (r * pieceStride));
                    }

                    DotTiles<T>.Accumulate(piece, pieceStride, x.Row(0) + column, x.Stride, x.Rows, (count + 15) & ~15, sums);
                }
            }

            Finish(sums, 0, x.Rows, row, rows);
        }
    }

    private readonly void MultiplyPanel(int first, int end, int worker)
    {
        int tiles = (end - first + WeightRows - 1) / WeightRows;
        const int tileSums = WeightRows * InputRows * Lanes;
        float* panel = (float*)team.Scratch(worker, sizeof(float) * ((tiles * WeightRows * PanelStride) + ((long)tiles * tileSums)));
        float* sums = panel + (tiles * WeightRows * PanelStride);
        for (int row = first; row < end; row++)
        {
            weights.Decode(row, 0, weights.Columns, panel + ((row - first) * PanelStride));
        }

        for (int input = 0; input < x.Rows; input += InputRows)
        {
            int inputs = Math.Min(InputRows, x.Rows - input);
            new Span<float>(sums, tiles * tileSums).Clear();
            for (int column = 0; column < weights.Columns; column += Piece)
            {
                int count = (Math.Min(Piece, weights.Columns - column) + 15) & ~15;
                for (int tile = 0; tile < tiles; tile++)
                {
                    DotTiles<T>.Accumulate(
                        panel + (tile * WeightRows * PanelStride) + column, PanelStride, x.Row(input) + column, x.Stride, inputs, count, sums + (tile * tileSums));
                }
            }

            for (int tile = 0; tile < tiles; tile++)
            {
                int row = first + (tile * WeightRows);
                Finish(sums + (tile * tileSums), input, inputs, row, Math.Min(WeightRows, end - row));
            }
        }
    }

    /// <summary>Adds up the lanes and writes the results.</summary>
    private readonly void Finish(float* sums, int input, int inputs, int row, int rows)
    {
        for (int i = 0; i < inputs; i++)
        {
            float* output = y + ((input + i) * stride) + row;
            for (int r = 0; r < rows; r++)
            {
                output[r] = T.Load(sums + (((i * WeightRows) + r) * Lanes)).Sum();
            }
        }
    }
}
