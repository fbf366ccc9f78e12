using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>The product of a weight matrix with some activation rows, cut into chunks of weight rows.</summary>
/// <remarks>
/// One or two activation rows: four weight rows at a time are decoded in registers, if their format has a kernel for that.
/// Plain numbers that stand in a few rows: generated code reads them where they are.
/// A batch: a few weight rows at a time are decoded in pieces that stay in the first-level cache, and every group of tokens passes over them.
/// A prompt: a panel of weight rows is decoded into the second-level cache, and every group of tokens stays in the first while the panel passes by.
/// </remarks>
internal unsafe struct MatrixProduct<T>
    where T : unmanaged, ILanes<T>
{
    private const int Piece = RowMajorWeights.Piece;
    private const int TileRows = DotTiles.Rows;
    private const int Lanes = 16;
    private const int VectorsOfStep = TileRows * Lanes;

    // For more, decoding once for all is cheaper than decoding in registers.
    private const int FusedTokens = 2;

    // For more, the sums of all tokens would not stay in the cache beside the weights.
    private const int BatchTokens = 24;

    // Weight rows that a batch meets at once, and most that a prompt does.
    private const int BatchRows = 2 * TileRows;
    private const int PanelRows = 128;

    private readonly RowMajorWeights weights;
    private readonly Activations x;
    private readonly float* y;
    private readonly long stride;
    private readonly ComputeTeam team;
    private readonly TileKernels? kernels;
    private readonly TileWeights form;
    private readonly int chunkRows;

    public MatrixProduct(in RowMajorWeights weights, Activations x, float* y, int stride, TileKernels? kernels, ComputeTeam team)
    {
        this.weights = weights;
        this.x = x;
        this.y = y;
        this.stride = stride;
        this.kernels = kernels;
        form = kernels is null || x.Rows > BatchTokens || weights.Columns % Lanes != 0 ? TileWeights.Panel : TileKernels.Form(weights.Format);
        this.team = team;

        // A chunk is long enough to stream and to hide the hand-out, and there are several for each worker, so that a slow one can take fewer.
        long wanted = x.Rows > BatchTokens
            ? Math.Min(PanelRows, CpuFeatures.Current.Level2Bytes / 2 / (4L * Math.Max(Lanes, x.Stride)))
            : Math.Max(1, 96 * 1024 / Math.Max(1, weights.RowBytes));
        long fair = weights.Rows / (team.Size == 1 ? 1 : 4L * team.Size);
        chunkRows = (int)Math.Max(2 * TileRows, Math.Min(wanted, fair)) & -(2 * TileRows);
    }

    /// <summary>Whether the input is read in groups of tokens.</summary>
    public readonly bool NeedsGroups => !IsFused || weights.Rows % TileRows != 0;

    public readonly int Chunks => (int)(((long)weights.Rows + chunkRows - 1) / chunkRows);

    // Of a panel and a group of tokens, so many columns fit in the first-level cache.
    private static int PanelSteps => CpuFeatures.Current.Level1Bytes >= 48 * 1024 ? 64 : 32;

    private readonly bool IsFused => form == TileWeights.Panel && x.Rows <= FusedTokens && weights.Kernels.MultiplyFour is not null;

    public readonly void Execute(int chunk, int worker)
    {
        int first = chunk * chunkRows;
        int end = Math.Min(first + chunkRows, weights.Rows);
        if (x.Rows > BatchTokens)
        {
            MultiplyPanel(first, end, worker);
        }
        else if (IsFused || form != TileWeights.Panel)
        {
            int whole = first + ((end - first) & -TileRows);
            if (IsFused)
            {
                MultiplyFused(first, whole, worker);
            }
            else if (whole > first)
            {
                MultiplyStored(first, whole, worker);
            }

            MultiplyBatch(whole, end, worker);
        }
        else
        {
            MultiplyBatch(first, end, worker);
        }
    }

    private readonly void MultiplyFused(int first, int end, int worker)
    {
        float* factors = (float*)team.Scratch(worker, sizeof(float) * (long)weights.Kernels.FactorCount(checked(TileRows * weights.Columns)));
        for (int row = first; row < end; row += TileRows)
        {
            for (int input = 0; input < x.Rows; input++)
            {
                weights.Kernels.MultiplyFour(weights.Data + (row * weights.RowBytes), weights.Columns, x.Row(input), factors, y + (input * stride) + row);
            }
        }
    }

    private readonly void MultiplyStored(int first, int end, int worker)
    {
        // One group of tokens passes over all rows at once; more of them share the rows of two tiles while these are in the cache.
        int atOnce = x.Groups.Count == 1 ? end - first : BatchRows;
        TileArguments arguments = new()
        {
            Sums = (float*)team.Scratch(worker, sizeof(float) * (long)atOnce * DotTiles.MostTokens * Lanes),
            Steps = x.Stride / Lanes,
            TileBytes = TileRows * weights.RowBytes,
            RowBytes = weights.RowBytes,
        };
        for (int row = first; row < end; row += atOnce)
        {
            arguments.Weights = weights.Data + (row * weights.RowBytes);
            for (int group = 0; group < x.Groups.Count; group++)
            {
                Run(group, 0, row, Math.Min(atOnce, end - row), form, null, &arguments);
            }
        }
    }

    private readonly void MultiplyBatch(int first, int end, int worker)
    {
        TokenGroups groups = x.Groups;
        float* sums = (float*)team.Scratch(worker, sizeof(float) * ((BatchRows * Piece) + ((x.Rows + 1L) * BatchRows * Lanes)));
        float* panel = sums + ((long)x.Rows * BatchRows * Lanes);
        TileArguments arguments = new() { Weights = panel, TileBytes = sizeof(float) * TileRows * Piece };
        for (int row = first; row < end; row += BatchRows)
        {
            int rows = Math.Min(BatchRows, end - row);
            for (int column = 0; column < x.Stride; column += Piece)
            {
                int count = Math.Min(Piece, weights.Columns - column);
                for (int r = 0; r < rows; r++)
                {
                    weights.Prefetch(row + r + BatchRows, column, count);
                    weights.Decode(row + r, column, count, panel + TileAt(r, Piece / Lanes), VectorsOfStep);
                }

                arguments.Steps = (count + Lanes - 1) / Lanes;
                arguments.Add = column;
                for (int group = 0; group < groups.Count; group++)
                {
                    arguments.Sums = sums + ((long)groups.Start(group) * BatchRows * Lanes);
                    Run(group, column, row, rows, TileWeights.Panel, panel + (BatchRows * Piece), &arguments);
                }
            }
        }
    }

    private readonly void MultiplyPanel(int first, int end, int worker)
    {
        TokenGroups groups = x.Groups;
        int tiles = (end - first + TileRows - 1) / TileRows;
        int rows = tiles * TileRows;
        int panelSteps = x.Stride / Lanes;
        float* sums = (float*)team.Scratch(worker, sizeof(float) * (rows * ((long)x.Stride + (DotTiles.MostTokens * (Lanes + 1)))));
        float* panel = sums + (rows * DotTiles.MostTokens * Lanes);
        for (int row = first; row < end; row++)
        {
            weights.Decode(row, 0, weights.Columns, panel + TileAt(row - first, panelSteps), VectorsOfStep);
        }

        TileArguments arguments = new() { TileBytes = sizeof(float) * TileRows * (long)x.Stride, Sums = sums };
        for (int group = 0; group < groups.Count; group++)
        {
            for (int step = 0; step < panelSteps; step += PanelSteps)
            {
                arguments.Weights = panel + ((long)step * VectorsOfStep);
                arguments.Steps = Math.Min(PanelSteps, panelSteps - step);
                arguments.Add = step;
                Run(group, step * Lanes, first, end - first, TileWeights.Panel, panel + (rows * (long)x.Stride), &arguments);
            }
        }
    }

    /// <summary>Multiplies some columns of some rows with a group of tokens; with the last column, writes the results.</summary>
    /// <param name="group">The group.</param>
    /// <param name="column">The first column.</param>
    /// <param name="row">The first row.</param>
    /// <param name="rows">How many rows.</param>
    /// <param name="layout">How the weights lie.</param>
    /// <param name="room">Room for the results of whole tiles, where the rows do not end with one.</param>
    /// <param name="arguments">The weights, where to keep sums, and how many steps.</param>
    private readonly void Run(int group, int column, int row, int rows, TileWeights layout, float* room, TileArguments* arguments)
    {
        int start = x.Groups.Start(group);
        int tokens = x.Groups.TokensOf(group);
        arguments->Input = x.Groups.Group(group) + ((long)column * tokens);
        arguments->Tiles = (rows + TileRows - 1) / TileRows;
        bool whole = rows % TileRows == 0;
        arguments->Output = whole ? y + (start * stride) + row : room;
        arguments->OutputStride = sizeof(float) * (whole ? stride : TileRows * arguments->Tiles);
        arguments->Finish = column + (arguments->Steps * Lanes) >= x.Stride ? 1 : 0;
        if (kernels is not null)
        {
            kernels.Run(tokens, layout, arguments);
        }
        else
        {
            DotTiles<T>.Run(tokens, arguments);
        }

        for (int token = 0; !whole && arguments->Finish != 0 && token < tokens; token++)
        {
            float* results = room + (token * TileRows * arguments->Tiles);
            new ReadOnlySpan<float>(results, rows).CopyTo(new Span<float>(y + ((start + token) * stride) + row, rows));
        }
    }

    /// <summary>Where a row begins in a panel of tiles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static long TileAt(int row, int steps) => ((long)(row / TileRows) * steps * VectorsOfStep) + (row % TileRows * Lanes);
}
