namespace Antiphon.Kernels;

/// <summary>Works off the items of an attention.</summary>
internal readonly unsafe struct AttentionWork<T> : IParallelWork
    where T : unmanaged, ILanes<T>
{
    private readonly AttentionProblem problem;
    private readonly ComputeTeam team;
    private readonly FewQueries<T> few;
    private readonly ManyQueries<T> many;

    public AttentionWork(in AttentionProblem problem, ComputeTeam team)
    {
        this.problem = problem;
        this.team = team;
        TileReader<T> keys = new(problem.Keys, problem.BlockSize, problem.Shape.KeySize);
        TileReader<T> values = new(problem.Values, problem.BlockSize, problem.Shape.ValueSize);
        few = new FewQueries<T>(problem, keys, values);
        many = new ManyQueries<T>(problem, keys, values);
    }

    public void Execute(int chunk, int worker)
    {
        ref readonly AttentionItem item = ref problem.Items[chunk];
        if (item.Rows * item.Heads < AttentionTiles.ManyQueries)
        {
            few.Execute(item, team, worker);
        }
        else
        {
            many.Execute(item, team, worker);
        }
    }
}
