using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Antiphon.Kernels;

/// <summary>Sixteen lanes in four 128-bit vectors of .NET, which any machine has or imitates.</summary>
internal readonly unsafe struct LanesPortable(Vector128<float> v0, Vector128<float> v1, Vector128<float> v2, Vector128<float> v3) : ILanes<LanesPortable>
{
    private readonly Vector128<float> a = v0;
    private readonly Vector128<float> b = v1;
    private readonly Vector128<float> c = v2;
    private readonly Vector128<float> d = v3;

    public static LanesPortable Zero => default;

    public static LanesPortable Broadcast(float value)
    {
        Vector128<float> v = Vector128.Create(value);
        return new(v, v, v, v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable Load(float* source) =>
        new(Vector128.Load(source), Vector128.Load(source + 4), Vector128.Load(source + 8), Vector128.Load(source + 12));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable LoadHalf(ushort* source)
    {
        (Vector128<uint> a, Vector128<uint> b) = Vector128.Widen(Vector128.Load(source));
        (Vector128<uint> c, Vector128<uint> d) = Vector128.Widen(Vector128.Load(source + 8));
        return new(Half(a.AsInt32()), Half(b.AsInt32()), Half(c.AsInt32()), Half(d.AsInt32()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable LoadBFloat16(ushort* source)
    {
        (Vector128<uint> a, Vector128<uint> b) = Vector128.Widen(Vector128.Load(source));
        (Vector128<uint> c, Vector128<uint> d) = Vector128.Widen(Vector128.Load(source + 8));
        return new((a << 16).AsSingle(), (b << 16).AsSingle(), (c << 16).AsSingle(), (d << 16).AsSingle());
    }

    public static LanesPortable LoadTwice(float* source)
    {
        Vector128<float> low = Vector128.Load(source);
        Vector128<float> high = Vector128.Load(source + 4);
        return new(
            Vector128.Shuffle(low, Vector128.Create(0, 0, 1, 1)),
            Vector128.Shuffle(low, Vector128.Create(2, 2, 3, 3)),
            Vector128.Shuffle(high, Vector128.Create(0, 0, 1, 1)),
            Vector128.Shuffle(high, Vector128.Create(2, 2, 3, 3)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable FromBytes(Vector128<byte> values)
    {
        (Vector128<ushort> low, Vector128<ushort> high) = Vector128.Widen(values);
        (Vector128<uint> a, Vector128<uint> b) = Vector128.Widen(low);
        (Vector128<uint> c, Vector128<uint> d) = Vector128.Widen(high);
        return FromIntegers(a.AsInt32(), b.AsInt32(), c.AsInt32(), d.AsInt32());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable FromSignedBytes(Vector128<sbyte> values)
    {
        (Vector128<short> low, Vector128<short> high) = Vector128.Widen(values);
        (Vector128<int> a, Vector128<int> b) = Vector128.Widen(low);
        (Vector128<int> c, Vector128<int> d) = Vector128.Widen(high);
        return FromIntegers(a, b, c, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable Nibbles(byte* source, int shift, LanesPortable scale, LanesPortable offset) =>
        Fma(FromBytes(BlockParts.Bits(Vector128.Load(source), shift, 15)), scale, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable NibbleLevels(byte* source, int shift, Vector128<sbyte> levels, LanesPortable scale) =>
        FromSignedBytes(Vector128.Shuffle(levels, BlockParts.Bits(Vector128.Load(source), shift, 15).AsSByte())) * scale;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable operator +(LanesPortable left, LanesPortable right) =>
        new(left.a + right.a, left.b + right.b, left.c + right.c, left.d + right.d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable operator -(LanesPortable left, LanesPortable right) =>
        new(left.a - right.a, left.b - right.b, left.c - right.c, left.d - right.d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable operator *(LanesPortable left, LanesPortable right) =>
        new(left.a * right.a, left.b * right.b, left.c * right.c, left.d * right.d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable operator /(LanesPortable left, LanesPortable right) =>
        new(left.a / right.a, left.b / right.b, left.c / right.c, left.d / right.d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable operator -(LanesPortable value) => new(-value.a, -value.b, -value.c, -value.d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable Fma(LanesPortable left, LanesPortable right, LanesPortable addend) => new(
        Vector128.FusedMultiplyAdd(left.a, right.a, addend.a),
        Vector128.FusedMultiplyAdd(left.b, right.b, addend.b),
        Vector128.FusedMultiplyAdd(left.c, right.c, addend.c),
        Vector128.FusedMultiplyAdd(left.d, right.d, addend.d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable Max(LanesPortable left, LanesPortable right) =>
        new(Max(left.a, right.a), Max(left.b, right.b), Max(left.c, right.c), Max(left.d, right.d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable Min(LanesPortable left, LanesPortable right) => IfLess(left, right, left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable Abs(LanesPortable value) =>
        new(Vector128.Abs(value.a), Vector128.Abs(value.b), Vector128.Abs(value.c), Vector128.Abs(value.d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable IfLess(LanesPortable left, LanesPortable right, LanesPortable yes, LanesPortable no) => new(
        Vector128.ConditionalSelect(Vector128.LessThan(left.a, right.a), yes.a, no.a),
        Vector128.ConditionalSelect(Vector128.LessThan(left.b, right.b), yes.b, no.b),
        Vector128.ConditionalSelect(Vector128.LessThan(left.c, right.c), yes.c, no.c),
        Vector128.ConditionalSelect(Vector128.LessThan(left.d, right.d), yes.d, no.d));

    public static bool AnyGreater(LanesPortable left, LanesPortable right) =>
        Vector128.GreaterThanAny(left.a, right.a) || Vector128.GreaterThanAny(left.b, right.b)
        || Vector128.GreaterThanAny(left.c, right.c) || Vector128.GreaterThanAny(left.d, right.d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable Round(LanesPortable value) =>
        new(Vector128.Round(value.a), Vector128.Round(value.b), Vector128.Round(value.c), Vector128.Round(value.d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static LanesPortable Power2(LanesPortable exponent) =>
        new(Power2(exponent.a), Power2(exponent.b), Power2(exponent.c), Power2(exponent.d));

    public static LanesPortable SwapPairs(LanesPortable value)
    {
        Vector128<int> order = Vector128.Create(1, 0, 3, 2);
        return new(
            Vector128.Shuffle(value.a, order), Vector128.Shuffle(value.b, order), Vector128.Shuffle(value.c, order), Vector128.Shuffle(value.d, order));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store(float* destination)
    {
        a.Store(destination);
        b.Store(destination + 4);
        c.Store(destination + 8);
        d.Store(destination + 12);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public float Sum() => Sum((a + c) + (b + d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public float Maximum() => Maximum(Max(Max(a, c), Max(b, d)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector128<float> four) => (four[0] + four[2]) + (four[1] + four[3]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Maximum(Vector128<float> four) => Greater(Greater(four[0], four[2]), Greater(four[1], four[3]));

    private static float Greater(float left, float right) => left > right ? left : right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Max(Vector128<float> left, Vector128<float> right) =>
        Vector128.ConditionalSelect(Vector128.GreaterThan(left, right), left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Power2(Vector128<float> exponent) =>
        ((Vector128.ConvertToInt32(exponent) + Vector128.Create(127)) << 23).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static LanesPortable FromIntegers(Vector128<int> a, Vector128<int> b, Vector128<int> c, Vector128<int> d) =>
        new(Vector128.ConvertToSingle(a), Vector128.ConvertToSingle(b), Vector128.ConvertToSingle(c), Vector128.ConvertToSingle(d));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Half(Vector128<int> h)
    {
        Vector128<int> magnitude = (h & Vector128.Create(0x7FFF)) << 13;
        Vector128<int> normal = magnitude + Vector128.Create(112 << 23);
        Vector128<int> special = magnitude | Vector128.Create(0x7F800000);
        Vector128<int> tiny = (Vector128.ConvertToSingle(h & Vector128.Create(0x3FF)) * Vector128.Create(1f / (1 << 24))).AsInt32();
        Vector128<int> result = Vector128.ConditionalSelect(Vector128.LessThan(magnitude, Vector128.Create(1 << 23)), tiny, normal);
        result = Vector128.ConditionalSelect(Vector128.GreaterThan(magnitude, Vector128.Create((31 << 23) - 1)), special, result);
        return (result | ((h & Vector128.Create(0x8000)) << 16)).AsSingle();
    }
}
