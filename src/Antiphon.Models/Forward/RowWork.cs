using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Shares rows among a team.</summary>
internal static class RowWork
{
    // Handing out work costs about a microsecond; rows that together cost less are done by the caller.
    private const long WorthSharing = 16384;

    /// <summary>Does all rows.</summary>
    /// <param name="team">Who computes.</param>
    /// <param name="work">The work; not changed.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="valuesPerRow">Values that a row touches: a measure of its cost.</param>
    public static void Run<TWork>(ComputeTeam team, ref TWork work, int rows, long valuesPerRow)
        where TWork : struct, IRowWork
    {
        if (team.Size == 1 || rows == 1 || rows * valuesPerRow < WorthSharing)
        {
            for (int row = 0; row < rows; row++)
            {
                work.Row(row, 0);
            }

            return;
        }

        int chunks = Math.Min(rows, team.Size * 4);
        var split = new Split<TWork> { Work = work, Rows = rows, Chunks = chunks };
        team.Run(ref split, chunks);
    }

    /// <summary>Does all rows, which write the input of a matrix.</summary>
    /// <param name="team">Who computes.</param>
    /// <param name="work">The work; not changed.</param>
    /// <param name="output">What it writes.</param>
    /// <param name="reader">The matrix that reads it first, or null.</param>
    /// <param name="valuesPerRow">Values that a row touches.</param>
    public static void Run<TWork>(ComputeTeam team, ref TWork work, Activations output, WeightMatrix? reader, long valuesPerRow)
        where TWork : struct, IRowWork
    {
        if (!output.TryWrite(ref work, reader, team))
        {
            Run(team, ref work, output.Rows, valuesPerRow);
        }
    }

    private struct Split<TWork> : IParallelWork
        where TWork : struct, IRowWork
    {
        public TWork Work;
        public int Rows;
        public int Chunks;

        public void Execute(int chunk, int worker)
        {
            int end = (int)((long)Rows * (chunk + 1) / Chunks);
            for (int row = (int)((long)Rows * chunk / Chunks); row < end; row++)
            {
                Work.Row(row, worker);
            }
        }
    }
}
