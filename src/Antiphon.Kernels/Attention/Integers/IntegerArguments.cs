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
    public const int AheadField = 6;

    /// <summary>Pairs of values, for each a dword of every query.</summary>
    public short* Queries;

    /// <summary>Where eights of keys begin, and where what follows them begins.</summary>
    public short** Keys;

    /// <summary>The scale of each key.</summary>
    public float* KeyScales;

    /// <summary>Receives for each key a float of every query.</summary>
    public float* Scores;

    /// <summary>Receives the greatest score of every query.</summary>
    public float* Greatest;

    /// <summary>Eights of keys, at least 1.</summary>
    public nint Count;

    /// <summary>What is asked for meanwhile, so that it is in the second-level cache later: half as many bytes as the keys that are multiplied.</summary>
    public byte* Ahead;
}

/// <summary>The argument block of the value kernel of <see cref="IntegerKernels"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ValueArguments
{
    public const int ScoresField = 0;
    public const int FactorsField = 1;
    public const int ShiftsField = 2;
    public const int SumsField = 3;
    public const int ValueScalesField = 4;
    public const int ScratchField = 5;
    public const int ValuesField = 6;
    public const int OutputsField = 7;
    public const int CountField = 8;

    /// <summary>For each of 64 keys the score of every query; pairs of weights take their place.</summary>
    public float* Scores;

    /// <summary>What the scores of every query are multiplied with.</summary>
    public float* Factors;

    /// <summary>What is then subtracted, for every query.</summary>
    public float* Shifts;

    /// <summary>The sum of the weights of every query, which is added to.</summary>
    public float* Sums;

    /// <summary>The scale of each value row.</summary>
    public float* ValueScales;

    /// <summary>Room for <see cref="IntegerKernels.ScratchFloats"/>.</summary>
    public float* Scratch;

    /// <summary>For every eight values of a row and every pair of keys, the eight pairs of values.</summary>
    public int* Values;

    /// <summary>For each value a float of every query, which is added to.</summary>
    public float* Outputs;

    /// <summary>Fours of pairs of keys that have weights, at least 1.</summary>
    public nint Count;
}
