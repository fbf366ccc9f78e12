using System.Runtime.InteropServices;
using Xunit;

namespace Antiphon.Testing;

/// <summary>Memory between two pages that may not be touched, right at one of them: reading or writing beyond it ends the process.</summary>
public sealed unsafe partial class GuardedMemory : IDisposable
{
    private readonly byte* start;
    private readonly nuint mapped;

    /// <summary>Maps the memory, which is zero. Skips the test where there are no guard pages.</summary>
    /// <param name="bytes">How much.</param>
    /// <param name="atStart">Whether the memory begins right behind the page before it; else it ends right before the page behind it.</param>
    public GuardedMemory(long bytes, bool atStart = false)
    {
        if (!OperatingSystem.IsLinux())
        {
            Assert.Skip("guard pages are tested on Linux");
        }

        nuint page = (nuint)Environment.SystemPageSize;
        nuint usable = ((nuint)bytes + page - 1) / page * page;
        mapped = usable + (2 * page);
        start = (byte*)Map(0, mapped, 3, 0x22, -1, 0);
        Assert.True((nint)start != -1, "mmap failed");
        Assert.Equal(0, Protect(start, page, 0));
        Assert.Equal(0, Protect(start + page + usable, page, 0));
        Pointer = atStart ? start + page : start + page + usable - bytes;
    }

    /// <summary>The first byte.</summary>
    public byte* Pointer { get; }

    /// <inheritdoc/>
    public void Dispose() => _ = Unmap(start, mapped);

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Protect(byte* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(byte* address, nuint length);
}
