using Antiphon.Kernels;

namespace Antiphon.Benchmarks;

/// <summary>Weights of ordinary magnitudes: subnormal products and infinities would measure something else.</summary>
internal static class RandomWeights
{
    /// <summary>A matrix of random blocks.</summary>
    public static byte[] Of(TensorFormat format, int rows, int columns)
    {
        float[] row = new float[columns];
        byte[] weights = new byte[checked((int)format.ByteCount(columns) * rows)];
        var random = new Random((int)format);
        int rowBytes = (int)format.ByteCount(columns);

        // Some rows, encoded as a converter would, over and over: the time of a product does not depend on the numbers.
        const int Encoded = 64;
        for (int r = 0; r < rows; r++)
        {
            Span<byte> to = weights.AsSpan(r * rowBytes, rowBytes);
            if (r >= Encoded)
            {
                weights.AsSpan(r % Encoded * rowBytes, rowBytes).CopyTo(to);
                continue;
            }

            for (int c = 0; c < columns; c++)
            {
                row[c] = (float)(random.NextDouble() - 0.5) * 0.1f;
            }

            BlockEncoder.Encode(format, row, to);
        }

        return weights;
    }
}
