using System.Runtime.InteropServices;

namespace Antiphon.Kernels.Packed;

/// <summary>The argument block of the generated matrix kernels. Each uses some fields; those that count down are left changed.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct TileArguments
{
    public const int WeightsField = 0;
    public const int StripBytesField = 1;
    public const int TilesField = 2;
    public const int StepsField = 3;
    public const int InputField = 4;
    public const int GroupBytesField = 5;
    public const int LastStrideField = 6;
    public const int TokensField = 7;
    public const int OutputField = 8;
    public const int OutputStrideField = 9;
    public const int ScratchField = 10;
    public const int ConfigField = 11;
    public const int Counter0Field = 12;
    public const int Counter1Field = 13;
    public const int Counter2Field = 14;
    public const int Counter3Field = 15;
    public const int SecondInputField = 16;
    public const int NextInputField = 17;
    public const int SumsField = 18;
    public const int ResumeField = 19;
    public const int KeepField = 20;

    /// <summary>The first tile.</summary>
    public byte* Weights;

    /// <summary>Bytes from a strip to the next (panel kernel).</summary>
    public nint StripBytes;

    /// <summary>Tiles in all, at least 1.</summary>
    public nint Tiles;

    /// <summary>Tiles of a strip, at least 1.</summary>
    public nint Steps;

    /// <summary>The packed activations.</summary>
    public byte* Input;

    /// <summary>Bytes from a group of activations (AVX-512: a token) to the next.</summary>
    public nint GroupBytes;

    /// <summary>Bytes from a row of pairs of the last group to the next: 4 for each of its tokens.</summary>
    public nint LastStride;

    /// <summary>Tokens of the last group (AVX-512: of all).</summary>
    public nint Tokens;

    /// <summary>Where the first token's outputs go.</summary>
    public byte* Output;

    /// <summary>Bytes from a token's outputs to the next one's.</summary>
    public nint OutputStride;

    /// <summary>Memory for the kernel's own use, aligned to 64.</summary>
    public byte* Scratch;

    /// <summary>The shapes of the tile registers.</summary>
    public Jit.TileConfig* Config;

    /// <summary>How often to repeat (panel kernel: strips or pairs of strips); else for the kernel's own use.</summary>
    public nint Counter0;
    public nint Counter1;
    public nint Counter2;
    public nint Counter3;

    /// <summary>The second group's activations (panel kernel).</summary>
    public byte* SecondInput;

    /// <summary>Bytes from these activations to those that will be multiplied next (panel kernel).</summary>
    public nint NextInput;

    /// <summary>Where sums are kept between the parts of a cut chain (panel kernel).</summary>
    public byte* Sums;

    /// <summary>Whether to begin with the sums kept rather than with zero (panel kernel).</summary>
    public nint Resume;

    /// <summary>Whether to keep the sums rather than to write outputs (panel kernel).</summary>
    public nint Keep;
}
