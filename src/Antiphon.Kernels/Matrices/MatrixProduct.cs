using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>The product of a weight matrix with some activation rows, cut into chunks of weight rows.</summary>
/// <remarks>
/// Up to 32 activation rows, weights in a form that generated code reads: a few weight rows at a time pass by once, and the first group of tokens
/// decodes them for the others. What comes next is fetched meanwhile. Where decoding is cheap, every group decodes for itself, more rows at a time: then its
/// input alone has to stay in the first-level cache.
/// Other weights, and single tokens of quantised ones: for one or two activation rows, four weight rows at a time are decoded in registers, if their format has a kernel for that; for a batch,
/// in pieces that stay in the first-level cache, and every group of tokens passes over them.
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
    public const int FusedTokens = 2;

    // For more, the sums of all tokens would not stay in the cache beside the weights.
    private const int BatchTokens = TileKernels.MostTogether;

    // Of a batch's input, so much passes by at once: it stays in the first-level cache beside a tile of weights.
    private const int BatchBytes = 32 * 1024;

    // The same of a single group that passes by alone.
    private const int GroupColumns = 1024;

    // Rows whose scales are prepared together before a single group of tokens passes over them.
    private const int StreamBytes = 16 * 1024;

    private readonly RowMajorWeights weights;
    private readonly Activations x;
    private readonly MatrixOutput output;
    private readonly ComputeTeam team;
    private readonly TileKernels? kernels;
    private readonly TilePlan plan;
    private readonly TileWeights form;
    private readonly int tileRows;
    private readonly int chunkRows;

    /// <param name="weights">The weights.</param>
    /// <param name="x">The input.</param>
    /// <param name="output">Where the results go.</param>
    /// <param name="kernels">Generated code; null: none may be.</param>
    /// <param name="plan">How; where it shares rows, all products of the input must.</param>
    /// <param name="team">Who works.</param>
    public MatrixProduct(in RowMajorWeights weights, Activations x, in MatrixOutput output, TileKernels? kernels, in TilePlan plan, ComputeTeam team)
    {
        this.weights = weights;
        this.x = x;
        this.output = output;
        this.kernels = kernels;
        this.plan = plan;

        // One token alone shares nothing; what C# makes of decoding blocks for it is the faster.
        bool isGenerated = kernels is not null && x.Rows <= BatchTokens && weights.Columns % Lanes == 0 && (x.Rows > 1 || weights.Kernels.Prepare is null);
        form = plan.Shares ? TileWeights.BF16Shared : isGenerated ? TileKernels.Form(weights.Format) : TileWeights.Panel;
        tileRows = TileKernel.RowsOf(form);
        this.team = team;

        // A chunk is long enough to stream and to hide the hand-out, and there are several for each worker, so that a slow one can take fewer.
        long wanted = x.Rows > BatchTokens
            ? Math.Min(plan.Rows, CpuFeatures.Current.Level2Bytes * (long)plan.CacheEighths / 8 / (4L * Math.Max(Lanes, x.Stride)))
            : Math.Max(1, 96 * 1024 / Math.Max(1, weights.RowBytes));
        long fair = weights.Rows / (team.Size == 1 ? 1 : 4L * team.Size);
        int unit = plan.Shares ? TileKernels.SharedRows : Math.Max(2 * TileRows, output.RowUnit);
        chunkRows = (int)Math.Max(unit, Math.Min(wanted, fair)) / unit * unit;
    }

    /// <summary>Whether the input is read in groups of tokens.</summary>
    public readonly bool NeedsGroups => !IsFused || weights.Rows % TileRows != 0;

    public readonly int Chunks => (int)(((long)weights.Rows + chunkRows - 1) / chunkRows);

    private readonly int BatchColumns => Math.Max(Piece, BatchBytes / (sizeof(float) * x.Rows) & -Piece);

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
            int whole = end - ((end - first) % tileRows);
            if (IsFused)
            {
                MultiplyFused(first, whole, worker);
            }
            else if (whole > first)
            {
                MultiplyStored(first, whole, worker);
            }

            if (form != TileWeights.BF16Shared)
            {
                MultiplyBatch(whole, end, worker);
            }
            else if (whole < end)
            {
                // Rows in two tiles get the same results twice.
                MultiplyStored(end - tileRows, end, worker);
            }
        }
        else
        {
            MultiplyBatch(first, end, worker);
        }

        output.FindMaxima(first, end, x.Rows);
    }

    private readonly void MultiplyFused(int first, int end, int worker)
    {
        float* factors = (float*)team.Scratch(worker, sizeof(float) * (long)weights.Kernels.FactorCount(checked(TileRows * weights.Columns)));
        for (int row = first; row < end; row += TileRows)
        {
            for (int input = 0; input < x.Rows; input++)
            {
                weights.Kernels.MultiplyFour(weights.Data + (row * weights.RowBytes), weights.Columns, x.Row(input), factors, Result(input, row));
            }
        }
    }

    private readonly void MultiplyStored(int first, int end, int worker)
    {
        RowKernels format = weights.Kernels;
        bool isBatch = x.Groups.Count > 1;
        bool isShared = isBatch && TileDecoder.DecodesCheaply(form, typeof(T) == typeof(Lanes256));
        int together = isShared ? 1 : x.Groups.Count;
        int width = isShared ? GroupColumns : isBatch ? BatchColumns : x.Stride;
        int blockRows = isShared ? (plan.Shares ? plan.Rows : 3 * plan.Rows) : isBatch ? plan.Rows : format.Prepare is null ? end - first : (int)Math.Max(TileRows, StreamBytes / weights.RowBytes & -TileRows);
        blockRows = Math.Min(blockRows, end - first);
        int rowFactors = format.Prepare is null ? 0 : weights.Columns / format.BlockColumns * format.BlockFactors;
        long sums = (long)blockRows * x.Rows * Lanes;
        long panel = together > 1 ? TileRows * width : 0;
        float* scratch = (float*)team.Scratch(worker, sizeof(float) * (sums + panel + format.FactorCount(checked(blockRows * weights.Columns))));
        float* factors = scratch + sums + panel;
        TileArguments arguments = new()
        {
            Sums = scratch,
            Panel = scratch + sums,
            TileBytes = tileRows * weights.RowBytes,
            RowBytes = weights.RowBytes,
            FactorRowBytes = sizeof(float) * rowFactors,
        };
        for (int row = first; row < end; row += blockRows)
        {
            int rows = Math.Min(blockRows, end - row);
            if (format.Prepare is not null)
            {
                format.Prepare(weights.Source(row, 0), rows * (weights.Columns / format.BlockColumns), factors);
            }

            FetchBehind(row, rows, first, end, &arguments);
            for (int group = 0; group < x.Groups.Count; group += together)
            {
                for (int column = 0; column < x.Stride; column += width)
                {
                    arguments.Weights = weights.Source(row, column);
                    arguments.Factors = factors + (rowFactors == 0 ? 0 : column / format.BlockColumns * format.BlockFactors);
                    arguments.Steps = Math.Min(width, x.Stride - column) / Lanes;
                    arguments.Add = column;
                    Run(group, together, column, row, rows, form, null, &arguments);
                    arguments.Ahead = (byte*)arguments.Ahead + (arguments.AheadStep * Fetches(rows, arguments.Steps, together));
                }
            }
        }
    }

    private readonly void MultiplyBatch(int first, int end, int worker)
    {
        int width = BatchColumns;
        long tileSums = (long)x.Rows * VectorsOfStep;
        float* sums = (float*)team.Scratch(worker, sizeof(float) * ((plan.Rows / TileRows * tileSums) + ((width + x.Rows) * TileRows)));
        float* panel = sums + (plan.Rows / TileRows * tileSums);
        float* room = panel + (width * TileRows);
        TileArguments arguments = new() { Weights = panel };
        for (int row = first; row < end; row += plan.Rows)
        {
            int rows = Math.Min(plan.Rows, end - row);
            FetchBehind(row, rows, first, end, &arguments);
            for (int column = 0; column < x.Stride; column += width)
            {
                int count = Math.Min(width, weights.Columns - column);
                arguments.Steps = (count + Lanes - 1) / Lanes;
                arguments.Add = column;
                arguments.Sums = sums;
                for (int r = 0; r < rows; r += TileRows)
                {
                    int some = Math.Min(TileRows, rows - r);
                    for (int one = 0; one < some; one++)
                    {
                        weights.Decode(row + r + one, column, count, panel + (one * Lanes), VectorsOfStep);
                    }

                    Run(0, x.Groups.Count, column, row + r, some, TileWeights.Panel, room, &arguments);
                    arguments.Sums += tileSums;
                    arguments.Ahead = (byte*)arguments.Ahead + (arguments.AheadStep * Fetches(some, arguments.Steps, x.Groups.Count));
                }
            }
        }
    }

    /// <summary>Has the rows behind some rows fetched while these are multiplied.</summary>
    /// <param name="row">The first of these.</param>
    /// <param name="rows">How many.</param>
    /// <param name="first">The chunk's first row.</param>
    /// <param name="end">Behind its last row.</param>
    /// <param name="arguments">Receives where to begin, and how fast to go on.</param>
    private readonly void FetchBehind(int row, int rows, int first, int end, TileArguments* arguments)
    {
        // What comes behind a chunk is probably another worker's.
        bool isBatch = x.Groups.Count > 1;
        int next = row + rows < end ? row + rows : first + (team.Size * chunkRows);
        arguments->Ahead = isBatch ? weights.Data + (next * weights.RowBytes)
            : weights.Data + (row * weights.RowBytes) + Math.Max(rows * weights.RowBytes, 4096);
        arguments->AheadStep = isBatch ? rows * weights.RowBytes / Math.Max(1, Fetches(rows, x.Stride / Lanes, x.Groups.Count)) : 0;
    }

    /// <summary>How often some groups of tokens together fetch something while they pass over some rows and steps.</summary>
    private readonly long Fetches(int rows, long steps, int groups) =>
        (rows + tileRows - 1) / tileRows * groups * TileKernel.FetchesOf(form, steps, typeof(T) == typeof(Lanes256));

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
            for (int step = 0; step < panelSteps; step += plan.Steps)
            {
                arguments.Weights = panel + ((long)step * VectorsOfStep);
                arguments.Steps = Math.Min(plan.Steps, panelSteps - step);
                arguments.Add = step;
                Run(group, 1, step * Lanes, first, end - first, TileWeights.Panel, panel + (rows * (long)x.Stride), &arguments);
            }
        }
    }

    /// <summary>Multiplies some columns of some rows with some tokens; with the last column, writes the results.</summary>
    /// <param name="group">The first group of tokens.</param>
    /// <param name="groups">How many: 1 or all.</param>
    /// <param name="column">The first column.</param>
    /// <param name="row">The first row.</param>
    /// <param name="rows">How many rows.</param>
    /// <param name="layout">How the weights lie.</param>
    /// <param name="room">Room for the results of whole tiles, where the rows do not end with one.</param>
    /// <param name="arguments">The weights, where to keep sums, how many steps, and what to fetch.</param>
    private readonly void Run(int group, int groups, int column, int row, int rows, TileWeights layout, float* room, TileArguments* arguments)
    {
        int start = x.Groups.Start(group);
        int tokens = x.Groups.Start(group + groups) - start;
        arguments->Input = x.Groups.Group(group);
        arguments->InputStride = sizeof(float) * x.Stride;
        arguments->ColumnBytes = sizeof(float) * column;
        int tiles = (rows + tileRows - 1) / tileRows;
        arguments->Tiles = tiles;
        bool whole = rows % tileRows == 0;
        arguments->Output = whole ? Result(start, row) : room;
        arguments->OutputStride = sizeof(float) * (whole ? output.Stride : (long)tileRows * tiles);
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
            float* results = room + (token * tileRows * tiles);
            new ReadOnlySpan<float>(results, rows).CopyTo(new Span<float>(Result(start + token, row), rows));
        }
    }

    private readonly float* Result(int token, int row) => output.Output + ((long)token * output.Stride) + row;

    /// <summary>Where a row begins in a panel of tiles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static long TileAt(int row, int steps) => ((long)(row / TileRows) * steps * VectorsOfStep) + (row % TileRows * Lanes);
}
