namespace Antiphon.Kernels.Tests.Matrices;

/// <summary>Random blocks of any format whose values are ordinary numbers.</summary>
internal static class RandomWeights
{
    public static TheoryData<TensorFormat> Formats => [.. Enum.GetValues<TensorFormat>().Where(IsDecoded)];

    public static bool IsDecoded(TensorFormat format)
    {
        try
        {
            BlockDecoder.Decode(format, new byte[format.BlockBytes()], new float[format.BlockElements()]);
            return true;
        }
        catch (NotSupportedException)
        {
            return false;
        }
    }

    public static byte[] Create(TensorFormat format, int rows, int columns, Random random)
    {
        byte[] bytes = new byte[rows * format.ByteCount(columns)];
        int blockBytes = format.BlockBytes();
        float[] values = new float[format.BlockElements()];
        for (int start = 0; start < bytes.Length; start += blockBytes)
        {
            Span<byte> block = bytes.AsSpan(start, blockBytes);
            do
            {
                random.NextBytes(block);
                BlockDecoder.Decode(format, block, values);
            }
            while (!values.All(value => MathF.Abs(value) < 1e30f) && !Tame(block));
        }

        return bytes;

        // Formats of wide numbers are almost never small by chance.
        bool Tame(Span<byte> block)
        {
            if (format is TensorFormat.F64)
            {
                BitConverter.TryWriteBytes(block, (random.NextDouble() * 2) - 1);
                return true;
            }

            return false;
        }
    }

    public static float[] Decode(TensorFormat format, byte[] bytes, int columns, int row)
    {
        int rowBytes = (int)format.ByteCount(columns);
        float[] values = new float[columns];
        BlockDecoder.Decode(format, bytes.AsSpan(row * rowBytes, rowBytes), values);
        return values;
    }

    public static void Fill(Activations x, int rows, int columns, Random random)
    {
        x.Reset(rows, columns);
        for (int i = 0; i < rows; i++)
        {
            for (int c = 0; c < columns; c++)
            {
                unsafe
                {
                    x.Row(i)[c] = (random.NextSingle() * 2) - 1;
                }
            }
        }
    }
}
