namespace Antiphon.Kernels.Integers;

/// <summary>Works off the items of an attention over a cache of integers.</summary>
/// <param name="problem">The attention.</param>
/// <param name="kernels">Generated code; null: there is none.</param>
/// <param name="team">Who computes.</param>
internal readonly struct IntegerWork<T>(in AttentionProblem problem, IntegerKernels? kernels, ComputeTeam team) : IParallelWork
    where T : unmanaged, ILanes<T>
{
    private readonly AttentionProblem problem = problem;
    private readonly FewIntegers<T> few = new(problem);

    public unsafe void Execute(int chunk, int worker)
    {
        ref readonly AttentionItem item = ref problem.Items[chunk];
        if (kernels is not null && item.Rows * item.Heads >= AttentionTiles.ManyQueries)
        {
            new ManyIntegers<T>(problem, kernels).Execute(item, team, worker);
        }
        else
        {
            few.Execute(item, team, worker);
        }
    }
}
