using System.Runtime.CompilerServices;

namespace Antiphon.Kernels.Integers;

/// <summary>The weights of <see cref="IntegerArithmetic"/> in lanes.</summary>
internal static class IntegerMath<T>
    where T : unmanaged, ILanes<T>
{
    /// <summary>e^x for scores relative to the shift.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Weight(T x)
    {
        T rounder = T.Broadcast(IntegerArithmetic.Rounder);
        x = T.Max(x, T.Broadcast(IntegerArithmetic.LowestScore));
        T n = T.Fma(x, T.Broadcast(IntegerArithmetic.Log2E), rounder) - rounder;
        T r = T.Fma(n, T.Broadcast(-IntegerArithmetic.Ln2), x);
        T p = T.Broadcast(IntegerArithmetic.Power[3]);
        p = T.Fma(p, r, T.Broadcast(IntegerArithmetic.Power[2]));
        p = T.Fma(p, r, T.Broadcast(IntegerArithmetic.Power[1]));
        p = T.Fma(p, r, T.Broadcast(IntegerArithmetic.Power[0]));
        return T.Fma(p, r, T.Broadcast(1f)) * T.Power2(n);
    }
}
