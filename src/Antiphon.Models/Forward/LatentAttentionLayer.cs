using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>
/// Runs latent attention in its absorbed form: queries are brought down to the latent vectors that are cached, instead of these up to keys, so that
/// all heads attend to one key per token.
/// </summary>
internal static unsafe class LatentAttentionLayer
{
    /// <summary>output = attention(<see cref="LayerContext.Input"/>), [rows, width].</summary>
    public static void Run(LayerContext context, LatentAttentionSpec spec, LatentAttentionWeights weights, int rope, int layer, float* output)
    {
        StepRows rows = context.Rows;
        int count = rows.Count;
        int headSize = spec.PlainSize + spec.RotatedSize;
        int keySize = spec.LatentRank + spec.RotatedSize;
        float* queries = context.First.Take((long)count * spec.Heads * headSize);
        Queries(context, spec, weights, queries);

        float* latent = context.Second.Take((long)count * keySize);
        context.Apply(weights.KeyValueDown, context.Input, latent);
        float* lowered = context.Third.Take((long)count * spec.Heads * keySize);
        LayerCache cache = rows.Cache.Layer(layer);
        var enter = new EnterWork
        {
            Kernels = context.Kernels, Rows = rows, Spec = spec, Weights = weights, Rope = rope, Cache = cache, BlockSize = rows.Cache.BlockSize,
            Queries = queries, Latent = latent, Lowered = lowered,
        };
        RowWork.Run(context.Team, ref enter, count, (spec.Heads * (long)headSize) + keySize);
        for (int head = 0; head < spec.Heads; head++)
        {
            var gather = new GatherWork { From = queries + (head * headSize), Stride = spec.Heads * headSize, Width = spec.PlainSize, To = context.Small };
            context.Small.Reset(count, spec.PlainSize);
            RowWork.Run(context.Team, ref gather, count, spec.PlainSize);
            weights.KeyUp[head].Multiply(context.Small, lowered + (head * keySize), spec.Heads * keySize, context.Team);
        }

        float* mixed = context.Fourth.Take((long)count * spec.Heads * spec.LatentRank);
        AttentionLayer.Attend(context, cache, lowered, spec.Heads, spec.Scale, 0, 0, null, mixed, spec.Heads * spec.LatentRank);

        context.Inner.Reset(count, spec.Heads * spec.ValueSize);
        for (int head = 0; head < spec.Heads; head++)
        {
            var gather = new GatherWork { From = mixed + (head * spec.LatentRank), Stride = spec.Heads * spec.LatentRank, Width = spec.LatentRank, To = context.Small };
            context.Small.Reset(count, spec.LatentRank);
            RowWork.Run(context.Team, ref gather, count, spec.LatentRank);
            weights.ValueUp[head].Multiply(context.Small, context.Inner.Row(0) + (head * spec.ValueSize), context.Inner.Stride, context.Team);
        }

        context.Apply(weights.Output, context.Inner, output);
    }

    private static void Queries(LayerContext context, LatentAttentionSpec spec, LatentAttentionWeights weights, float* queries)
    {
        if (weights.QueryUp is null)
        {
            context.Apply(weights.QueryDown, context.Input, queries);
            return;
        }

        int count = context.Rows.Count;
        float* down = context.Fourth.Take((long)count * spec.QueryRank);
        context.Apply(weights.QueryDown, context.Input, down);
        context.Small.Reset(count, spec.QueryRank);
        var norm = new NormWork { Norm = weights.QueryNorm, Kernels = context.Kernels, Input = down, Width = spec.QueryRank, Output = context.Small };
        RowWork.Run(context.Team, ref norm, context.Small, weights.QueryUp.Weight, spec.QueryRank);
        context.Apply(weights.QueryUp, context.Small, queries);
    }

    private struct EnterWork : IRowWork
    {
        public VectorKernels Kernels;
        public StepRows Rows;
        public LatentAttentionSpec Spec;
        public LatentAttentionWeights Weights;
        public int Rope;
        public LayerCache Cache;
        public int BlockSize;
        public float* Queries;
        public float* Latent;
        public float* Lowered;

        public readonly void Row(int row, int worker)
        {
            int headSize = Spec.PlainSize + Spec.RotatedSize;
            int keySize = Spec.LatentRank + Spec.RotatedSize;
            float* cosines = Rows.Cosines(Rope, row);
            float* sines = Rows.Sines(Rope, row);
            float* latent = Latent + ((long)row * keySize);
            Norm.Apply(Kernels, Weights.LatentNorm, latent, latent);
            Rotation.Apply(Kernels, Spec.Rope, latent + Spec.LatentRank, 1, Spec.RotatedSize, cosines, sines);

            float* queries = Queries + ((long)row * Spec.Heads * headSize);
            Rotation.Apply(Kernels, Spec.Rope, queries + Spec.PlainSize, Spec.Heads, headSize, cosines, sines);
            float* lowered = Lowered + ((long)row * Spec.Heads * keySize);
            for (int head = 0; head < Spec.Heads; head++)
            {
                Buffer.MemoryCopy(
                    queries + (head * headSize) + Spec.PlainSize, lowered + (head * keySize) + Spec.LatentRank,
                    Spec.RotatedSize * sizeof(float), Spec.RotatedSize * sizeof(float));
            }

            ref readonly Run run = ref Rows.RunOf(row);
            if (row - run.Start >= run.Replayed)
            {
                int cacheRow = Rows.CacheRow(row);
                Cache.Write(Kernels, Rows.Tables[run.Table + (cacheRow / BlockSize)], cacheRow % BlockSize, latent, null);
            }
        }
    }

    private struct GatherWork : IRowWork
    {
        public float* From;
        public int Stride;
        public int Width;
        public Activations To;

        public readonly void Row(int row, int worker) =>
            Buffer.MemoryCopy(From + ((long)row * Stride), To.Row(row), Width * sizeof(float), Width * sizeof(float));
    }
}
