using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Embeds tokens, with learned positions where the model has them.</summary>
internal unsafe struct EmbedWork : IRowWork
{
    public ModelWeights Weights;
    public ModelSpec Spec;
    public VectorKernels Kernels;
    public StepRows Rows;
    public float* Output;
    public float* Spare;

    public readonly void Row(int row, int worker)
    {
        int width = Spec.Width;
        float* output = Output + ((long)row * width);
        Weights.Embeddings.DecodeRow(Rows.Tokens[row], new Span<float>(output, width));
        if (Spec.EmbeddingScale != 1)
        {
            Kernels.Scale(Spec.EmbeddingScale, output, width);
        }

        if (Spec.LearnedPositions is { } positions)
        {
            float* spare = Spare + ((long)worker * width);
            Weights.Positions!.DecodeRow(Rows.Positions[row] + positions.Offset, new Span<float>(spare, width));
            Kernels.Add(spare, output, width);
        }

        if (Weights.EmbeddingNorm is { } norm)
        {
            Norm.Apply(Kernels, norm, output, output);
        }
    }
}

/// <summary>Norms.</summary>
internal static unsafe class Norm
{
    /// <summary>y = norm(x) over the norm's length; y may be x.</summary>
    public static void Apply(VectorKernels kernels, NormWeights norm, float* x, float* y)
    {
        if (norm.Spec.Kind == NormKind.Rms)
        {
            kernels.RmsNorm(x, norm.Weight, y, norm.Length, norm.Spec.Epsilon);
        }
        else
        {
            kernels.LayerNorm(x, norm.Weight, norm.Bias, y, norm.Length, norm.Spec.Epsilon);
        }
    }
}

/// <summary>Norms rows into the input of a layer part; without a norm, copies them. If there is something to add to them, it is added first.</summary>
internal unsafe struct NormWork : IRowWork
{
    public ResidualWork Sum;
    public NormWeights? Norm;
    public VectorKernels Kernels;
    public float* Input;
    public int Width;
    public Activations Output;

    /// <summary>Which input row each output row takes; null for the same.</summary>
    public int* Select;

    public readonly void Row(int row, int worker)
    {
        if (!Sum.IsNothing)
        {
            Sum.Row(row, worker);
        }

        float* input = Input + ((long)(Select is null ? row : Select[row]) * Width);
        if (Norm is null)
        {
            Buffer.MemoryCopy(input, Output.Row(row), Width * sizeof(float), Width * sizeof(float));
        }
        else
        {
            Models.Norm.Apply(Kernels, Norm, input, Output.Row(row));
        }
    }
}

/// <summary>Norms chosen rows into hidden states, which lie row behind row.</summary>
internal unsafe struct StateWork : IRowWork
{
    public NormWeights Norm;
    public VectorKernels Kernels;
    public float* Input;
    public int* Select;
    public int Width;
    public float* Output;

    public readonly void Row(int row, int worker) =>
        Models.Norm.Apply(Kernels, Norm, Input + ((long)Select[row] * Width), Output + ((long)row * Width));
}

/// <summary>x += scale · norm(part).</summary>
internal unsafe struct ResidualWork : IRowWork
{
    public NormWeights? Norm;
    public VectorKernels Kernels;
    public float* Part;
    public float* Residual;
    public int Width;
    public float Scale;

    /// <summary>Whether there is nothing to add.</summary>
    public readonly bool IsNothing => Part is null;

    public readonly void Row(int row, int worker)
    {
        float* part = Part + ((long)row * Width);
        float* residual = Residual + ((long)row * Width);
        if (Norm is not null)
        {
            Models.Norm.Apply(Kernels, Norm, part, part);
        }

        if (Scale != 1)
        {
            Kernels.Scale(Scale, part, Width);
        }

        Kernels.Add(part, residual, Width);
    }
}

/// <summary>Adds a bias to each row.</summary>
internal unsafe struct BiasWork : IRowWork
{
    public VectorKernels Kernels;
    public float* Bias;
    public float* Rows;
    public int Width;
    public int Stride;

    public readonly void Row(int row, int worker) => Kernels.Add(Bias, Rows + ((long)row * Stride), Width);
}

/// <summary>Adds the head's bias to logits, scales and caps them, and finds their maxima: a piece of a row at a time.</summary>
internal unsafe struct LogitsWork : IParallelWork
{
    // A whole number of blocks of maxima; its values stay in the first-level cache from one operation to the next.
    private const int Piece = 256 * BlockMaxima.Length;

    public VectorKernels Kernels;
    public float* Logits;
    public float* Maxima;
    public int Vocabulary;
    public float* Bias;
    public float Scale;
    public float Cap;

    public readonly int Pieces => (int)(((long)Vocabulary + Piece - 1) / Piece);

    public readonly void Execute(int chunk, int worker)
    {
        int row = chunk / Pieces;
        int first = chunk % Pieces * Piece;
        int count = Math.Min(Piece, Vocabulary - first);
        float* logits = Logits + ((long)row * Vocabulary) + first;
        if (Bias is not null)
        {
            Kernels.Add(Bias + first, logits, count);
        }

        if (Scale != 1)
        {
            Kernels.Scale(Scale, logits, count);
        }

        if (Cap > 0)
        {
            Kernels.SoftCap(Cap, logits, count);
        }

        float* maxima = Maxima + ((long)row * BlockMaxima.Count(Vocabulary)) + (first / BlockMaxima.Length);
        BlockMaxima.Find(new ReadOnlySpan<float>(logits, count), new Span<float>(maxima, BlockMaxima.Count(count)));
    }
}
