using System.Runtime.InteropServices;

namespace Antiphon.Kernels.Packed;

/// <summary>Zeroed memory for packed weights, in huge pages where the system has some to give.</summary>
public sealed unsafe partial class PackedMemory : SafeHandle
{
    /// <summary>Bytes of a huge page.</summary>
    internal const long HugePage = 2 << 20;

    private const int AdviseWillNeed = 3;
    private const int AdviseDontNeed = 4;
    private const int AdviseHugePages = 14;

    private readonly nuint size;
    private readonly nuint slack;

    /// <summary>Allocates <paramref name="bytes"/> bytes, aligned to 64 at least, and to a huge page if they fill one.</summary>
    /// <exception cref="InsufficientMemoryException">There is no such memory.</exception>
    public PackedMemory(long bytes)
        : base(0, ownsHandle: true)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        size = checked((nuint)Math.Max(bytes, 64));
        if (!OperatingSystem.IsLinux())
        {
            SetHandle((nint)NativeMemory.AlignedAlloc(size, 64));
            NativeMemory.Clear((void*)handle, size);
            return;
        }

        // Some kernels place a mapping at any page; with room to spare, one that can hold a huge page begins where one can begin.
        slack = size >= (nuint)HugePage ? (nuint)HugePage : 0;
        nint pages = MemoryMap(0, size + slack, 0x1 | 0x2, 0x22, -1, 0);
        if (pages == -1)
        {
            throw new InsufficientMemoryException($"no memory for {bytes} bytes of packed weights");
        }

        SetHandle(pages);
        _ = Advise(pages, size + slack, AdviseHugePages);
        MemoryNodes.TrySpread((void*)pages, (long)(size + slack));
    }

    /// <summary>Asks for huge pages behind memory that is used as a whole; a hint, which the system may not follow.</summary>
    internal static void PreferHugePages(void* start, long length)
    {
        if (OperatingSystem.IsLinux() && length > 0)
        {
            (nint first, nint bytes) = WholePages(start, length);
            if (bytes > 0)
            {
                _ = Advise(first, (nuint)bytes, AdviseHugePages);
            }
        }
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>The first byte. Valid while this object is.</summary>
    public byte* Pointer => slack == 0 ? (byte*)handle : (byte*)((handle + (nint)HugePage - 1) & -(nint)HugePage);

    /// <summary>Tells the system that a range of a mapped file is read soon, so that it comes from the disk ahead of those who read it. The memory is not touched.</summary>
    public static void ReadAhead(byte* start, long length)
    {
        if (OperatingSystem.IsLinux() && length > 0)
        {
            nint page = Environment.SystemPageSize;
            nint first = (nint)start & -page;
            _ = Advise(first, (nuint)((nint)(start + length) - first), AdviseWillNeed);
        }
    }

    /// <summary>
    /// Tells the system that pages of a mapped file are not needed for now, as when their weights have been packed. They are read again if they are touched.
    /// Only whole pages inside the range are let go; the range must be a read-only mapping of a file, never memory with content of its own.
    /// </summary>
    public static void ReleaseFilePages(byte* start, long length)
    {
        if (OperatingSystem.IsLinux() && length > 0)
        {
            (nint first, nint bytes) = WholePages(start, length);
            if (bytes > 0)
            {
                _ = Advise(first, (nuint)bytes, AdviseDontNeed);
            }
        }
    }

    /// <summary>The pages that lie wholly in some memory: the first, and their bytes, which may be none.</summary>
    internal static (nint First, nint Bytes) WholePages(void* start, long length)
    {
        nint page = Environment.SystemPageSize;
        nint first = ((nint)start + page - 1) & -page;
        nint end = (nint)((byte*)start + length) & -page;
        return (first, Math.Max(0, end - first));
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        if (OperatingSystem.IsLinux())
        {
            return MemoryUnmap(handle, size + slack) == 0;
        }

        NativeMemory.AlignedFree((void*)handle);
        return true;
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint MemoryMap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int MemoryUnmap(nint address, nuint length);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nint address, nuint length, int advice);
}
