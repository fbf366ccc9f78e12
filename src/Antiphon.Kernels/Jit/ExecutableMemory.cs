using System.Runtime.InteropServices;

namespace Antiphon.Kernels.Jit;

/// <summary>
/// Machine code in pages of its own. The pages are writable while the code is copied in and executable afterwards, never both;
/// they go back to the system with this object.
/// </summary>
internal sealed unsafe partial class ExecutableMemory : SafeHandle
{
    /// <summary>Set to 1, no code is generated, as on a system that denies executable memory.</summary>
    public const string DenyVariable = "ANTIPHON_NO_JIT";

    private readonly nuint size;

    /// <summary>Copies <paramref name="code"/> to fresh pages and makes them executable.</summary>
    /// <exception cref="CodeGenerationException">The system denies it, or <see cref="DenyVariable"/> is set.</exception>
    public ExecutableMemory(ReadOnlySpan<byte> code)
        : base(0, ownsHandle: true)
    {
        if (Environment.GetEnvironmentVariable(DenyVariable) == "1")
        {
            throw new CodeGenerationException($"{DenyVariable}=1 forbids generated code");
        }

        nuint page = (nuint)Environment.SystemPageSize;
        size = ((nuint)code.Length + page - 1) & ~(page - 1);
        bool windows = OperatingSystem.IsWindows();
        nint pages = windows ? VirtualAlloc(0, size, 0x3000, 0x04) : MemoryMap(0, size, 0x1 | 0x2, MapPrivateAnonymous, -1, 0);
        if (pages is 0 or -1)
        {
            throw new CodeGenerationException($"the system gave no memory for {code.Length} bytes of code (error {Marshal.GetLastPInvokeError()})");
        }

        SetHandle(pages);
        code.CopyTo(new Span<byte>((void*)pages, (int)size));
        bool granted = windows ? VirtualProtect(pages, size, 0x20, out _) : MemoryProtect(pages, size, 0x1 | 0x4) == 0;
        if (!granted)
        {
            int error = Marshal.GetLastPInvokeError();
            Dispose();
            throw new CodeGenerationException($"the system denies executable memory (error {error}): a W^X policy such as SELinux's execmem");
        }
    }

    /// <summary>Finds out whether code may be generated: with one return instruction, since the assembler takes a while to start.</summary>
    /// <exception cref="CodeGenerationException">The system denies it, or <see cref="DenyVariable"/> is set.</exception>
    public static void Probe() => new ExecutableMemory([0xC3]).Dispose();

    /// <inheritdoc/>
    public override bool IsInvalid => handle is 0 or -1;

    /// <summary>The first instruction.</summary>
    public nint Address => handle;

    private static int MapPrivateAnonymous => OperatingSystem.IsMacOS() || OperatingSystem.IsFreeBSD() ? 0x1002 : 0x22;

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => OperatingSystem.IsWindows() ? VirtualFree(handle, 0, 0x8000) : MemoryUnmap(handle, size) == 0;

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint MemoryMap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int MemoryProtect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int MemoryUnmap(nint address, nuint length);

    [LibraryImport("kernel32", SetLastError = true)]
    private static partial nint VirtualAlloc(nint address, nuint size, uint type, uint protection);

    [LibraryImport("kernel32", SetLastError = true)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool VirtualProtect(nint address, nuint size, uint protection, out uint old);

    [LibraryImport("kernel32", SetLastError = true)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool VirtualFree(nint address, nuint size, uint type);
}
