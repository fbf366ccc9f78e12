using System.Runtime.InteropServices;

namespace Antiphon.Kernels.Tests;

/// <summary>Memory whose last byte lies right before a page that may not be touched: reading past the end ends the process.</summary>
internal sealed unsafe partial class GuardedMemory : IDisposable
{
    private readonly byte* start;
    private readonly nuint mapped;

    public GuardedMemory(long bytes)
    {
        if (!OperatingSystem.IsLinux())
        {
            Assert.Skip("guard pages are tested on Linux");
        }

        nuint page = (nuint)Environment.SystemPageSize;
        nuint usable = ((nuint)bytes + page - 1) / page * page;
        mapped = usable + page;
        start = (byte*)Map(0, mapped, 3, 0x22, -1, 0);
        Assert.True((nint)start != -1, "mmap failed");
        Assert.Equal(0, Protect(start + usable, page, 0));
        Pointer = start + usable - bytes;
    }

    public byte* Pointer { get; }

    public void Dispose() => _ = Unmap(start, mapped);

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Protect(byte* address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(byte* address, nuint length);
}
