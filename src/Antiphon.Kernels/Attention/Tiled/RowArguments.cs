using System.Runtime.InteropServices;

namespace Antiphon.Kernels.Tiled;

/// <summary>The argument block of <see cref="RowKernels"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct RowArguments
{
    public const int RowsField = 0;
    public const int DestinationField = 1;
    public const int CountField = 2;
    public const int FactorsField = 3;
    public const int AheadField = 4;

    /// <summary>Where each row begins.</summary>
    public byte** Rows;

    /// <summary>Where the result goes; for outputs, the weighted sums that they come from.</summary>
    public byte* Destination;

    /// <summary>Number of rows, at least 1, where that is not fixed.</summary>
    public nint Count;

    /// <summary>For outputs, a factor for each query.</summary>
    public float* Factors;

    /// <summary>For values, rows that will be needed next: 32 value rows, then 32 key rows.</summary>
    public byte** Ahead;
}
