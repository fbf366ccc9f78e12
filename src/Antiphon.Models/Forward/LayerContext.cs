using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>What the parts of a layer compute with: the team, the kernels, the rows of the step, and memory that all layers share.</summary>
internal sealed unsafe class LayerContext(ComputeTeam team, StepRows rows, int width) : IDisposable
{
    public ComputeTeam Team { get; } = team;

    public VectorKernels Kernels { get; } = VectorKernels.Default;

    public StepRows Rows { get; } = rows;

    /// <summary>Values of the residual stream.</summary>
    public int Width { get; } = width;

    /// <summary>The normed input of the part at hand.</summary>
    public Activations Input { get; } = new();

    /// <summary>A second input, for the last product of a part.</summary>
    public Activations Inner { get; } = new();

    /// <summary>A third, for parts of a part.</summary>
    public Activations Small { get; } = new();

    public Scratch<float> First { get; } = new();

    public Scratch<float> Second { get; } = new();

    public Scratch<float> Third { get; } = new();

    public Scratch<float> Fourth { get; } = new();

    /// <summary>Memory for each worker.</summary>
    public Scratch<float> PerWorker { get; } = new();

    public Scratch<int> Indices { get; } = new();

    /// <summary>y = W x + b for all rows of x.</summary>
    public void Apply(Linear linear, Activations x, float* y, int stride)
    {
        linear.Weight.Multiply(x, y, stride, Team);
        if (linear.Bias is not null)
        {
            var work = new BiasWork { Kernels = Kernels, Bias = linear.Bias, Rows = y, Width = linear.Weight.Rows, Stride = stride };
            RowWork.Run(Team, ref work, x.Rows, linear.Weight.Rows);
        }
    }

    public void Dispose()
    {
        Input.Dispose();
        Inner.Dispose();
        Small.Dispose();
        First.Dispose();
        Second.Dispose();
        Third.Dispose();
        Fourth.Dispose();
        PerWorker.Dispose();
        Indices.Dispose();
    }
}
