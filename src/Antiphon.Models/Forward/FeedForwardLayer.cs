using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Runs dense feed-forward parts, which experts are too.</summary>
internal static unsafe class FeedForwardLayer
{
    /// <summary>output = down(act(gate x) · up x), [rows, width].</summary>
    /// <param name="context">What to compute with.</param>
    /// <param name="input">The rows.</param>
    /// <param name="weights">The weights.</param>
    /// <param name="activation">The activation.</param>
    /// <param name="alpha">gpt-oss's alpha; only with a limit.</param>
    /// <param name="limit">gpt-oss's limit, or 0 for the plain gate.</param>
    /// <param name="output">Receives the result.</param>
    public static void Run(LayerContext context, Activations input, DenseWeights weights, Activation activation, float alpha, float limit, float* output)
    {
        int rows = input.Rows;
        int inner = weights.Up.Weight.Rows;
        float* up = context.First.Take((long)rows * inner);
        float* gate = weights.Gate is null ? null : context.Second.Take((long)rows * inner);
        if (weights.Gate is null)
        {
            context.Apply(weights.Up, input, up);
        }
        else
        {
            context.Apply(weights.Gate, weights.Up, input, gate, up);
        }

        context.Inner.Reset(rows, inner);
        var work = new ActivateWork
        {
            Kernels = context.Kernels, Activation = activation, Alpha = alpha, Limit = limit, Gate = gate, Up = up, Width = inner, Output = context.Inner,
        };
        RowWork.Run(context.Team, ref work, context.Inner, weights.Down.Weight, 4L * inner);
        context.Apply(weights.Down, context.Inner, output);
    }

    private struct ActivateWork : IRowWork
    {
        public VectorKernels Kernels;
        public Activation Activation;
        public float Alpha;
        public float Limit;
        public float* Gate;
        public float* Up;
        public int Width;
        public Activations Output;

        public readonly void Row(int row, int worker)
        {
            float* up = Up + ((long)row * Width);
            float* output = Output.Row(row);
            if (Gate is null)
            {
                Buffer.MemoryCopy(up, output, Width * sizeof(float), Width * sizeof(float));
                Kernels.Activate(Activation, output, Width);
            }
            else if (Limit > 0)
            {
                Kernels.ClampedSwiglu(Alpha, Limit, Gate + ((long)row * Width), up, output, Width);
            }
            else
            {
                Kernels.Gate(Activation, Gate + ((long)row * Width), up, output, Width);
            }
        }
    }
}
