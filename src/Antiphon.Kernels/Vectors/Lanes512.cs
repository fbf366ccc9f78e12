using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels;

/// <summary>Sixteen lanes in one AVX-512 register.</summary>
internal readonly unsafe struct Lanes512(Vector512<float> value) : ILanes<Lanes512>
{
    private readonly Vector512<float> v = value;

    public static Lanes512 Zero
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(Vector512<float>.Zero);
    }

    public Vector512<float> Value
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => v;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Broadcast(float value) => new(Vector512.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Load(float* source) => new(Vector512.Load(source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadHalf(ushort* source)
    {
        Vector512<uint> h = Avx512F.ConvertToVector512UInt32(Vector256.Load(source));
        Vector512<uint> magnitude = (h & Vector512.Create(0x7FFFu)) << 13;
        Vector512<uint> normal = magnitude + Vector512.Create(112u << 23);
        Vector512<uint> special = magnitude | Vector512.Create(0x7F800000u);
        Vector512<uint> tiny = (Vector512.ConvertToSingle((h & Vector512.Create(0x3FFu)).AsInt32()) * Vector512.Create(1f / (1 << 24))).AsUInt32();
        Vector512<uint> result = Vector512.ConditionalSelect(Vector512.LessThan(magnitude, Vector512.Create(1u << 23)), tiny, normal);
        result = Vector512.ConditionalSelect(Vector512.GreaterThanOrEqual(magnitude, Vector512.Create(31u << 23)), special, result);
        return new((result | ((h & Vector512.Create(0x8000u)) << 16)).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadBFloat16(ushort* source) => new((Avx512F.ConvertToVector512UInt32(Vector256.Load(source)) << 16).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 LoadTwice(float* source) => new(Avx512F.PermuteVar16x32(
        Vector512.Create(Vector256.Load(source), Vector256<float>.Zero), Vector512.Create(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 FromBytes(Vector128<byte> values) => new(Vector512.ConvertToSingle(Avx512F.ConvertToVector512Int32(values)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 FromSignedBytes(Vector128<sbyte> values) => new(Vector512.ConvertToSingle(Avx512F.ConvertToVector512Int32(values)));

    // The sixteen possible values are computed once and looked up: no conversions. The permutation looks at the lowest four bits of an index alone.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Nibbles(byte* source, int shift, Lanes512 scale, Lanes512 offset)
    {
        Vector512<float> values = Avx512F.FusedMultiplyAdd(
            Vector512.Create(0f, 1f, 2f, 3f, 4f, 5f, 6f, 7f, 8f, 9f, 10f, 11f, 12f, 13f, 14f, 15f), scale.v, offset.v);
        return new(Avx512F.PermuteVar16x32(values, Indices(source, shift)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 NibbleLevels(byte* source, int shift, Vector128<sbyte> levels, Lanes512 scale) =>
        new(Avx512F.PermuteVar16x32((FromSignedBytes(levels) * scale).v, Indices(source, shift)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator +(Lanes512 left, Lanes512 right) => new(left.v + right.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator -(Lanes512 left, Lanes512 right) => new(left.v - right.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator *(Lanes512 left, Lanes512 right) => new(left.v * right.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator /(Lanes512 left, Lanes512 right) => new(left.v / right.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 operator -(Lanes512 value) => new(-value.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Fma(Lanes512 left, Lanes512 right, Lanes512 addend) => new(Avx512F.FusedMultiplyAdd(left.v, right.v, addend.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Max(Lanes512 left, Lanes512 right) => new(Avx512F.Max(left.v, right.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Min(Lanes512 left, Lanes512 right) => new(Avx512F.Min(left.v, right.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Abs(Lanes512 value) => new(Vector512.Abs(value.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 IfLess(Lanes512 left, Lanes512 right, Lanes512 yes, Lanes512 no) =>
        new(Vector512.ConditionalSelect(Vector512.LessThan(left.v, right.v), yes.v, no.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyGreater(Lanes512 left, Lanes512 right) => Vector512.GreaterThanAny(left.v, right.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Round(Lanes512 value) => new(Avx512F.RoundScale(value.v, 0));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 Power2(Lanes512 exponent) =>
        new(((Avx512F.ConvertToVector512Int32(exponent.v) + Vector512.Create(127)) << 23).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lanes512 SwapPairs(Lanes512 value) => new(Avx512F.Permute4x32(value.v, 0b10_11_00_01));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store(float* destination) => v.Store(destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public float Sum() => Lanes256.Sum(v.GetLower() + v.GetUpper());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SumEight(Lanes512 a, Lanes512 b, Lanes512 c, Lanes512 d, Lanes512 e, Lanes512 f, Lanes512 g, Lanes512 h, float* sums, float* others)
    {
        Vector512<float> abcd = AddQuarters(AddHalves(a.v, b.v), AddHalves(c.v, d.v));
        Vector512<float> efgh = AddQuarters(AddHalves(e.v, f.v), AddHalves(g.v, h.v));

        // In each quarter: a pair of the first four, a pair of the other four.
        Vector512<float> pairs = Avx512F.UnpackLow(abcd.AsDouble(), efgh.AsDouble()).AsSingle() + Avx512F.UnpackHigh(abcd.AsDouble(), efgh.AsDouble()).AsSingle();
        Vector512<float> all = Avx512F.Shuffle(pairs, pairs, 0x88) + Avx512F.Shuffle(pairs, pairs, 0xDD);
        Vector256<float> ordered = Avx512F.PermuteVar16x32(all, Vector512.Create(0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13)).GetLower();
        ordered.GetLower().Store(sums);
        ordered.GetUpper().Store(others);

        static Vector512<float> AddHalves(Vector512<float> x, Vector512<float> y) => Avx512F.Shuffle4x128(x, y, 0x44) + Avx512F.Shuffle4x128(x, y, 0xEE);

        static Vector512<float> AddQuarters(Vector512<float> x, Vector512<float> y) => Avx512F.Shuffle4x128(x, y, 0x88) + Avx512F.Shuffle4x128(x, y, 0xDD);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public float Maximum() => Lanes256.Maximum(Avx.Max(v.GetLower(), v.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Indices(byte* source, int shift) => Avx512F.ShiftRightLogicalVariable(
        Avx512F.ConvertToVector512Int32(Vector128.Load(source)), Vector512.Create((uint)shift));
}
