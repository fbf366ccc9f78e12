using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>Elementary functions on sixteen lanes, as polynomials: the same bits on every tier, within about 2 ulp of the true value.</summary>
internal static class LaneMath<T>
    where T : unmanaged, ILanes<T>
{
    /// <summary>e to the power of x. Exact limits: 0 below about -104, infinity above 88.72; not a number stays one.</summary>
    /// <remarks>x = n ln 2 + r; e^r by its series up to r^7, whose rest is below a thirtieth of an ulp for |r| up to ln 2 / 2.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Exp(T x)
    {
        // The operands' order keeps "not a number".
        x = T.Min(T.Broadcast(89f), T.Max(T.Broadcast(-105f), x));
        T n = T.Round(x * T.Broadcast(1.44269504f));
        T r = T.Fma(n, T.Broadcast(-0.693359375f), x);
        r = T.Fma(n, T.Broadcast(2.12194440e-4f), r);
        T p = T.Broadcast(1f / 5040);
        p = T.Fma(p, r, T.Broadcast(1f / 720));
        p = T.Fma(p, r, T.Broadcast(1f / 120));
        p = T.Fma(p, r, T.Broadcast(1f / 24));
        p = T.Fma(p, r, T.Broadcast(1f / 6));
        p = T.Fma(p, r, T.Broadcast(0.5f));
        p = T.Fma(p, r, T.Broadcast(1f));
        p = T.Fma(p, r, T.Broadcast(1f));

        // Two factors, because the exponent of one float does not reach as far as subnormal results need.
        T half = T.Round(n * T.Broadcast(0.5f));
        return p * T.Power2(half) * T.Power2(n - half);
    }

    /// <summary>1 / (1 + e^-x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Sigmoid(T x) => T.Broadcast(1f) / (T.Broadcast(1f) + Exp(-x));

    /// <summary>x / (1 + e^-x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Silu(T x) => x / (T.Broadcast(1f) + Exp(-x));

    /// <summary>Hyperbolic tangent.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Tanh(T x)
    {
        T magnitude = T.Abs(x);
        T s = x * x;
        T q = T.Broadcast(0.002269501633043833f);
        q = T.Fma(q, s, T.Broadcast(-0.008323186993774458f));
        q = T.Fma(q, s, T.Broadcast(0.021762502877077237f));
        q = T.Fma(q, s, T.Broadcast(-0.05395846162099901f));
        q = T.Fma(q, s, T.Broadcast(0.13333300146129104f));
        q = T.Fma(q, s, T.Broadcast(-0.33333333149372757f));
        T small = T.Fma(q * s, x, x);

        T e = Exp(magnitude * T.Broadcast(-2f));
        T large = (T.Broadcast(1f) - e) / (T.Broadcast(1f) + e);
        large = T.IfLess(x, T.Zero, -large, large);
        return T.IfLess(magnitude, T.Broadcast(0.625f), small, large);
    }

    /// <summary>x times the normal distribution function of x: the exact form of GELU.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T GeluErf(T x)
    {
        // erfc(z) = e^(-z²) P(1 / (1 + z/2)), with what squaring rounds off put back.
        T z = T.Min(T.Broadcast(10.2f), T.Abs(x) * T.Broadcast(0.70710678f));
        T u = (T.Broadcast(1f) / T.Fma(z, T.Broadcast(0.5f), T.Broadcast(1f))) - T.Broadcast(0.55f);
        T p = T.Broadcast(0.013928222337373015f);
        p = T.Fma(p, u, T.Broadcast(0.029578096840331844f));
        p = T.Fma(p, u, T.Broadcast(-0.06409630415598419f));
        p = T.Fma(p, u, T.Broadcast(-0.02161708034070009f));
        p = T.Fma(p, u, T.Broadcast(0.12185024085417481f));
        p = T.Fma(p, u, T.Broadcast(-0.010590107993766794f));
        p = T.Fma(p, u, T.Broadcast(-0.23352092566004684f));
        p = T.Fma(p, u, T.Broadcast(0.002274039606439418f));
        p = T.Fma(p, u, T.Broadcast(0.6380665051830439f));
        p = T.Fma(p, u, T.Broadcast(1.0620186871330957f));
        p = T.Fma(p, u, T.Broadcast(0.9557964761888609f));
        p = T.Fma(p, u, T.Broadcast(0.3006101244357745f));
        T square = z * z;
        T rest = T.Fma(z, z, -square);
        T e = Exp(-square);
        T halfTail = T.Fma(-e, rest, e) * p * T.Broadcast(0.5f);
        return x * T.IfLess(x, T.Zero, halfTail, T.Broadcast(1f) - halfTail);
    }

    /// <summary>GELU with the hyperbolic tangent in place of the error function.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T GeluTanh(T x)
    {
        // 0.5 (1 + tanh u) = 1 / (1 + e^(-2u))
        T cubic = T.Fma(x * x, T.Broadcast(0.044715f), T.Broadcast(1f)) * x;
        return x / (T.Broadcast(1f) + Exp(cubic * T.Broadcast(-1.5957691216f)));
    }
}
