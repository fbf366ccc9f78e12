using System.Runtime.InteropServices;
using Antiphon.Kernels.Jit;

namespace Antiphon.Kernels.Tiled;

/// <summary>The argument block of <see cref="BlockKernel"/>; counters and cursors are left changed.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct BlockArguments
{
    public const int KeysField = 0;
    public const int KeyStrideField = 1;
    public const int ValuesField = 2;
    public const int QueriesField = 3;
    public const int StateField = 4;
    public const int BlocksField = 5;
    public const int LastStepsField = 6;
    public const int VisibleField = 7;
    public const int ScratchField = 8;
    public const int ConfigField = 9;
    public const int ScaleField = 10;
    public const int ModeField = 11;
    public const int StepsField = 12;

    /// <summary>For every 16 keys, where their rows begin.</summary>
    public byte** Keys;

    /// <summary>Bytes from a key row to the next.</summary>
    public nint KeyStride;

    /// <summary>For every 32 keys and value of a row, the 32 values of that place.</summary>
    public byte* Values;

    /// <summary>For every 16 queries and 32 values of a query, 16 rows with a pair of values of each query.</summary>
    public byte* Queries;

    /// <summary>The states, one for every 16 queries: see <see cref="TiledSizes.StateBytes"/>.</summary>
    public byte* State;

    /// <summary>Blocks of 128 keys, at least 1.</summary>
    public nint Blocks;

    /// <summary>Steps of 32 keys in the last block, 1 to 4.</summary>
    public nint LastSteps;

    /// <summary>For each key (and each 16 queries), a bit for each query that sees it; kernels without masks do not read it.</summary>
    public ushort* Visible;

    /// <summary>Memory for the kernel's own use, aligned to 64.</summary>
    public byte* Scratch;

    /// <summary>The shapes of the tile registers: all are 16 rows of 64 bytes.</summary>
    public TileConfig* Config;

    /// <summary>In the low half, the float by which scores become powers of two.</summary>
    public nint Scale;

    /// <summary>The thread's floating-point modes meanwhile, and those of the kernel.</summary>
    public nint Mode;

    /// <summary>Steps of the block at hand.</summary>
    public nint Steps;
}
