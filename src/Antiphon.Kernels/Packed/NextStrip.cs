using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels.Packed;

/// <summary>Fetches the strip of a file that is packed next, piece by piece while another is packed, so that no row begins with a wait: rows are too short for a processor to foresee.</summary>
internal static unsafe class NextStrip
{
    /// <summary>Asks for some bytes, which may lie behind the end of the file.</summary>
    /// <param name="next">The first byte.</param>
    /// <param name="bytes">How many.</param>
    /// <returns>The byte behind them.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Fetch(byte* next, int bytes)
    {
        for (int at = 0; Sse.IsSupported && at < bytes; at += 64)
        {
            Sse.Prefetch1(next + at);
        }

        return next + bytes;
    }
}
