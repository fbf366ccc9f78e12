using Antiphon.Kernels.Tuning;

namespace Antiphon.Kernels;

/// <summary>A matrix in the layout of its file: one row of blocks after the other, decoded to float32 on the way to each product.</summary>
/// <remarks>
/// An output is the sum over sixteen lanes (lane = column mod 16) of fused products with rising columns, and a fixed tree over the lanes, of exactly
/// <see cref="BlockDecoder"/>'s values: the same bits on every tier, for any number of activation rows and any number of workers.
/// </remarks>
internal sealed unsafe class RowMajorMatrix : WeightMatrix
{
    private readonly RowMajorWeights weights;
    private readonly KernelTier tier;
    private readonly KernelTuning? tuning;
    private readonly MatrixTuning? choices;

    public RowMajorMatrix(TensorFormat format, int rows, int columns, byte* data, long length, KernelTier tier, KernelTuning? tuning)
        : base(format, rows, columns)
    {
        long rowBytes = format.ByteCount(columns);
        if (checked(rowBytes * rows) > length)
        {
            throw new ArgumentException($"a {format} matrix of {rows} x {columns} needs {rowBytes * rows} bytes, there are {length}", nameof(length));
        }

        this.tier = tier;
        this.tuning = tuning;
        choices = tuning?.Matrix($"float32 {format} {rows} x {columns}", TilePlan.Classes);
        weights = new RowMajorWeights
        {
            Format = format,
            Rows = rows,
            Columns = columns,
            Data = data,
            RowBytes = rowBytes,
            PieceBytes = (int)format.ByteCount(RowMajorWeights.Piece),
            Kernels = RowKernels.For(format, tier),
        };
    }

    /// <summary>Multiplies the first few matrices in one pass, if they are of this kind and tier.</summary>
    /// <returns>How many were multiplied; 0: none.</returns>
    public static int MultiplyTogether(ReadOnlySpan<MatrixOutput> products, Activations x, ComputeTeam team)
    {
        if (products[0].Matrix is not RowMajorMatrix first)
        {
            return 0;
        }

        int count = 1;
        while (count < Math.Min(products.Length, MostTogether) && products[count].Matrix is RowMajorMatrix next && next.tier == first.tier)
        {
            count++;
        }

        first.Multiply(products[..count], x, team);
        return count;
    }

    public override void Multiply(Activations x, float* y, int stride, ComputeTeam team) => Multiply([new MatrixOutput(this, y, stride)], x, team);

    public override void DecodeRow(int row, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows);
        BlockDecoder.Decode(Format, new ReadOnlySpan<byte>(weights.Data + (row * weights.RowBytes), checked((int)weights.RowBytes)), destination[..Columns]);
    }

    public override WeightMatrix Slice(int firstRow, int rowCount)
    {
        if (firstRow < 0 || rowCount < 0 || firstRow > Rows - rowCount)
        {
            throw new ArgumentOutOfRangeException(nameof(firstRow), $"rows [{firstRow}, {firstRow} + {rowCount}) of {Rows}");
        }

        return new RowMajorMatrix(Format, rowCount, Columns, weights.Data + (firstRow * weights.RowBytes), rowCount * weights.RowBytes, tier, tuning);
    }

    /// <remarks>Whatever matrices are multiplied together, most inputs are read in the groups that the first matrix wants; where not, they are grouped once more.</remarks>
    internal override IInputForm? BeginInput(Activations x, ComputeTeam team)
    {
        if (x.Rows <= MatrixProduct<LanesPortable>.FusedTokens)
        {
            return null;
        }

        TileKernels? kernels = TileKernels.For(tier);
        x.Groups.Begin(x, GroupTokens(kernels, kernels?.Shares(weights, x.Rows) == true));
        return x.Groups;
    }

    private static int GroupTokens(TileKernels? kernels, bool shared) => kernels is null ? DotTiles.MostTokens : shared ? kernels.MostSharing : kernels.MostTokens;

    private void Multiply(ReadOnlySpan<MatrixOutput> products, Activations x, ComputeTeam team)
    {
        switch (tier)
        {
            case KernelTier.Portable:
                Multiply<LanesPortable>(products, x, team);
                break;
            case KernelTier.Avx2:
                Multiply<Lanes256>(products, x, team);
                break;
            default:
                Multiply<Lanes512>(products, x, team);
                break;
        }
    }

    private void Multiply<T>(ReadOnlySpan<MatrixOutput> products, Activations x, ComputeTeam team)
        where T : unmanaged, ILanes<T>
    {
        TileKernels? kernels = TileKernels.For(tier);

        // The groups of an input are one size for all its products.
        bool shares = kernels is not null;
        foreach (MatrixOutput product in products)
        {
            if (x.Columns != product.Matrix.Columns)
            {
                throw new ArgumentException($"an input of {x.Columns} columns does not fit a matrix of {product.Matrix.Columns}", nameof(x));
            }

            shares = shares && kernels!.Shares(((RowMajorMatrix)product.Matrix).weights, x.Rows);
        }

        if (x.Rows == 0)
        {
            return;
        }

        TilePlan plan = Plan(shares, x.Rows, products.Length, out TimedCall call);
        MatrixProducts<T> work = default;
        bool grouped = false;
        foreach (MatrixOutput product in products)
        {
            MatrixProduct<T> item = new(((RowMajorMatrix)product.Matrix).weights, x, product, kernels, plan, team);
            work.Add(item);
            grouped |= item.NeedsGroups;
        }

        if (grouped)
        {
            x.Groups.Prepare(x, GroupTokens(kernels, plan.Shares), team);
        }

        team.Run(ref work, work.Chunks);
        call.End();
    }

    private TilePlan Plan(bool shares, int tokens, int together, out TimedCall call)
    {
        call = default;
        TilePlan[] plans = TilePlan.For(shares, tokens);

        // One or two tokens have one way.
        return choices is null || tokens <= MatrixProduct<LanesPortable>.FusedTokens ? plans[0]
            : choices.Take(plans, TilePlan.Class(shares, tokens), TilePlan.ClassName, together, out call);
    }
}
