using System.Numerics;
using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>
/// Runs a gated delta net, token by token: a token's result then depends on the tokens before it alone, not on how a prompt was cut into chunks.
/// Heads are independent of each other and run side by side.
/// </summary>
internal static unsafe class GatedDeltaNetLayer
{
    private const float NormEpsilon = 1e-6f;

    /// <summary>output = net(<see cref="LayerContext.Input"/>), [rows, width]; the states of the step's sequences move on.</summary>
    public static void Run(LayerContext context, GatedDeltaNetSpec spec, GatedDeltaNetWeights weights, int layer, float* output)
    {
        StepRows rows = context.Rows;
        int count = rows.Count;
        float* inputs = context.First.Take((long)count * spec.Channels);
        float* mixed = context.Second.Take((long)count * spec.Channels);
        float* gates = context.Third.Take((long)count * spec.ValueWidth);
        float* strengths = context.Fourth.Take(2L * count * spec.ValueHeads);
        WeightMatrix.MultiplyAll(
            [
                new(weights.QueryKeyValue, inputs, spec.Channels), new(weights.Gate, gates, spec.ValueWidth),
                new(weights.StrengthAndDecay, strengths, 2 * spec.ValueHeads),
            ],
            context.Input,
            context.Team);

        var work = new NetWork
        {
            Kernels = context.Kernels, Rows = rows, Spec = spec, Weights = weights, Layout = rows.Cache.Recurrent!, Layer = layer, BlockSize = rows.Cache.BlockSize,
            Inputs = inputs, Mixed = mixed, Gates = gates, Strengths = strengths, Output = context.Inner,
            Memory = context.PerWorker.Take((long)context.Team.Size * spec.ValueSize),
        };
        var convolve = new ConvolveWork { Net = work };
        RowWork.Run(context.Team, ref convolve, count, (long)spec.Channels * spec.ConvolutionWidth);
        context.Inner.Reset(count, spec.ValueWidth);
        context.Team.Run(ref work, rows.RunCount * spec.ValueHeads);
        foreach (ref readonly Run run in rows.Runs)
        {
            work.KeepTails(in run);
        }

        weights.Output.Multiply(context.Inner, output, context.Width, context.Team);
    }

    /// <summary>y += a · b, value by value.</summary>
    private static void MultiplyAdd(float* a, float* b, float* y, int count)
    {
        int i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector.FusedMultiplyAdd(Vector.Load(a + i), Vector.Load(b + i), Vector.Load(y + i)).Store(y + i);
        }

        for (; i < count; i++)
        {
            y[i] = MathF.FusedMultiplyAdd(a[i], b[i], y[i]);
        }
    }

    /// <summary>The causal convolution of each row and its SiLU, the norms of queries and keys, and the strength and decay of each update.</summary>
    private struct ConvolveWork : IRowWork
    {
        public NetWork Net;

        public readonly void Row(int row, int worker)
        {
            GatedDeltaNetSpec spec = Net.Spec;
            VectorKernels kernels = Net.Kernels;
            float* mixed = Net.Mixed + ((long)row * spec.Channels);
            new Span<float>(mixed, spec.Channels).Clear();
            for (int tap = 0; tap < spec.ConvolutionWidth; tap++)
            {
                float* input = Net.InputBefore(row, spec.ConvolutionWidth - 1 - tap);
                MultiplyAdd(Net.Weights.Convolution + ((long)tap * spec.Channels), input, mixed, spec.Channels);
            }

            kernels.Activate(Activation.Silu, mixed, spec.Channels);
            float scale = 1 / MathF.Sqrt(spec.KeySize);
            for (int head = 0; head < 2 * spec.KeyHeads; head++)
            {
                float* values = mixed + (head * spec.KeySize);
                float norm = MathF.Sqrt(kernels.Dot(values, values, spec.KeySize) + NormEpsilon);
                kernels.Scale((head < spec.KeyHeads ? scale : 1) / norm, values, spec.KeySize);
            }

            // Strengths and decays come grouped by key head: its value heads' strengths, then their decays.
            int group = spec.ValueHeads / spec.KeyHeads;
            float* strengths = Net.Strengths + (2L * row * spec.ValueHeads);
            for (int keyHead = 0; keyHead < spec.KeyHeads; keyHead++)
            {
                float* own = strengths + (2L * keyHead * group);
                kernels.Sigmoid(own, group);
                int first = keyHead * group;
                kernels.Add(Net.Weights.DecayBias + first, own + group, group);
                kernels.Softplus(own + group, group);
                kernels.Multiply(Net.Weights.DecayFactor + first, own + group, group);
                kernels.Exp(own + group, group);
            }
        }
    }

    /// <summary>The recurrence of one head of one run.</summary>
    private struct NetWork : IParallelWork
    {
        public VectorKernels Kernels;
        public StepRows Rows;
        public GatedDeltaNetSpec Spec;
        public GatedDeltaNetWeights Weights;
        public RecurrentLayout Layout;
        public int Layer;
        public int BlockSize;
        public float* Inputs;
        public float* Mixed;
        public float* Gates;
        public float* Strengths;
        public float* Memory;
        public Activations Output;

        /// <summary>The convolution's input some rows before a row: of this step, or what the state kept.</summary>
        public readonly float* InputBefore(int row, int distance)
        {
            ref readonly Run run = ref Rows.RunOf(row);
            int inside = row - run.Start - distance;
            return inside >= 0
                ? Inputs + ((long)(row - distance) * Spec.Channels)
                : run.State!.Current + Layout.Tail(Layer, Spec) + ((long)(Spec.ConvolutionWidth - 1 + inside) * Spec.Channels);
        }

        public readonly void Execute(int chunk, int worker)
        {
            (int runIndex, int head) = Math.DivRem(chunk, Spec.ValueHeads);
            ref readonly Run run = ref Rows.Runs[runIndex];
            int size = Spec.KeySize * Spec.ValueSize;
            float* matrix = run.State!.Current + Layout.Matrices(Layer) + ((long)head * size);
            for (int i = 0; i < run.Count; i++)
            {
                Step(run.Start + i, head, matrix, Memory + ((long)worker * Spec.ValueSize));
                float* snapshot = run.State.SnapshotBehind(run.FirstRow + i);
                if (snapshot is not null)
                {
                    Buffer.MemoryCopy(matrix, snapshot + Layout.Matrices(Layer) + ((long)head * size), (long)size * sizeof(float), (long)size * sizeof(float));
                }
            }
        }

        /// <summary>Keeps the last inputs of the convolution, in the state and in the snapshots.</summary>
        public readonly void KeepTails(in Run run)
        {
            for (int i = 0; i < run.Count; i++)
            {
                float* snapshot = run.State!.SnapshotBehind(run.FirstRow + i);
                if (snapshot is not null)
                {
                    CopyTail(run.Start + i, snapshot + Layout.Tail(Layer, Spec));
                }
            }

            // Oldest first: a kept row is read before a later one is written over it.
            CopyTail(run.Start + run.Count - 1, run.State!.Current + Layout.Tail(Layer, Spec));
        }

        private readonly void CopyTail(int lastRow, float* target)
        {
            long bytes = (long)Spec.Channels * sizeof(float);
            for (int i = 0; i < Spec.ConvolutionWidth - 1; i++)
            {
                float* source = InputBefore(lastRow, Spec.ConvolutionWidth - 2 - i);
                Buffer.MemoryCopy(source, target + ((long)i * Spec.Channels), bytes, bytes);
            }
        }

        private readonly void Step(int row, int head, float* matrix, float* delta)
        {
            int keySize = Spec.KeySize;
            int valueSize = Spec.ValueSize;
            int group = Spec.ValueHeads / Spec.KeyHeads;
            (int keyHead, int inGroup) = Math.DivRem(head, group);
            float* mixed = Mixed + ((long)row * Spec.Channels);
            float* query = mixed + (keyHead * keySize);
            float* key = mixed + Spec.KeyWidth + (keyHead * keySize);
            float* value = mixed + (2 * Spec.KeyWidth) + (head * valueSize);
            float* strengths = Strengths + (2L * row * Spec.ValueHeads) + (2L * keyHead * group);
            float strength = strengths[inGroup];
            float decay = strengths[group + inGroup];

            // delta = strength · (value − matrixᵀ key), read after the decay; the output is read after the update.
            Buffer.MemoryCopy(value, delta, valueSize * sizeof(float), valueSize * sizeof(float));
            for (int i = 0; i < keySize; i++)
            {
                float* own = matrix + ((long)i * valueSize);
                Kernels.Scale(decay, own, valueSize);
                Kernels.AddScaled(-key[i], own, delta, valueSize);
            }

            Kernels.Scale(strength, delta, valueSize);
            float* output = Output.Row(row) + (head * valueSize);
            new Span<float>(output, valueSize).Clear();
            for (int i = 0; i < keySize; i++)
            {
                float* own = matrix + ((long)i * valueSize);
                Kernels.AddScaled(key[i], delta, own, valueSize);
                Kernels.AddScaled(query[i], own, output, valueSize);
            }

            Norm.Apply(Kernels, Weights.OutputNorm, output, output);
            Kernels.Gate(Activation.Silu, Gates + ((long)row * Spec.ValueWidth) + (head * valueSize), output, output, valueSize);
        }
    }
}
