using Antiphon.Kernels.MultiScale;

namespace Antiphon.Kernels.Tests.MultiScale;

/// <summary>The split of activations into integers: error bounds over many distributions, and the laid-out forms against the portable definition.</summary>
public sealed unsafe class SplitTests(ITestOutputHelper output)
{
    public static TheoryData<string> Kinds => [.. Distributions.Names];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Two_passes_keep_within_the_bound(string kind)
    {
        // A hundred million elements over all kinds where there is time.
        long wanted = Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1" ? 100_000_000 / Distributions.Names.Length : 200_000;
        Random random = new(kind.Length);
        float[] x = new float[4096];
        short[] integers = new short[x.Length];
        double worst = 0;
        for (long done = 0; done < wanted; done += x.Length)
        {
            Span<float> row = x.AsSpan(0, random.Next(1, x.Length + 1));
            Distributions.Fill(kind, row, random);
            double largest = Distributions.Largest(row);
            RowScale scale = SplitArithmetic.Split(row, 2, integers);
            double unit = (double)scale.Factor * scale.Unlift;
            for (int i = 0; i < row.Length; i++)
            {
                (sbyte high, sbyte low) = SplitArithmetic.Bytes(integers[i]);
                Assert.Equal(integers[i], (256 * high) + low);
                Assert.InRange(high, (sbyte)-127, (sbyte)127);
                double error = Math.Abs(row[i] - (unit * integers[i]));

                // The digest's bound is M / 64516 with half a percent for rounding in float32; a single rounding to 65278 steps keeps it without.
                Assert.True(error <= largest / 64516, $"{row[i]:R} of a row up to {largest:R} is off by {error:R}");
                worst = largest > 0 ? Math.Max(worst, error / largest) : worst;

                // What the high byte leaves over needs no second look at the row: at most half of its step, and half a step of the low byte.
                Assert.True(Math.Abs(row[i] - (256 * unit * high)) <= 128.51 * unit);
            }
        }

        output.WriteLine($"{kind}: largest error M / {1 / worst:f0}");
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void One_pass_keeps_within_half_a_step(string kind)
    {
        Random random = new(3);
        float[] x = new float[1000];
        short[] integers = new short[x.Length];
        for (int round = 0; round < 50; round++)
        {
            Distributions.Fill(kind, x, random);
            RowScale scale = SplitArithmetic.Split(x, 1, integers);
            double unit = (double)scale.Factor * scale.Unlift;
            for (int i = 0; i < x.Length; i++)
            {
                Assert.InRange(integers[i], (short)-127, (short)127);
                Assert.True(Math.Abs(x[i] - (unit * integers[i])) <= Distributions.Largest(x) / 254 * 1.00001);
            }
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Laid_out_forms_are_those_of_the_definition(int passes)
    {
        Random random = new(passes);
        short[] integers = new short[2000];
        foreach (int columns in new[] { 1, 15, 16, 17, 32, 47, 256, 300, 1024 })
        {
            foreach (int tokens in new[] { 1, 3, 16 })
            {
                SplitForm form = new(columns, tokens);
                using NativeBuffer<float> x = new(columns + 32);
                foreach (string kind in Distributions.Names)
                {
                    Distributions.Fill(kind, x.Span(0, columns), random);
                    x.Span(columns, 32).Clear();
                    integers.AsSpan().Clear();
                    RowScale scale = SplitArithmetic.Split(x.Span(0, columns), passes, integers);
                    foreach (SplitOrder order in new[] { SplitOrder.Bytes, SplitOrder.Unsigned, SplitOrder.Pairs })
                    {
                        using NativeBuffer<byte> group = new(form.ByteCount);
                        int token = random.Next(tokens);
                        SplitInput.Split(x.Pointer, columns, columns, order, passes, group.Pointer, form, token, 1);
                        SplitInput.StoreDigits(columns, 1, group.Pointer, form, token);
                        SplitInput.StoreDigits(columns, 2, group.Pointer, form, token);
                        Check(group.Pointer, form, token, columns, order, passes, integers, scale);
                    }
                }
            }
        }
    }

    private static void Check(byte* group, SplitForm form, int token, int columns, SplitOrder order, int passes, short[] integers, RowScale scale)
    {
        Assert.Equal([scale.Factor, scale.Unlift], new ReadOnlySpan<float>((float*)(group + form.FactorsAt) + (2 * token), 2).ToArray());
        for (int step = 0; step < CodeLayout.Steps(columns); step++)
        {
            byte* at = group + (step * form.StepBytes) + (64 * token);
            int sum = 0;
            for (int half = 0; half < 2; half++)
            {
                int part = 0;
                for (int i = 16 * half; i < 16 * (half + 1); i++)
                {
                    short integer = integers[(32 * step) + i];
                    part += integer;
                    if (order == SplitOrder.Pairs)
                    {
                        Assert.Equal(integer, ((short*)at)[(i / 4 * 4) + (i % 4) switch { 1 => 2, 2 => 1, var same => same }]);
                    }
                    else if (order == SplitOrder.Unsigned)
                    {
                        Assert.Equal(integer, passes == 1 ? at[i] - 128 : (256 * at[i]) + at[32 + i] - 32768);
                    }
                    else if (passes == 1)
                    {
                        Assert.Equal(integer, (sbyte)at[i]);
                    }
                    else
                    {
                        Assert.Equal(SplitArithmetic.Bytes(integer), ((sbyte)at[i], (sbyte)at[32 + i]));
                    }
                }

                Assert.Equal(-part, ((int*)(group + form.Sums16At))[(2 * ((step * form.Tokens) + token)) + half]);
                sum += part;
                CheckDigits(group + form.Digits16At + (64 * ((step / 8 * form.Tokens) + token)), 16, (2 * (step % 8)) + half, -part, columns);
            }

            Assert.Equal(-sum, ((int*)(group + form.Sums32At))[(step * form.Tokens) + token]);
            CheckDigits(group + form.Digits32At + (32 * ((step / 8 * form.Tokens) + token)), 8, step % 8, -sum, columns);
        }
    }

    private static void CheckDigits(byte* digits, int blocks, int block, int sum, int columns)
    {
        // Only formats of whole super-blocks use them.
        if (columns % 256 == 0)
        {
            Assert.Equal(sum, (65536 * (sbyte)digits[block]) + (256 * (sbyte)digits[blocks + block]) + (sbyte)digits[(2 * blocks) + block]);
        }
    }
}
