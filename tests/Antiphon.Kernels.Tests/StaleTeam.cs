using System.Runtime.CompilerServices;

namespace Antiphon.Kernels.Tests;

/// <summary>
/// Teams whose scratch memory is full of what is no number, as work before may have left it. A team's memory is zeros at first, which hides that a kernel reads what nobody has written.
/// </summary>
internal static unsafe class StaleTeam
{
    private const int ScratchBytes = 4 << 20;

    /// <summary>A team of so many workers.</summary>
    public static ComputeTeam Of(int size)
    {
        ComputeTeam team = new(size);
        for (int worker = 0; worker < size; worker++)
        {
            Unsafe.InitBlock(team.Scratch(worker, ScratchBytes), 0xFF, ScratchBytes);
        }

        return team;
    }
}
