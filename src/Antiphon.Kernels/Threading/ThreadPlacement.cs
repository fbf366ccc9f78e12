using System.Runtime.InteropServices;

namespace Antiphon.Kernels;

/// <summary>Which hardware threads this process may use, and binding a thread to one of them. Does nothing where the system has no such call.</summary>
public static unsafe partial class ThreadPlacement
{
    private const int MaskBytes = 128;

    /// <summary>Numbers of the hardware threads in the caller's affinity mask, rising; empty where unknown.</summary>
    public static int[] AllowedProcessors()
    {
        if (!OperatingSystem.IsLinux())
        {
            return [];
        }

        byte* mask = stackalloc byte[MaskBytes];
        new Span<byte>(mask, MaskBytes).Clear();
        if (GetAffinity(0, MaskBytes, mask) != 0)
        {
            return [];
        }

        List<int> processors = [];
        for (int i = 0; i < MaskBytes * 8; i++)
        {
            if (((mask[i / 8] >> (i % 8)) & 1) != 0)
            {
                processors.Add(i);
            }
        }

        return [.. processors];
    }

    /// <summary>Binds the calling thread to one hardware thread. A refusal is no error: the thread then runs where the system puts it.</summary>
    /// <returns>Whether the thread is bound.</returns>
    public static bool TryPin(int processor)
    {
        if (!OperatingSystem.IsLinux() || (uint)processor >= MaskBytes * 8)
        {
            return false;
        }

        byte* mask = stackalloc byte[MaskBytes];
        new Span<byte>(mask, MaskBytes).Clear();
        mask[processor / 8] = (byte)(1 << (processor % 8));
        return SetAffinity(0, MaskBytes, mask) == 0;
    }

    [LibraryImport("libc", EntryPoint = "sched_getaffinity")]
    private static partial int GetAffinity(int thread, nuint size, byte* mask);

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    private static partial int SetAffinity(int thread, nuint size, byte* mask);
}
