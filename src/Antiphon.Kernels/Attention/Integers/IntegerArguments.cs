using System.Runtime.InteropServices;

namespace Antiphon.Kernels.Integers;

/// <summary>The argument block of the score kernel of <see cref="IntegerKernels"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ScoreArguments
{
    public const int QueriesField = 0;
    public const int KeysField = 1;
    public const int KeyScalesField = 2;
    public const int ScoresField = 3;
    public const int GreatestField = 4;
    public const int CountField = 5;

    /// <summary>Pairs of values, for each a dword of every query.</summary>
    public short* Queries;

    /// <summary>Rows of keys.</summary>
    public short* Keys;

    /// <summary>The scale of each key.</summary>
    public float* KeyScales;

    /// <summary>Receives for each key a float of every query.</summary>
    public float* Scores;

    /// <summary>Receives the greatest score of every query.</summary>
    public float* Greatest;

    /// <summary>Eights of keys, at least 1.</summary>
    public nint Count;
}

/// <summary>The argument block of the value kernel of <see cref="IntegerKernels"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ValueArguments
{
    public const int WeightsField = 0;
    public const int ValuesField = 1;
    public const int UnitsField = 2;
    public const int OutputsField = 3;
    public const int CountField = 4;

    /// <summary>Pairs of keys, for each a dword of every query.</summary>
    public int* Weights;

    /// <summary>For every eight values of a row and every pair of keys, the eight pairs of values.</summary>
    public int* Values;

    /// <summary>What a weight of one is worth, for every query.</summary>
    public float* Units;

    /// <summary>For each value a float of every query, which is added to.</summary>
    public float* Outputs;

    /// <summary>Fours of pairs of keys, at least 1.</summary>
    public nint Count;
}
