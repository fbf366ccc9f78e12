using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>
/// Runs a mixture of experts: rows are gathered for each expert, and what the experts give is added for each row in the order in which its router
/// ranked them, so that a row's result does not depend on its neighbours.
/// </summary>
internal sealed unsafe class MixtureLayer(int width) : IDisposable
{
    private readonly Scratch<float> scores = new();
    private readonly Scratch<float> weights = new();
    private readonly Scratch<float> parts = new();
    private readonly Scratch<float> expertOutput = new();
    private readonly Scratch<float> sharedGates = new();
    private readonly Scratch<int> chosen = new();
    private readonly Scratch<int> order = new();
    private readonly Activations gathered = new();

    /// <summary>output = mixture(<see cref="LayerContext.Input"/>), [rows, width].</summary>
    public void Run(LayerContext context, MixtureSpec spec, MixtureWeights mixture, float* output)
    {
        int rows = context.Input.Rows;
        int pairs = rows * spec.Used;
        float* own = scores.Take(2L * rows * spec.Experts);
        float* weight = weights.Take(pairs);
        int* experts = chosen.Take(pairs);
        context.Apply(mixture.Router, context.Input, own);
        var choose = new ChooseWork
        {
            Kernels = context.Kernels, Spec = spec, Bias = mixture.SelectionBias, Scores = own, Selection = own + ((long)rows * spec.Experts), Chosen = experts, Weights = weight,
        };
        RowWork.Run(context.Team, ref choose, rows, 8L * spec.Experts);

        int* first = order.Take(spec.Experts + 1L + pairs);
        int* slots = first + spec.Experts + 1;
        Sort(experts, pairs, spec.Experts, first, slots);
        float* part = parts.Take((long)pairs * width);
        for (int e = 0; e < spec.Experts; e++)
        {
            int count = first[e + 1] - first[e];
            if (count > 0)
            {
                RunExpert(context, spec, mixture.Experts[e], slots + first[e], count, part);
            }
        }

        if (mixture.Shared is not null)
        {
            FeedForwardLayer.Run(context, context.Input, mixture.Shared, spec.Activation, spec.GateAlpha, spec.GateLimit, output);
        }

        float* gate = null;
        if (mixture.SharedGate is not null)
        {
            gate = sharedGates.Take(rows);
            mixture.SharedGate.Multiply(context.Input, gate, 1, context.Team);
        }

        var add = new AddWork { Kernels = context.Kernels, Used = spec.Used, Width = width, Weights = weight, Parts = part, HasShared = mixture.Shared is not null, Gate = gate, Output = output };
        RowWork.Run(context.Team, ref add, rows, (long)width * spec.Used);
    }

    public void Dispose()
    {
        scores.Dispose();
        weights.Dispose();
        parts.Dispose();
        expertOutput.Dispose();
        sharedGates.Dispose();
        chosen.Dispose();
        order.Dispose();
        gathered.Dispose();
    }

    /// <summary>Sorts pairs of a row and an expert by expert, rows rising.</summary>
    private static void Sort(int* experts, int pairs, int count, int* first, int* slots)
    {
        new Span<int>(first, count + 1).Clear();
        for (int i = 0; i < pairs; i++)
        {
            first[experts[i] + 1]++;
        }

        for (int e = 0; e < count; e++)
        {
            first[e + 1] += first[e];
        }

        for (int i = 0; i < pairs; i++)
        {
            slots[first[experts[i]]++] = i;
        }

        // Each entry has moved to the next expert's start; move all back by one.
        for (int e = count; e > 0; e--)
        {
            first[e] = first[e - 1];
        }

        first[0] = 0;
    }

    private void RunExpert(LayerContext context, MixtureSpec spec, DenseWeights expert, int* slots, int count, float* part)
    {
        gathered.Reset(count, width);
        var gather = new GatherWork { From = context.Input, To = gathered, Slots = slots, Used = spec.Used, Width = width };
        RowWork.Run(context.Team, ref gather, count, width);
        float* own = expertOutput.Take((long)count * width);
        FeedForwardLayer.Run(context, gathered, expert, spec.Activation, spec.GateAlpha, spec.GateLimit, own);
        var scatter = new ScatterWork { From = own, To = part, Slots = slots, Width = width };
        RowWork.Run(context.Team, ref scatter, count, width);
    }

    private struct ChooseWork : IRowWork
    {
        public VectorKernels Kernels;
        public MixtureSpec Spec;
        public float* Bias;
        public float* Scores;
        public float* Selection;
        public int* Chosen;
        public float* Weights;

        public readonly void Row(int row, int worker)
        {
            long start = (long)row * Spec.Experts;
            long slot = (long)row * Spec.Used;
            Router.Choose(Kernels, Spec, Bias, Scores + start, Selection + start, Chosen + slot, Weights + slot);
        }
    }

    private struct GatherWork : IRowWork
    {
        public Activations From;
        public Activations To;
        public int* Slots;
        public int Used;
        public int Width;

        public readonly void Row(int row, int worker) =>
            Buffer.MemoryCopy(From.Row(Slots[row] / Used), To.Row(row), Width * sizeof(float), Width * sizeof(float));
    }

    private struct ScatterWork : IRowWork
    {
        public float* From;
        public float* To;
        public int* Slots;
        public int Width;

        public readonly void Row(int row, int worker) =>
            Buffer.MemoryCopy(From + ((long)row * Width), To + ((long)Slots[row] * Width), Width * sizeof(float), Width * sizeof(float));
    }

    private struct AddWork : IRowWork
    {
        public VectorKernels Kernels;
        public int Used;
        public int Width;
        public float* Weights;
        public float* Parts;
        public bool HasShared;
        public float* Gate;
        public float* Output;

        public readonly void Row(int row, int worker)
        {
            float* output = Output + ((long)row * Width);
            if (!HasShared)
            {
                new Span<float>(output, Width).Clear();
            }
            else if (Gate is not null)
            {
                float gate = Gate[row];
                Kernels.Sigmoid(&gate, 1);
                Kernels.Scale(gate, output, Width);
            }

            for (int i = 0; i < Used; i++)
            {
                long slot = ((long)row * Used) + i;
                Kernels.AddScaled(Weights[slot], Parts + (slot * Width), output, Width);
            }
        }
    }
}
