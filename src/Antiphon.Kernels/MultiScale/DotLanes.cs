using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels.MultiScale;

/// <summary>Products of 16-bit pairs, added: what the portable and the AVX2 kernels differ in.</summary>
internal interface IPairProducts
{
    /// <summary>For each 32-bit lane, the sum of the products of its two 16-bit halves.</summary>
    static abstract Vector256<int> MultiplyAdd(Vector256<short> a, Vector256<short> b);
}

/// <summary>On any machine.</summary>
internal readonly struct PortablePairs : IPairProducts
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> MultiplyAdd(Vector256<short> a, Vector256<short> b)
    {
        Vector256<int> x = a.AsInt32();
        Vector256<int> y = b.AsInt32();
        return (((x << 16) >> 16) * ((y << 16) >> 16)) + ((x >> 16) * (y >> 16));
    }
}

/// <summary>AVX2.</summary>
internal readonly struct Avx2Pairs : IPairProducts
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> MultiplyAdd(Vector256<short> a, Vector256<short> b) => Avx2.MultiplyAddAdjacent(a, b);
}

/// <summary>The kernel without generated code: an unpacked strip times four tokens, or one, at a time, with the integers in 16 bits.</summary>
internal static unsafe class DotLanes<T>
    where T : struct, IPairProducts
{
    private const int Rows = 8;

    /// <summary>Multiplies a strip with a group.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="columns">Columns of the matrix.</param>
    /// <param name="strip">The unpacked strip.</param>
    /// <param name="group">The group, its integers in <see cref="SplitOrder.Pairs"/>.</param>
    /// <param name="form">Its form.</param>
    /// <param name="output">Where the first token's outputs go.</param>
    /// <param name="stride">Floats from a token's outputs to the next one's.</param>
    public static void Multiply(CodeLayout layout, int columns, byte* strip, byte* group, SplitForm form, float* output, long stride)
    {
        int token = 0;
        for (; token + 4 <= form.Tokens; token += 4)
        {
            Four(layout, columns, strip, group, form, token, 0, output, stride);
            Four(layout, columns, strip, group, form, token, 1, output, stride);
        }

        for (; token < form.Tokens; token++)
        {
            One(layout, columns, strip, group, form, token, 0, output + (token * stride));
            One(layout, columns, strip, group, form, token, 1, output + (token * stride));
        }
    }

    /// <summary>Eight rows times four tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four(CodeLayout layout, int columns, byte* strip, byte* group, SplitForm form, int token, int half, float* output, long stride)
    {
        LaneStrip parts = new(layout, columns);
        int blocks = layout.SubBlocks;
        int groupsOfBlock = CodeLayout.Groups / blocks;
        int* sums = blocks == 1 ? (int*)(group + form.Sums32At) + token : (int*)(group + form.Sums16At) + (2 * token);
        byte* integers = group + (64 * token);
        byte* tile = strip + (32 * half);
        byte* superMinimums = tile + parts.SuperMinimumsAt;
        Vector256<float> a = Vector256<float>.Zero;
        Vector256<float> b = a;
        Vector256<float> c = a;
        Vector256<float> d = a;
        bool super = layout.HasSuperMinimum;
        bool minimum = layout.HasMinimum && !super;
        int steps = CodeLayout.Steps(columns);
        for (int step = 0; step < steps; step++, integers += form.StepBytes, sums += blocks * form.Tokens, tile += parts.TileBytes)
        {
            if (super && step % CodeLayout.SuperTiles == 0)
            {
                a = AddMinimums(a, superMinimums, sums, blocks, form.Tokens);
                b = AddMinimums(b, superMinimums, sums + blocks, blocks, form.Tokens);
                c = AddMinimums(c, superMinimums, sums + (2 * blocks), blocks, form.Tokens);
                d = AddMinimums(d, superMinimums, sums + (3 * blocks), blocks, form.Tokens);
                superMinimums += parts.SuperMinimumBytes;
            }
            else if (minimum)
            {
                Vector256<float> least = Vector256.Load((float*)(tile + parts.TileMinimumAt));
                a = Vector256.FusedMultiplyAdd(Vector256.Create((float)-sums[0]), least, a);
                b = Vector256.FusedMultiplyAdd(Vector256.Create((float)-sums[1]), least, b);
                c = Vector256.FusedMultiplyAdd(Vector256.Create((float)-sums[2]), least, c);
                d = Vector256.FusedMultiplyAdd(Vector256.Create((float)-sums[3]), least, d);
            }

            byte* values = tile + (32 * half);
            byte* pairs = integers;
            for (int block = 0; block < blocks; block++)
            {
                Vector256<int> p = Vector256<int>.Zero;
                Vector256<int> q = p;
                Vector256<int> r = p;
                Vector256<int> s = p;
                for (int i = 0; i < groupsOfBlock; i++, pairs += 8, values += LaneStrip.GroupBytes)
                {
                    Vector256<short> even = Vector256.Load((short*)values);
                    Vector256<short> odd = Vector256.Load((short*)values + 16);
                    p += T.MultiplyAdd(even, Pair(pairs));
                    q += T.MultiplyAdd(even, Pair(pairs + 64));
                    r += T.MultiplyAdd(even, Pair(pairs + 128));
                    s += T.MultiplyAdd(even, Pair(pairs + 192));
                    p += T.MultiplyAdd(odd, Pair(pairs + 4));
                    q += T.MultiplyAdd(odd, Pair(pairs + 68));
                    r += T.MultiplyAdd(odd, Pair(pairs + 132));
                    s += T.MultiplyAdd(odd, Pair(pairs + 196));
                }

                Vector256<float> scale = Vector256.Load((float*)(tile + LaneStrip.ScalesAt + (64 * block)));
                a = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(p), scale, a);
                b = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(q), scale, b);
                c = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(r), scale, c);
                d = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(s), scale, d);
            }
        }

        float* factors = (float*)(group + form.FactorsAt) + (2 * token);
        output += (token * stride) + (Rows * half);
        Scaled(a, factors).Store(output);
        Scaled(b, factors + 2).Store(output + stride);
        Scaled(c, factors + 4).Store(output + (2 * stride));
        Scaled(d, factors + 6).Store(output + (3 * stride));
    }

    /// <summary>Eight rows times one token.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void One(CodeLayout layout, int columns, byte* strip, byte* group, SplitForm form, int token, int half, float* output)
    {
        LaneStrip parts = new(layout, columns);
        int blocks = layout.SubBlocks;
        int groupsOfBlock = CodeLayout.Groups / blocks;
        int* sums = blocks == 1 ? (int*)(group + form.Sums32At) + token : (int*)(group + form.Sums16At) + (2 * token);
        byte* integers = group + (64 * token);
        byte* tile = strip + (32 * half);
        byte* superMinimums = tile + parts.SuperMinimumsAt;
        Vector256<float> sum = Vector256<float>.Zero;
        int steps = CodeLayout.Steps(columns);
        for (int step = 0; step < steps; step++, integers += form.StepBytes, sums += blocks * form.Tokens, tile += parts.TileBytes)
        {
            if (layout.HasSuperMinimum)
            {
                if (step % CodeLayout.SuperTiles == 0)
                {
                    sum = AddMinimums(sum, superMinimums, sums, blocks, form.Tokens);
                    superMinimums += parts.SuperMinimumBytes;
                }
            }
            else if (layout.HasMinimum)
            {
                sum = Vector256.FusedMultiplyAdd(Vector256.Create((float)-*sums), Vector256.Load((float*)(tile + parts.TileMinimumAt)), sum);
            }

            byte* values = tile + (32 * half);
            byte* pairs = integers;
            for (int block = 0; block < blocks; block++)
            {
                Vector256<int> even = Vector256<int>.Zero;
                Vector256<int> odd = Vector256<int>.Zero;
                for (int i = 0; i < groupsOfBlock; i++, pairs += 8, values += LaneStrip.GroupBytes)
                {
                    even += T.MultiplyAdd(Vector256.Load((short*)values), Pair(pairs));
                    odd += T.MultiplyAdd(Vector256.Load((short*)values + 16), Pair(pairs + 4));
                }

                sum = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(even + odd), Vector256.Load((float*)(tile + LaneStrip.ScalesAt + (64 * block))), sum);
            }
        }

        Scaled(sum, (float*)(group + form.FactorsAt) + (2 * token)).Store(output + (Rows * half));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Pair(byte* pair) => Vector256.Create(*(int*)pair).AsInt16();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Scaled(Vector256<float> sum, float* factors) => sum * Vector256.Create(factors[0]) * Vector256.Create(factors[1]);

    /// <summary>The sum after a super-block's minimums, whose multiples are positive while the sums of integers are stored negated.</summary>
    private static Vector256<float> AddMinimums(Vector256<float> sum, byte* minimums, int* sums, int perTile, int tokens)
    {
        Vector256<int> total = Vector256<int>.Zero;
        for (int block = 0; block < CodeLayout.SuperTiles * perTile; block++)
        {
            Vector256<int> multiples = (Vector256.Load((int*)(minimums + 64 + (block / 4 * 64))) >>> (block % 4 * 8)) & Vector256.Create(0xFF);
            total += multiples * Vector256.Create(sums[(block / perTile * perTile * tokens) + (block % perTile)]);
        }

        return Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(total), Vector256.Load((float*)minimums), sum);
    }
}
