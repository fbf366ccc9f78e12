using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>What the parts of a layer compute with: the team, the kernels, the rows of the step, and memory that all layers share.</summary>
internal sealed unsafe class LayerContext(ComputeTeam team, StepRows rows, int width, bool fast) : IDisposable
{
    public ComputeTeam Team { get; } = team;

    public VectorKernels Kernels { get; } = VectorKernels.Default;

    public PagedAttention Attention { get; } = new(null, fast);

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

    /// <summary>y = W x + b for all rows of x, which lie side by side.</summary>
    public void Apply(Linear linear, Activations x, float* y) => Apply(linear, x, y, linear.Weight.Rows);

    /// <summary>y = W x + b for all rows of x.</summary>
    public void Apply(Linear linear, Activations x, float* y, int stride)
    {
        linear.Weight.Multiply(x, y, stride, Team);
        AddBias(linear, x.Rows, y, stride);
    }

    /// <summary>Two linear layers of one input, in one pass of the team.</summary>
    public void Apply(Linear first, Linear second, Activations x, float* y1, float* y2)
    {
        WeightMatrix.MultiplyAll([new(first.Weight, y1, first.Weight.Rows), new(second.Weight, y2, second.Weight.Rows)], x, Team);
        AddBias(first, x.Rows, y1, first.Weight.Rows);
        AddBias(second, x.Rows, y2, second.Weight.Rows);
    }

    /// <summary>Three linear layers of one input, in one pass of the team.</summary>
    public void Apply(Linear first, Linear second, Linear third, Activations x, float* y1, float* y2, float* y3)
    {
        WeightMatrix.MultiplyAll(
            [new(first.Weight, y1, first.Weight.Rows), new(second.Weight, y2, second.Weight.Rows), new(third.Weight, y3, third.Weight.Rows)], x, Team);
        AddBias(first, x.Rows, y1, first.Weight.Rows);
        AddBias(second, x.Rows, y2, second.Weight.Rows);
        AddBias(third, x.Rows, y3, third.Weight.Rows);
    }

    public void Dispose()
    {
        Attention.Dispose();
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

    private void AddBias(Linear linear, int rows, float* y, int stride)
    {
        if (linear.Bias is not null)
        {
            var work = new BiasWork { Kernels = Kernels, Bias = linear.Bias, Rows = y, Width = linear.Weight.Rows, Stride = stride };
            RowWork.Run(Team, ref work, rows, linear.Weight.Rows);
        }
    }
}
