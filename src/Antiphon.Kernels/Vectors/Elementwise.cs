using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>A function of one or two values that is applied to whole rows. Structs with their parameters, so that each becomes a loop of its own.</summary>
internal interface IElementwise
{
    /// <summary>The result for sixteen pairs; functions of one value leave the second alone.</summary>
    T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T>;
}

internal readonly struct AddElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => a + b;
}

internal readonly struct MultiplyElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => a * b;
}

/// <summary>a + factor * b, rounded once.</summary>
internal readonly struct AddScaledElements(float factor) : IElementwise
{
    private readonly float factor = factor;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => T.Fma(T.Broadcast(factor), b, a);
}

internal readonly struct ScaleElements(float factor) : IElementwise
{
    private readonly float factor = factor;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => a * T.Broadcast(factor);
}

internal readonly struct ExpElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => LaneMath<T>.Exp(a);
}

internal readonly struct SigmoidElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => LaneMath<T>.Sigmoid(a);
}

internal readonly struct TanhElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => LaneMath<T>.Tanh(a);
}

internal readonly struct SiluElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => LaneMath<T>.Silu(a);
}

internal readonly struct GeluErfElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => LaneMath<T>.GeluErf(a);
}

internal readonly struct GeluTanhElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => LaneMath<T>.GeluTanh(a);
}

/// <summary>max(x, 0) squared.</summary>
internal readonly struct ReluSquaredElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T>
    {
        T positive = T.Max(T.Zero, a);
        return positive * positive;
    }
}

internal readonly struct ReluElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => T.Max(T.Zero, a);
}

/// <summary>cap * tanh(x / cap).</summary>
internal readonly struct SoftCapElements(float cap) : IElementwise
{
    private readonly float cap = cap;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => LaneMath<T>.Tanh(a / T.Broadcast(cap)) * T.Broadcast(cap);
}

/// <summary>silu(gate) * up.</summary>
internal readonly struct SiluGateElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => LaneMath<T>.Silu(a) * b;
}

/// <summary>gelu(gate) * up, with the exact GELU.</summary>
internal readonly struct GeluErfGateElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => LaneMath<T>.GeluErf(a) * b;
}

/// <summary>gelu(gate) * up, with the tanh form.</summary>
internal readonly struct GeluTanhGateElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => LaneMath<T>.GeluTanh(a) * b;
}

/// <summary>gpt-oss: gate capped above, up clamped on both sides, gate * sigmoid(alpha * gate) * (up + 1).</summary>
internal readonly struct ClampedSwigluElements(float alpha, float limit) : IElementwise
{
    private readonly float alpha = alpha;
    private readonly float limit = limit;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T>
    {
        T gate = T.Min(T.Broadcast(limit), a);
        T up = T.Max(T.Broadcast(-limit), T.Min(T.Broadcast(limit), b));
        return gate * LaneMath<T>.Sigmoid(gate * T.Broadcast(alpha)) * (up + T.Broadcast(1f));
    }
}

/// <summary>(x - shift) * factor * weight.</summary>
internal readonly struct NormalizeElements(float shift, float factor, bool addOne) : IElementwise
{
    private readonly float shift = shift;
    private readonly float factor = factor;
    private readonly float one = addOne ? 1f : 0f;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => (a - T.Broadcast(shift)) * T.Broadcast(factor) * (b + T.Broadcast(one));
}

/// <summary>max(gate, 0) * up.</summary>
internal readonly struct ReluGateElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => T.Max(T.Zero, a) * b;
}

/// <summary>max(gate, 0) squared, times up.</summary>
internal readonly struct ReluSquaredGateElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => default(ReluSquaredElements).Apply(a, b) * b;
}

/// <summary>sigmoid(gate) * up.</summary>
internal readonly struct SigmoidGateElements : IElementwise
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public T Apply<T>(T a, T b)
        where T : unmanaged, ILanes<T> => LaneMath<T>.Sigmoid(a) * b;
}
