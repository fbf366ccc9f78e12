namespace Antiphon.Kernels;

/// <summary>Work on rows (tokens) that do not depend on each other.</summary>
public interface IRowWork
{
    /// <summary>Does one row.</summary>
    /// <param name="row">The row.</param>
    /// <param name="worker">Who does it, from 0 to <see cref="ComputeTeam.Size"/> - 1; no two at the same time are the same.</param>
    void Row(int row, int worker);
}
