using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Runs grouped attention: project, norm, rotate, cache, attend, gate, project.</summary>
internal static unsafe class AttentionLayer
{
    /// <summary>output = attention(<see cref="LayerContext.Input"/>), [rows, width].</summary>
    /// <param name="context">What to compute with.</param>
    /// <param name="spec">The layer's attention.</param>
    /// <param name="weights">Its weights.</param>
    /// <param name="rope">Index of its rotation among the step's, or -1.</param>
    /// <param name="layer">Number of the layer, for its cache.</param>
    /// <param name="output">Receives the result.</param>
    public static void Run(LayerContext context, AttentionSpec spec, AttentionWeights weights, int rope, int layer, float* output)
    {
        StepRows rows = context.Rows;
        int queryWidth = spec.Heads * spec.HeadSize;
        int keyWidth = spec.KeyValueHeads * spec.HeadSize;
        int projected = spec.OutputGate ? 2 * queryWidth : queryWidth;
        float* raw = context.First.Take((long)rows.Count * projected);
        float* keys = context.Second.Take((long)rows.Count * keyWidth);
        float* values = context.Third.Take((long)rows.Count * keyWidth);
        context.Apply(weights.Query, weights.Key, weights.Value, context.Input, raw, keys, values);

        // With a gate, each head's query is followed by its gate; queries are brought together, gates stay where they are.
        float* queries = spec.OutputGate ? context.Fourth.Take((long)rows.Count * queryWidth) : raw;
        LayerCache cache = rows.Cache.Layer(layer);
        var enter = new EnterWork
        {
            Kernels = context.Kernels, Rows = rows, Spec = spec, Weights = weights, Rope = rope, Cache = cache, BlockSize = rows.Cache.BlockSize,
            Raw = raw, Queries = queries, Keys = keys, Values = values,
        };
        RowWork.Run(context.Team, ref enter, rows.Count, projected + (2L * keyWidth));

        context.Inner.Reset(rows.Count, queryWidth);
        Attend(context, cache, queries, spec.Heads, spec.Scale, spec.SoftCap, spec.Window, weights.Sinks, context.Inner.Row(0), context.Inner.Stride);
        if (spec.OutputGate)
        {
            var gate = new GateWork { Kernels = context.Kernels, Gates = raw, Heads = spec.Heads, HeadSize = spec.HeadSize, Output = context.Inner };
            RowWork.Run(context.Team, ref gate, context.Inner, weights.Output.Weight, 4L * queryWidth);
        }

        context.Apply(weights.Output, context.Inner, output);
    }

    /// <summary>Attends with queries [rows, heads, key size] over rows that are cached.</summary>
    public static void Attend(
        LayerContext context, LayerCache cache, float* queries, int heads, float scale, float softCap, int window, float* sinks, float* outputs, int stride)
    {
        var shape = new AttentionShape
        {
            QueryHeads = heads, KeyValueHeads = cache.Heads, KeySize = cache.KeySize, ValueSize = cache.ValueSize,
            Scale = scale, SoftCap = softCap, Window = window,
        };
        ReadOnlySpan<AttentionSlice> slices = context.Rows.AttentionSlices(queries, heads * cache.KeySize, outputs, stride);
        context.Attention.Run(shape, cache.Keys, cache.Values, context.Rows.Cache.BlockSize, slices, sinks, context.Team);
    }

    private struct EnterWork : IRowWork
    {
        public VectorKernels Kernels;
        public StepRows Rows;
        public AttentionSpec Spec;
        public AttentionWeights Weights;
        public int Rope;
        public LayerCache Cache;
        public int BlockSize;
        public float* Raw;
        public float* Queries;
        public float* Keys;
        public float* Values;

        public readonly void Row(int row, int worker)
        {
            int size = Spec.HeadSize;
            float* queries = Queries + ((long)row * Spec.Heads * size);
            float* keys = Keys + ((long)row * Spec.KeyValueHeads * size);
            if (Spec.OutputGate)
            {
                float* raw = Raw + (2L * row * Spec.Heads * size);
                for (int head = 0; head < Spec.Heads; head++)
                {
                    Buffer.MemoryCopy(raw + (2L * head * size), queries + (head * size), size * sizeof(float), size * sizeof(float));
                }
            }

            if (Weights.QueryNorm is not null)
            {
                NormHeads(Weights.QueryNorm, queries, Spec.Heads);
                NormHeads(Weights.KeyNorm!, keys, Spec.KeyValueHeads);
            }

            if (Rope >= 0)
            {
                var rope = (RopeSpec)Spec.Positions!;
                Rotation.Apply(Kernels, rope, queries, Spec.Heads, size, Rows.Cosines(Rope, row), Rows.Sines(Rope, row));
                Rotation.Apply(Kernels, rope, keys, Spec.KeyValueHeads, size, Rows.Cosines(Rope, row), Rows.Sines(Rope, row));
            }

            if (Spec.TemperatureBeta != 0)
            {
                float factor = 1 + (Spec.TemperatureBeta * MathF.Log(1 + (Rows.Positions[row] / Spec.TemperatureLength)));
                Kernels.Scale(factor, queries, Spec.Heads * size);
            }

            ref readonly Run run = ref Rows.RunOf(row);
            if (row - run.Start >= run.Replayed)
            {
                int cacheRow = Rows.CacheRow(row);
                Cache.Write(Kernels, Rows.Tables[run.Table + (cacheRow / BlockSize)], cacheRow % BlockSize, keys, Values + ((long)row * Spec.KeyValueHeads * size));
            }
        }

        private readonly void NormHeads(NormWeights norm, float* heads, int count)
        {
            for (int head = 0; head < (Spec.NormAcrossHeads ? 1 : count); head++)
            {
                float* values = heads + (head * Spec.HeadSize);
                Norm.Apply(Kernels, norm, values, values);
            }
        }
    }

    private struct GateWork : IRowWork
    {
        public VectorKernels Kernels;
        public float* Gates;
        public int Heads;
        public int HeadSize;
        public Activations Output;

        public readonly void Row(int row, int worker)
        {
            float* raw = Gates + (2L * row * Heads * HeadSize);
            for (int head = 0; head < Heads; head++)
            {
                float* gate = raw + (((2L * head) + 1) * HeadSize);
                Kernels.Sigmoid(gate, HeadSize);
                Kernels.Multiply(gate, Output.Row(row) + (head * HeadSize), HeadSize);
            }
        }
    }
}
