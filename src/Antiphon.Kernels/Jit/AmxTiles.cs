using System.Runtime.InteropServices;

namespace Antiphon.Kernels.Jit;

/// <summary>Permission to use the AMX tile registers.</summary>
internal static partial class AmxTiles
{
    private const nint ArchPrctl = 158;
    private const nint RequestComponentPermission = 0x1023;
    private const nint TileData = 18;

    /// <summary>
    /// Asks the system, once for the whole process, for the registers' state to be saved; threads inherit the answer.
    /// Asking again does no harm.
    /// </summary>
    /// <exception cref="CodeGenerationException">The system refuses.</exception>
    public static void RequestPermission()
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture != Architecture.X64)
        {
            throw new CodeGenerationException("AMX tiles are used on 64-bit Linux only");
        }

        if (SystemCall(ArchPrctl, RequestComponentPermission, TileData) != 0)
        {
            throw new CodeGenerationException($"the system refuses the AMX tile registers (error {Marshal.GetLastPInvokeError()})");
        }
    }

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint SystemCall(nint number, nint first, nint second);
}

/// <summary>The 64 bytes that <c>ldtilecfg</c> reads: how many rows and bytes a row each tile register has.</summary>
[StructLayout(LayoutKind.Sequential, Size = 64)]
internal unsafe struct TileConfig
{
    private byte palette;
    private byte startRow;
    private fixed byte reserved[14];
    private fixed ushort rowBytes[16];
    private fixed byte rows[16];

    /// <summary>Shapes one tile register, from 0 to 7; both sizes at least 1.</summary>
    public void Set(int tile, int tileRows, int bytesPerRow)
    {
        palette = 1;
        startRow = 0;
        rows[tile] = (byte)tileRows;
        rowBytes[tile] = (ushort)bytesPerRow;
    }
}
