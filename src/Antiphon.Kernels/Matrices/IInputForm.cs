namespace Antiphon.Kernels;

/// <summary>A form of activations that kernels read, made of some rows after another, in any order.</summary>
internal interface IInputForm
{
    /// <summary>Rows of a group: they lie together.</summary>
    const int GroupRows = 16;

    // Handing out work costs about a microsecond; rows that together cost less are done by the caller.
    private const long WorthSharing = 4096;

    /// <summary>Whether rows of a group may be converted apart from each other.</summary>
    bool SplitsGroups { get; }

    /// <summary>Converts rows that follow each other.</summary>
    /// <param name="x">The rows.</param>
    /// <param name="row">The first of them; unless <see cref="SplitsGroups"/>, of a group.</param>
    /// <param name="count">How many; unless <see cref="SplitsGroups"/>, whole groups, or all that are left.</param>
    /// <param name="worker">Who converts.</param>
    void Convert(Activations x, int row, int count, int worker);

    /// <summary>Has all rows converted by a team.</summary>
    static void Convert(IInputForm form, Activations x, ComputeTeam team)
    {
        ConvertWork work = new() { X = x, Form = form, Rows = RowsTogether(form, x, team) };
        team.Run(ref work, (x.Rows + work.Rows - 1) / work.Rows);
    }

    /// <summary>How many rows a worker takes at a time: a group, so that what it writes lies together, or, where there are few, no more than an equal share.</summary>
    static int RowsTogether(IInputForm form, Activations x, ComputeTeam team)
    {
        if (!form.SplitsGroups || x.Rows >= GroupRows * 2 * team.Size)
        {
            return GroupRows;
        }

        if ((long)x.Rows * x.Columns < WorthSharing)
        {
            return x.Rows;
        }

        int turns = (x.Rows + (GroupRows * team.Size) - 1) / (GroupRows * team.Size);
        return (x.Rows + (turns * team.Size) - 1) / (turns * team.Size);
    }

    private struct ConvertWork : IParallelWork
    {
        public Activations X;
        public IInputForm Form;
        public int Rows;

        public readonly void Execute(int chunk, int worker) => Form.Convert(X, chunk * Rows, Math.Min(Rows, X.Rows - (chunk * Rows)), worker);
    }
}
