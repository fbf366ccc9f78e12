using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>A few products that a team works off in one pass.</summary>
internal struct MatrixProducts<T> : IParallelWork
    where T : unmanaged, ILanes<T>
{
    private Items items;
    private int count;

    /// <summary>Chunks of all products together.</summary>
    public int Chunks { get; private set; }

    public void Add(in MatrixProduct<T> product)
    {
        items[count++] = product;
        Chunks += product.Chunks;
    }

    public readonly void Execute(int chunk, int worker)
    {
        int item = 0;
        for (; chunk >= items[item].Chunks; item++)
        {
            chunk -= items[item].Chunks;
        }

        items[item].Execute(chunk, worker);
    }

    [InlineArray(WeightMatrix.MostTogether)]
    private struct Items
    {
        private MatrixProduct<T> first;
    }
}
