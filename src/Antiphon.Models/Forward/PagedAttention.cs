using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>
/// Softmax attention of the step's queries over cached rows. A query's result depends on the keys that it sees and their order alone: scores are
/// laid side by side before they are summed, so neither chunks, nor neighbours, nor keys between that it does not see change a bit.
/// </summary>
internal unsafe struct PagedAttentionWork : IParallelWork
{
    public VectorKernels Kernels;
    public StepRows Rows;
    public LayerCache Layer;
    public int BlockSize;

    /// <summary>Queries: [rows, heads, key size].</summary>
    public float* Queries;

    /// <summary>Receives outputs: head h of row r at r · <see cref="OutputStride"/> + h · value size.</summary>
    public float* Outputs;
    public int OutputStride;
    public int Heads;
    public float Scale;
    public float SoftCap;
    public int Window;

    /// <summary>A logit for each head that takes part in the softmax, or null.</summary>
    public float* Sinks;

    /// <summary>For each worker, scores of one group of heads and room to widen a key or value.</summary>
    public float* Memory;
    public long MemoryPerWorker;
    public int ScoreStride;

    /// <summary>Floats that a worker needs.</summary>
    public static long WorkerFloats(int group, int scoreStride, int keySize) => ((long)group * scoreStride) + keySize + 16;

    /// <summary>Chunks are pairs of a row and a key-value head.</summary>
    public readonly void Execute(int chunk, int worker)
    {
        (int row, int head) = Math.DivRem(chunk, Layer.Heads);
        ref readonly Run run = ref Rows.RunOf(row);
        int group = Heads / Layer.Heads;
        float* scores = Memory + (worker * MemoryPerWorker);
        float* wide = scores + ((long)group * ScoreStride);
        float* queries = Queries + ((((long)row * Heads) + ((long)head * group)) * Layer.KeySize);
        int* table = Rows.Tables + run.Table;

        int own = row - run.Start - run.Replayed;
        int sliceRow = run.FirstRow + run.Replayed;
        int position = Rows.Positions[row];
        int prefix = own < 0 ? run.FirstRow + row - run.Start + 1 : sliceRow;
        int first = Window > 0 ? Math.Clamp(position - Window + 1, 0, prefix) : 0;
        int count = 0;
        for (int key = first; key < prefix; key++)
        {
            Score(table, key, head, group, queries, scores + count++, wide);
        }

        for (int j = 0; j <= own; j++)
        {
            if (IsVisible(in run, own, j, position))
            {
                Score(table, sliceRow + j, head, group, queries, scores + count++, wide);
            }
        }

        Weigh(head, group, scores, count);
        float* outputs = Outputs + ((long)row * OutputStride) + ((long)head * group * Layer.ValueSize);
        new Span<float>(outputs, group * Layer.ValueSize).Clear();
        count = 0;
        for (int key = first; key < prefix; key++)
        {
            Add(table, key, head, group, outputs, scores + count++, wide);
        }

        for (int j = 0; j <= own; j++)
        {
            if (IsVisible(in run, own, j, position))
            {
                Add(table, sliceRow + j, head, group, outputs, scores + count++, wide);
            }
        }
    }

    private readonly bool IsVisible(in Run run, int own, int other, int position)
    {
        if (run.Visibility is not { } visibility)
        {
            return Window == 0 || own - other < Window;
        }

        return visibility.Visible[(own * visibility.Positions.Length) + other] && (Window == 0 || position - visibility.Positions[other] < Window);
    }

    private readonly void Score(int* table, int key, int head, int group, float* queries, float* scores, float* wide)
    {
        float* row = Widen(Layer.Keys(table[key / BlockSize], head), key % BlockSize, Layer.KeySize, Layer.KeySize, wide);
        for (int g = 0; g < group; g++)
        {
            scores[(long)g * ScoreStride] = Kernels.Dot(queries + ((long)g * Layer.KeySize), row, Layer.KeySize) * Scale;
        }
    }

    private readonly void Weigh(int head, int group, float* scores, int count)
    {
        for (int g = 0; g < group; g++)
        {
            float* own = scores + ((long)g * ScoreStride);
            if (SoftCap > 0)
            {
                Kernels.SoftCap(SoftCap, own, count);
            }

            if (Sinks is null)
            {
                Kernels.Softmax(own, count);
            }
            else
            {
                own[count] = Sinks[(head * group) + g];
                Kernels.Softmax(own, count + 1);
            }
        }
    }

    private readonly void Add(int* table, int key, int head, int group, float* outputs, float* weights, float* wide)
    {
        float* row = Widen(Layer.Values(table[key / BlockSize], head), key % BlockSize, Layer.ValueStride, Layer.ValueSize, wide);
        for (int g = 0; g < group; g++)
        {
            Kernels.AddScaled(weights[(long)g * ScoreStride], row, outputs + ((long)g * Layer.ValueSize), Layer.ValueSize);
        }
    }

    private readonly float* Widen(byte* block, int row, int stride, int count, float* wide)
    {
        switch (Layer.Format)
        {
            case KvFormat.F32:
                return (float*)block + ((long)row * stride);
            case KvFormat.F16:
                Kernels.FromHalf((Half*)block + ((long)row * stride), wide, count);
                return wide;
            default:
                Kernels.FromBFloat16((ushort*)block + ((long)row * stride), wide, count);
                return wide;
        }
    }
}
