using System.Globalization;
using System.Runtime.InteropServices;
using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels;

/// <summary>
/// The memory nodes (NUMA) that the process's processors belong to, and spreading memory over them. Work is handed out in small chunks to whoever is free, so any
/// worker may read any weight: spread page by page, weights are read from all nodes' memory at once, where otherwise the node of the thread that wrote them first would serve all.
/// </summary>
public static unsafe partial class MemoryNodes
{
    private const int MostNodes = 1024;
    private const int PolicyInterleave = 3;

    private static readonly int[] OfThisProcess = Find("/sys/devices/system/node", ThreadPlacement.AllowedProcessors());

    /// <summary>Numbers of the nodes with processors that this process may use, rising; empty where unknown.</summary>
    public static ReadOnlySpan<int> Used => OfThisProcess;

    /// <summary>Spreads pages that nobody has touched yet over the nodes of <see cref="Used"/>. A refusal is no error: pages then lie where they are first written.</summary>
    /// <param name="start">The memory.</param>
    /// <param name="length">Bytes; pages that lie in it only partly are left alone.</param>
    /// <returns>Whether it was done; not with a single node.</returns>
    public static bool TrySpread(void* start, long length) => OfThisProcess.Length > 1 && TrySpread(start, length, OfThisProcess);

    /// <summary>As <see cref="TrySpread(void*, long)"/>, over given nodes.</summary>
    internal static bool TrySpread(void* start, long length, ReadOnlySpan<int> nodes)
    {
        int call = RuntimeInformation.ProcessArchitecture switch { Architecture.X64 => 237, Architecture.Arm64 => 235, _ => -1 };
        (nint first, nint bytes) = PackedMemory.WholePages(start, length);
        if (!OperatingSystem.IsLinux() || call < 0 || bytes == 0)
        {
            return false;
        }

        ulong* mask = stackalloc ulong[MostNodes / 64];
        new Span<ulong>(mask, MostNodes / 64).Clear();
        foreach (int node in nodes)
        {
            mask[node / 64] |= 1UL << (node % 64);
        }

        // The system counts one bit less than it is told.
        return SystemCall(call, first, bytes, PolicyInterleave, (nint)mask, MostNodes + 1, 0) == 0;
    }

    /// <summary>The nodes below a folder that have any of some processors.</summary>
    internal static int[] Find(string folder, ReadOnlySpan<int> processors)
    {
        List<int> nodes = [];
        try
        {
            foreach (string node in Directory.Exists(folder) ? Directory.GetDirectories(folder, "node*") : [])
            {
                string list = Path.Combine(node, "cpulist");
                if (int.TryParse(Path.GetFileName(node).AsSpan("node".Length), NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number < MostNodes
                    && File.Exists(list) && HasAny(File.ReadAllText(list), processors))
                {
                    nodes.Add(number);
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }

        nodes.Sort();
        return [.. nodes];
    }

    /// <summary>Whether a list such as "0-3,8" names any of some processors.</summary>
    private static bool HasAny(string list, ReadOnlySpan<int> processors)
    {
        foreach (string range in list.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            string[] ends = range.Split('-');
            if (int.TryParse(ends[0], NumberStyles.None, CultureInfo.InvariantCulture, out int first)
                && int.TryParse(ends[^1], NumberStyles.None, CultureInfo.InvariantCulture, out int last)
                && processors.ContainsAnyInRange(first, last))
            {
                return true;
            }
        }

        return false;
    }

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint SystemCall(nint number, nint address, nint length, nint policy, nint nodes, nint bits, nint flags);
}
