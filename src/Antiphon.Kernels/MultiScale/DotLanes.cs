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

/// <summary>The kernel without generated code: an unpacked strip times one token after the other, with the integers in 16 bits.</summary>
internal static unsafe class DotLanes<T>
    where T : struct, IPairProducts
{
    /// <summary>Multiplies a strip with a group.</summary>
    /// <param name="layout">The layout.</param>
    /// <param name="columns">Columns of the matrix.</param>
    /// <param name="strip">The unpacked strip.</param>
    /// <param name="group">The group, its integers in <see cref="SplitOrder.Pairs"/>.</param>
    /// <param name="form">Its form.</param>
    /// <param name="output">Where the first token's outputs go.</param>
    /// <param name="stride">Floats from a token's outputs to the next one's.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Multiply(CodeLayout layout, int columns, byte* strip, byte* group, SplitForm form, float* output, long stride)
    {
        UnpackedStrip parts = new(layout, columns);
        int steps = CodeLayout.Steps(columns);
        int blocks = layout.SubBlocks;
        int groupsOfBlock = CodeLayout.Groups / blocks;
        for (int token = 0; token < form.Tokens; token++)
        {
            int* sums = blocks == 1 ? (int*)(group + form.Sums32At) + token : (int*)(group + form.Sums16At) + (2 * token);
            int* integers = (int*)(group + (64 * token));
            byte* values = strip;
            float* scales = (float*)(strip + parts.ScalesAt);
            byte* minimums = strip + parts.MinimumsAt;
            Vector256<float> first = Vector256<float>.Zero;
            Vector256<float> second = Vector256<float>.Zero;
            for (int step = 0; step < steps; step++)
            {
                if (layout.HasSuperMinimum)
                {
                    if (step % CodeLayout.SuperTiles == 0)
                    {
                        AddMinimums(minimums, CodeLayout.SuperTiles * blocks, sums, blocks, form.Tokens, ref first, ref second);
                        minimums += parts.MinimumBytes;
                    }
                }
                else if (layout.HasMinimum)
                {
                    Vector256<float> sum = Vector256.Create((float)-*sums);
                    first = Vector256.FusedMultiplyAdd(sum, Vector256.Load((float*)minimums), first);
                    second = Vector256.FusedMultiplyAdd(sum, Vector256.Load((float*)minimums + 8), second);
                    minimums += parts.MinimumBytes;
                }

                for (int block = 0; block < blocks; block++, scales += 16)
                {
                    Vector256<int> low = Vector256<int>.Zero;
                    Vector256<int> high = Vector256<int>.Zero;
                    for (int i = 0; i < groupsOfBlock; i++, integers += 2, values += 64)
                    {
                        Vector256<short> even = Vector256.Create(integers[0]).AsInt16();
                        Vector256<short> odd = Vector256.Create(integers[1]).AsInt16();
                        Vector256<short> a = Vector256.Load((short*)values);
                        Vector256<short> b = Vector256.Load((short*)values + 16);
                        low += T.MultiplyAdd((a << 8) >> 8, even) + T.MultiplyAdd(a >> 8, odd);
                        high += T.MultiplyAdd((b << 8) >> 8, even) + T.MultiplyAdd(b >> 8, odd);
                    }

                    first = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(low), Vector256.Load(scales), first);
                    second = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(high), Vector256.Load(scales + 8), second);
                }

                integers += (form.StepBytes / sizeof(int)) - 16;
                sums += blocks * form.Tokens;
            }

            float* factors = (float*)(group + form.FactorsAt) + (2 * token);
            (first * Vector256.Create(factors[0]) * Vector256.Create(factors[1])).Store(output + (token * stride));
            (second * Vector256.Create(factors[0]) * Vector256.Create(factors[1])).Store(output + (token * stride) + 8);
        }
    }

    private static void AddMinimums(byte* minimums, int blocks, int* sums, int perTile, int tokens, ref Vector256<float> first, ref Vector256<float> second)
    {
        Vector256<int> low = Vector256<int>.Zero;
        Vector256<int> high = Vector256<int>.Zero;
        for (int block = 0; block < blocks; block++)
        {
            Vector256<int> sum = Vector256.Create(sums[(block / perTile * perTile * tokens) + (block % perTile)]);
            byte* multiples = minimums + 64 + (block / 4 * 64);
            int shift = block % 4 * 8;
            low += ((Vector256.Load((int*)multiples) >>> shift) & Vector256.Create(0xFF)) * sum;
            high += ((Vector256.Load((int*)multiples + 8) >>> shift) & Vector256.Create(0xFF)) * sum;
        }

        first = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(low), Vector256.Load((float*)minimums), first);
        second = Vector256.FusedMultiplyAdd(Vector256.ConvertToSingle(high), Vector256.Load((float*)minimums + 8), second);
    }
}
