using Antiphon.Kernels;

namespace Antiphon.Cli.Making;

/// <summary>
/// Random weights in a format, fast: a few thousand pieces of 256 Gaussian values are encoded once, and a tensor is made of pieces drawn from them.
/// The same on every machine: only integers and exact float operations are used.
/// </summary>
internal sealed class RandomBlocks
{
    /// <summary>Values of a piece: a whole number of blocks of every format.</summary>
    public const int PieceValues = 256;

    private const int Pieces = 2048;

    private readonly byte[] bank;
    private readonly int pieceBytes;

    /// <summary>Encodes the pieces.</summary>
    /// <param name="format">The format.</param>
    /// <param name="deviation">Standard deviation of the values.</param>
    /// <param name="seed">Seed.</param>
    public RandomBlocks(TensorFormat format, float deviation, ulong seed)
    {
        pieceBytes = (int)format.ByteCount(PieceValues);
        bank = new byte[Pieces * pieceBytes];
        Parallel.For(0, Pieces, piece =>
        {
            var random = new SplitMix(seed, (ulong)piece);
            Span<float> values = stackalloc float[PieceValues];
            foreach (ref float value in values)
            {
                value = deviation * Gaussian(ref random);
            }

            BlockEncoder.Encode(format, values, bank.AsSpan(piece * pieceBytes, pieceBytes));
        });
    }

    /// <summary>
    /// The standard deviation of a matrix's values: the one that keeps the size of what goes through it, or a larger one where the format's scales would otherwise be
    /// subnormal halves, which trained weights seldom have. Behind every such matrix comes a norm or a softmax, so that activations stay finite.
    /// </summary>
    public static float Deviation(TensorFormat format, int columns) => MathF.Max(1 / MathF.Sqrt(columns), format switch
    {
        TensorFormat.Q6_K => 1 / 8f,
        TensorFormat.Q5_K => 1 / 16f,
        _ => 1 / 64f,
    });

    /// <summary>Fills whole blocks with drawn pieces, the last one cut.</summary>
    public void Fill(Span<byte> blocks, SplitMix random)
    {
        while (!blocks.IsEmpty)
        {
            int count = Math.Min(blocks.Length, pieceBytes);
            bank.AsSpan((int)(random.Next() % Pieces) * pieceBytes, count).CopyTo(blocks);
            blocks = blocks[count..];
        }
    }

    /// <summary>Twelve uniform numbers make a Gaussian one of deviation 1, up to ±6.</summary>
    private static float Gaussian(ref SplitMix random)
    {
        long sum = 0;
        for (int i = 0; i < 3; i++)
        {
            ulong bits = random.Next();
            sum += (long)((bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48));
        }

        return ((2 * sum) - (12 * 65535)) / 131072f;
    }
}

/// <summary>A generator of random numbers with a state of 64 bits, from which independent ones are made by number.</summary>
internal struct SplitMix
{
    private ulong state;

    /// <summary>The stream of a number under a seed.</summary>
    public SplitMix(ulong seed, ulong number)
    {
        state = seed;
        state = Next() ^ (number * 0xd1342543de82ef95);
        state = Next();
    }

    /// <summary>64 random bits.</summary>
    public ulong Next()
    {
        state += 0x9e3779b97f4a7c15;
        ulong z = state;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
}
