using System.Runtime.Intrinsics;

namespace Antiphon.Kernels;

/// <summary>
/// Sixteen float32 values that are computed with at once, however many registers the machine needs for that. Kernels are written once over this
/// interface; since every operation is defined per lane and <see cref="Sum"/> by a fixed tree, all tiers give the same bits.
/// </summary>
internal unsafe interface ILanes<T>
    where T : unmanaged, ILanes<T>
{
    /// <summary>Number of lanes.</summary>
    const int Count = 16;

    static abstract T Zero { get; }

    static abstract T Broadcast(float value);

    static abstract T Load(float* source);

    /// <summary>Sixteen IEEE half-precision values, exactly.</summary>
    static abstract T LoadHalf(ushort* source);

    /// <summary>Sixteen bfloat16 values, exactly.</summary>
    static abstract T LoadBFloat16(ushort* source);

    /// <summary>Eight values, each in two neighbouring lanes.</summary>
    static abstract T LoadTwice(float* source);

    static abstract T FromBytes(Vector128<byte> values);

    static abstract T FromSignedBytes(Vector128<sbyte> values);

    /// <summary>scale * q + offset, rounded once, where q is the four bits of each of sixteen bytes from bit <paramref name="shift"/> (0 or 4) on.</summary>
    static abstract T Nibbles(byte* source, int shift, T scale, T offset);

    /// <summary>scale * levels[q]; see <see cref="Nibbles"/>.</summary>
    static abstract T NibbleLevels(byte* source, int shift, Vector128<sbyte> levels, T scale);

    static abstract T operator +(T left, T right);

    static abstract T operator -(T left, T right);

    static abstract T operator *(T left, T right);

    static abstract T operator /(T left, T right);

    static abstract T operator -(T value);

    /// <summary>left * right + addend, rounded once.</summary>
    static abstract T Fma(T left, T right, T addend);

    /// <summary>left where it is greater than right, else right; so right where either is not a number.</summary>
    static abstract T Max(T left, T right);

    /// <summary>left where it is less than right, else right; so right where either is not a number.</summary>
    static abstract T Min(T left, T right);

    static abstract T Abs(T value);

    /// <summary>yes where left is less than right, else no.</summary>
    static abstract T IfLess(T left, T right, T yes, T no);

    /// <summary>Whether any lane of left is greater than right's.</summary>
    static abstract bool AnyGreater(T left, T right);

    /// <summary>To the nearest whole number, ties to even.</summary>
    static abstract T Round(T value);

    /// <summary>2 to the power of whole numbers from -126 to 127.</summary>
    static abstract T Power2(T exponent);

    /// <summary>Exchanges lanes 0 and 1, 2 and 3, ….</summary>
    static abstract T SwapPairs(T value);

    void Store(float* destination);

    /// <summary>Adds all lanes: lane i to lane i + 8, then i to i + 4, i + 2, i + 1.</summary>
    float Sum();

    /// <summary>The sums of eight, as <see cref="Sum"/> gives each: of the first four to <c>sums</c>, of the other four to <c>others</c>.</summary>
    static virtual void SumEight(T a, T b, T c, T d, T e, T f, T g, T h, float* sums, float* others)
    {
        sums[0] = a.Sum();
        sums[1] = b.Sum();
        sums[2] = c.Sum();
        sums[3] = d.Sum();
        others[0] = e.Sum();
        others[1] = f.Sum();
        others[2] = g.Sum();
        others[3] = h.Sum();
    }

    /// <summary>The greatest lane, by <see cref="Max"/> in the tree of <see cref="Sum"/>.</summary>
    float Maximum();
}
