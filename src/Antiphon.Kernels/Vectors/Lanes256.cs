using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels;

/// <summary>Sixteen lanes in two AVX2 registers.</summary>
internal readonly unsafe struct Lanes256(Vector256<float> low, Vector256<float> high) : ILanes<Lanes256>
{
    private readonly Vector256<float> a = low;
    private readonly Vector256<float> b = high;

    public static Lanes256 Zero
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(Vector256<float>.Zero, Vector256<float>.Zero);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Broadcast(float value) => new(Vector256.Create(value), Vector256.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Load(float* source) => new(Vector256.Load(source), Vector256.Load(source + 8));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadHalf(ushort* source) => new(Half(source), Half(source + 8));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadBFloat16(ushort* source) => new(
        (Avx2.ConvertToVector256Int32(Vector128.Load(source)) << 16).AsSingle(),
        (Avx2.ConvertToVector256Int32(Vector128.Load(source + 8)) << 16).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 LoadTwice(float* source)
    {
        Vector256<float> values = Vector256.Load(source);
        return new(
            Avx2.PermuteVar8x32(values, Vector256.Create(0, 0, 1, 1, 2, 2, 3, 3)),
            Avx2.PermuteVar8x32(values, Vector256.Create(4, 4, 5, 5, 6, 6, 7, 7)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 FromBytes(Vector128<byte> values) => new(
        Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32(values)),
        Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32(Sse2.ShiftRightLogical128BitLane(values, 8))));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 FromSignedBytes(Vector128<sbyte> values) => new(
        Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32(values)),
        Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32(Sse2.ShiftRightLogical128BitLane(values, 8))));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Nibbles(byte* source, int shift, Lanes256 scale, Lanes256 offset) =>
        Fma(FromBytes(BlockParts.Bits(Vector128.Load(source), shift, 15)), scale, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 NibbleLevels(byte* source, int shift, Vector128<sbyte> levels, Lanes256 scale) =>
        FromSignedBytes(Vector128.Shuffle(levels, BlockParts.Bits(Vector128.Load(source), shift, 15).AsSByte())) * scale;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator +(Lanes256 left, Lanes256 right) => new(left.a + right.a, left.b + right.b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator -(Lanes256 left, Lanes256 right) => new(left.a - right.a, left.b - right.b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator *(Lanes256 left, Lanes256 right) => new(left.a * right.a, left.b * right.b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator /(Lanes256 left, Lanes256 right) => new(left.a / right.a, left.b / right.b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 operator -(Lanes256 value) => new(-value.a, -value.b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Fma(Lanes256 left, Lanes256 right, Lanes256 addend) => new(
        System.Runtime.Intrinsics.X86.Fma.MultiplyAdd(left.a, right.a, addend.a),
        System.Runtime.Intrinsics.X86.Fma.MultiplyAdd(left.b, right.b, addend.b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Max(Lanes256 left, Lanes256 right) => new(Avx.Max(left.a, right.a), Avx.Max(left.b, right.b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Min(Lanes256 left, Lanes256 right) => new(Avx.Min(left.a, right.a), Avx.Min(left.b, right.b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Abs(Lanes256 value) => new(Vector256.Abs(value.a), Vector256.Abs(value.b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 IfLess(Lanes256 left, Lanes256 right, Lanes256 yes, Lanes256 no) => new(
        Vector256.ConditionalSelect(Vector256.LessThan(left.a, right.a), yes.a, no.a),
        Vector256.ConditionalSelect(Vector256.LessThan(left.b, right.b), yes.b, no.b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyGreater(Lanes256 left, Lanes256 right) =>
        Vector256.GreaterThanAny(left.a, right.a) || Vector256.GreaterThanAny(left.b, right.b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Round(Lanes256 value) => new(Avx.RoundToNearestInteger(value.a), Avx.RoundToNearestInteger(value.b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 Power2(Lanes256 exponent) => new(
        ((Avx.ConvertToVector256Int32(exponent.a) + Vector256.Create(127)) << 23).AsSingle(),
        ((Avx.ConvertToVector256Int32(exponent.b) + Vector256.Create(127)) << 23).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes256 SwapPairs(Lanes256 value) => new(Avx.Permute(value.a, 0b10_11_00_01), Avx.Permute(value.b, 0b10_11_00_01));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store(float* destination)
    {
        a.Store(destination);
        b.Store(destination + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public float Sum() => Sum(a + b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public float Maximum() => Maximum(Avx.Max(a, b));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector256<float> eight) => LanesPortable.Sum(eight.GetLower() + eight.GetUpper());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Maximum(Vector256<float> eight) => LanesPortable.Maximum(Sse.Max(eight.GetLower(), eight.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Half(ushort* source)
    {
        Vector256<int> h = Avx2.ConvertToVector256Int32(Vector128.Load(source));
        Vector256<int> magnitude = (h & Vector256.Create(0x7FFF)) << 13;
        Vector256<int> normal = magnitude + Vector256.Create(112 << 23);
        Vector256<int> special = magnitude | Vector256.Create(0x7F800000);
        Vector256<int> tiny = (Vector256.ConvertToSingle(h & Vector256.Create(0x3FF)) * Vector256.Create(1f / (1 << 24))).AsInt32();
        Vector256<int> result = Vector256.ConditionalSelect(Vector256.LessThan(magnitude, Vector256.Create(1 << 23)), tiny, normal);
        result = Vector256.ConditionalSelect(Vector256.GreaterThan(magnitude, Vector256.Create((31 << 23) - 1)), special, result);
        return (result | ((h & Vector256.Create(0x8000)) << 16)).AsSingle();
    }
}
