using Antiphon.Kernels;

namespace Antiphon.Kernels.Tests.Formats;

/// <summary>Encoding and decoding of blocks, without reference material.</summary>
public sealed class BlockCodecTests
{
    /// <summary>All formats.</summary>
    public static TheoryData<TensorFormat> Formats() => [.. Enum.GetValues<TensorFormat>()];

    /// <summary>
    /// The most that the error of each written format may be, as a part of the values' own root mean square, on normal data.
    /// The bounds are a little above what a good quantiser reaches with so many bits.
    /// </summary>
    public static TheoryData<TensorFormat, double> ErrorBounds() => new()
    {
        { TensorFormat.F32, 0 }, { TensorFormat.F16, 4e-4 }, { TensorFormat.BF16, 3e-3 },
        { TensorFormat.Q8_0, 0.007 }, { TensorFormat.Q8_1, 0.007 }, { TensorFormat.Q8_K, 0.008 },
        { TensorFormat.Q6_K, 0.022 }, { TensorFormat.Q5_K, 0.045 }, { TensorFormat.Q5_1, 0.047 }, { TensorFormat.Q5_0, 0.05 },
        { TensorFormat.Q4_K, 0.085 }, { TensorFormat.IQ4_XS, 0.085 }, { TensorFormat.IQ4_NL, 0.085 }, { TensorFormat.Q4_1, 0.095 }, { TensorFormat.Q4_0, 0.105 },
        { TensorFormat.NVFP4, 0.12 }, { TensorFormat.MXFP4, 0.15 }, { TensorFormat.Q3_K, 0.2 }, { TensorFormat.Q2_K, 0.34 },
        { TensorFormat.Q1_0, 0.65 }, { TensorFormat.TQ1_0, 0.9 }, { TensorFormat.TQ2_0, 0.9 },
    };

    [Theory]
    [MemberData(nameof(Formats))]
    public void Any_bytes_decode_the_same_alone_and_among_others(TensorFormat format)
    {
        const int Blocks = 40;
        byte[] bytes = new byte[Blocks * format.BlockBytes()];
        new Random((int)format).NextBytes(bytes);
        float[] all = new float[Blocks * format.BlockElements()];
        BlockDecoder.Decode(format, bytes, all);
        for (int b = 0; b < Blocks; b++)
        {
            float[] one = new float[format.BlockElements()];
            BlockDecoder.Decode(format, bytes.AsSpan(b * format.BlockBytes(), format.BlockBytes()), one);
            Assert.Equal(one.Select(BitConverter.SingleToInt32Bits), all.Skip(b * one.Length).Take(one.Length).Select(BitConverter.SingleToInt32Bits));
        }
    }

    [Theory]
    [MemberData(nameof(ErrorBounds))]
    public void Encoding_loses_no_more_than_the_format_must(TensorFormat format, double bound)
    {
        const int Count = 256 * 64;
        var random = new Random(7);
        float[] values = [.. Enumerable.Range(0, Count).Select(_ => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
        byte[] blocks = new byte[format.ByteCount(Count)];
        float[] back = new float[Count];
        BlockEncoder.Encode(format, values, blocks);
        BlockDecoder.Decode(format, blocks, back);
        double error = Math.Sqrt(values.Zip(back, (a, b) => ((double)a - b) * ((double)a - b)).Sum() / values.Sum(v => (double)v * v));
        Assert.True(error <= bound, $"{format}: relative error {error:f5}, bound {bound}");
    }

    [Fact]
    public void Every_format_that_can_be_written_has_an_error_bound()
    {
        Assert.Equal(
            Enum.GetValues<TensorFormat>().Where(BlockEncoder.CanEncode).Order(),
            ErrorBounds().Select(row => row.Data.Item1).Order());
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Zeroes_stay_zeroes_and_non_finite_values_are_refused(TensorFormat format)
    {
        float[] values = new float[256];
        byte[] blocks = new byte[format.ByteCount(256)];
        if (!BlockEncoder.CanEncode(format))
        {
            Assert.Throws<NotSupportedException>(() => BlockEncoder.Encode(format, values, blocks));
            return;
        }

        BlockEncoder.Encode(format, values, blocks);
        BlockDecoder.Decode(format, blocks, values);
        Assert.All(values, v => Assert.Equal(0, MathF.Abs(v)));
        values[200] = float.NaN;
        if (format is TensorFormat.F32 or TensorFormat.F16 or TensorFormat.BF16)
        {
            BlockEncoder.Encode(format, values, blocks);
            BlockDecoder.Decode(format, blocks, values);
            Assert.True(float.IsNaN(values[200]));
        }
        else
        {
            Assert.Throws<ArgumentException>(() => BlockEncoder.Encode(format, values, blocks));
        }
    }

    [Fact]
    public void A_scale_past_the_largest_half_is_refused()
    {
        float[] values = new float[32];
        values[3] = 1e9f;
        Assert.Throws<ArgumentException>(() => BlockEncoder.Encode(TensorFormat.Q8_0, values, new byte[34]));
    }

    [Fact]
    public void Activation_blocks_carry_their_sums()
    {
        float[] values = [.. Enumerable.Range(0, 256).Select(i => MathF.Sin(i))];
        byte[] block = new byte[292];
        BlockEncoder.Encode(TensorFormat.Q8_K, values, block);
        for (int k = 0; k < 16; k++)
        {
            Assert.Equal(block.AsSpan(4 + (16 * k), 16).ToArray().Sum(q => (sbyte)q), BitConverter.ToInt16(block, 260 + (2 * k)));
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Lengths_that_do_not_belong_together_are_refused(TensorFormat format)
    {
        Assert.Throws<ArgumentException>(() => BlockDecoder.Decode(format, new byte[format.BlockBytes() + 1], new float[format.BlockElements()]));
        Assert.Throws<ArgumentException>(() => BlockDecoder.Decode(format, new byte[format.BlockBytes()], new float[2 * format.BlockElements()]));
    }

    [Fact]
    public void Unsigned_integers_round_once()
    {
        // Half a step above 2^63: to even when exact, up when anything follows.
        ulong[] values = [ulong.MaxValue, 1UL << 63, (1UL << 63) + (1UL << 39), (1UL << 63) + (1UL << 39) + 1, 3];
        float[] decoded = new float[values.Length];
        BlockDecoder.Decode(TensorFormat.U64, System.Runtime.InteropServices.MemoryMarshal.AsBytes<ulong>(values), decoded);
        Assert.Equal([18446744073709551616f, 9223372036854775808f, 9223372036854775808f, 9223373136366403584f, 3], decoded);
    }

    [Fact]
    public void Sixteen_bit_floats_survive_the_way_there_and_back()
    {
        for (int bits = 0; bits <= 0xffff; bits++)
        {
            float half = HalfConversions.F16ToF32((ushort)bits);
            Assert.Equal((float)BitConverter.UInt16BitsToHalf((ushort)bits), half);
            float brain = HalfConversions.BF16ToF32((ushort)bits);
            if (!float.IsNaN(half))
            {
                Assert.Equal(bits, HalfConversions.F32ToF16(half));
            }

            if (!float.IsNaN(brain))
            {
                Assert.Equal(bits, HalfConversions.F32ToBF16(brain));
            }
        }
    }
}
