namespace Antiphon.Kernels;

/// <summary>Merges the segments of contexts that several workers shared.</summary>
internal readonly unsafe struct AttentionMerge<T> : IParallelWork
    where T : unmanaged, ILanes<T>
{
    private readonly AttentionProblem problem;
    private readonly ComputeTeam team;

    public AttentionMerge(in AttentionProblem problem, ComputeTeam team)
    {
        this.problem = problem;
        this.team = team;
        for (int i = 0; i < problem.ItemCount; i++)
        {
            if (problem.Items[i].Partial >= 0)
            {
                Chunks = problem.ItemCount;
            }
        }
    }

    /// <summary>One chunk for each item, or none if no context was split.</summary>
    public int Chunks { get; }

    public void Execute(int chunk, int worker)
    {
        ref readonly AttentionItem item = ref problem.Items[chunk];
        if (item.Partial < 0 || item.Segment != 0)
        {
            return;
        }

        // The segments of one piece of queries are consecutive items.
        int stateFloats = AttentionTiles.StateFloats(problem.Shape.ValueSize);
        int segments = 1;
        while (chunk + segments < problem.ItemCount && problem.Items[chunk + segments].Segment == segments)
        {
            segments++;
        }

        float* total = (float*)team.Scratch(worker, stateFloats * sizeof(float));
        for (int q = 0; q < item.Rows * item.Heads; q++)
        {
            AttentionTiles<T>.Clear(total, stateFloats);
            for (int segment = 0; segment < segments; segment++)
            {
                AttentionTiles<T>.Merge(total, problem.Partials + problem.Items[chunk + segment].Partial + ((long)q * stateFloats), stateFloats);
            }

            float* sink = problem.Sinks is null ? null : problem.Sinks + item.Head + (q % item.Heads);
            AttentionTiles<T>.Finish(total, sink, problem.Output(item, q), problem.Shape.ValueSize);
        }
    }
}
