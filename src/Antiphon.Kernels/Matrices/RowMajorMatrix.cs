namespace Antiphon.Kernels;

/// <summary>A matrix in the layout of its file: one row of blocks after the other.</summary>
internal sealed unsafe class RowMajorMatrix : WeightMatrix
{
    private readonly byte* data;
    private readonly long rowBytes;

    public RowMajorMatrix(TensorFormat format, int rows, int columns, byte* data, long length)
        : base(format, rows, columns)
    {
        rowBytes = format.ByteCount(columns);
        if (checked(rowBytes * rows) > length)
        {
            throw new ArgumentException($"a {format} matrix of {rows} x {columns} needs {rowBytes * rows} bytes, there are {length}", nameof(length));
        }

        this.data = data;
    }

    public override void Multiply(Activations x, float* y, int stride, ComputeTeam team)
    {
        if (x.Columns != Columns)
        {
            throw new ArgumentException($"an input of {x.Columns} columns does not fit a matrix of {Columns}", nameof(x));
        }

        float[] weights = new float[Columns];
        for (int row = 0; row < Rows; row++)
        {
            DecodeRow(row, weights);
            for (int i = 0; i < x.Rows; i++)
            {
                float* input = x.Row(i);
                float sum = 0;
                for (int c = 0; c < Columns; c++)
                {
                    sum += input[c] * weights[c];
                }

                y[((long)i * stride) + row] = sum;
            }
        }
    }

    public override void DecodeRow(int row, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows);
        BlockDecoder.Decode(Format, new ReadOnlySpan<byte>(data + (row * rowBytes), checked((int)rowBytes)), destination[..Columns]);
    }

    public override WeightMatrix Slice(int firstRow, int rowCount)
    {
        if (firstRow < 0 || rowCount < 0 || firstRow > Rows - rowCount)
        {
            throw new ArgumentOutOfRangeException(nameof(firstRow), $"rows [{firstRow}, {firstRow} + {rowCount}) of {Rows}");
        }

        return new RowMajorMatrix(Format, rowCount, Columns, data + (firstRow * rowBytes), rowCount * rowBytes);
    }
}
