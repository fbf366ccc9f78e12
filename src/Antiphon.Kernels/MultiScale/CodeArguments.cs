using System.Runtime.InteropServices;
using Antiphon.Kernels.Jit;

namespace Antiphon.Kernels.MultiScale;

/// <summary>The argument block of the generated kernels. Each uses some fields; those that count down or move on are left changed.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct CodeArguments
{
    public const int WeightsField = 0;
    public const int CodesAtField = 1;
    public const int StripBytesField = 2;
    public const int StripsField = 3;
    public const int StepsField = 4;
    public const int InputField = 5;
    public const int SumsField = 6;
    public const int DigitsField = 7;
    public const int FactorsField = 8;
    public const int OutputField = 9;
    public const int OutputStrideField = 10;
    public const int ScratchField = 11;
    public const int ConfigField = 12;
    public const int AheadField = 13;
    public const int AheadEndField = 14;
    public const int InputStepField = 15;
    public const int SumsStepField = 16;
    public const int DigitsStepField = 17;

    /// <summary>The first strip.</summary>
    public byte* Weights;

    /// <summary>Bytes from the start of a strip to its codes.</summary>
    public nint CodesAt;

    /// <summary>Bytes of a strip.</summary>
    public nint StripBytes;

    /// <summary>Strips, at least 1.</summary>
    public nint Strips;

    /// <summary>Tiles of a strip, at least 1.</summary>
    public nint Steps;

    /// <summary>The integers of the group.</summary>
    public byte* Input;

    /// <summary>Minus their sums over the format's blocks.</summary>
    public byte* Sums;

    /// <summary>The digits of those.</summary>
    public byte* Digits;

    /// <summary>The two factors of each token.</summary>
    public byte* Factors;

    /// <summary>Where the first token's outputs go.</summary>
    public byte* Output;

    /// <summary>Bytes from a token's outputs to the next one's.</summary>
    public nint OutputStride;

    /// <summary>Memory for the kernel's own use, aligned to 64.</summary>
    public byte* Scratch;

    /// <summary>The shapes of the tile registers.</summary>
    public TileConfig* Config;

    /// <summary>What a kernel on unpacked strips fetches into the cache meanwhile: the weights that are read next.</summary>
    public byte* Ahead;

    /// <summary>Where to stop fetching ahead.</summary>
    public byte* AheadEnd;

    /// <summary>Bytes from the integers of a tile to those of the next.</summary>
    public nint InputStep;

    /// <summary>Bytes from the sums of a tile to those of the next.</summary>
    public nint SumsStep;

    /// <summary>Bytes from the digits of a super-block to those of the next.</summary>
    public nint DigitsStep;
}
