using System.Runtime.InteropServices;
using System.Text.Json;
using Antiphon.Kernels;
using Antiphon.Testing;

namespace Antiphon.Conformance.Formats;

/// <summary>Every block of shared/conformance/quant/blocks, every special block, and the quantisers on the source matrix.</summary>
public sealed class BlockConformanceTests
{
    private static readonly string[] Folder = ["conformance", "quant", "blocks"];

    /// <summary>The types of the index.</summary>
    public static TheoryData<string> Types() => Listed(_ => true);

    /// <summary>The types of the index that have a case "quantised".</summary>
    public static TheoryData<string> QuantisedTypes() => Listed(t => t.TryGetProperty("quantised", out _));

    [Theory]
    [MemberData(nameof(Types))]
    public void All_blocks_decode_to_the_expected_bits(string type)
    {
        (JsonElement entry, TensorFormat format, byte[] blocks) = Load(type);
        byte[] expected = File.ReadAllBytes(SharedMaterial.Path([.. Folder, entry.GetProperty("f32").GetString()!]));
        Assert.Equal(type, format.ToString());
        Assert.Equal(entry.GetProperty("block_elements").GetInt32(), format.BlockElements());
        Assert.Equal(entry.GetProperty("block_bytes").GetInt32(), format.BlockBytes());
        Assert.Equal(entry.GetProperty("blocks").GetInt32() * format.BlockBytes(), blocks.Length);
        Assert.NotEmpty(blocks);
        float[] values = new float[blocks.Length / format.BlockBytes() * format.BlockElements()];
        BlockDecoder.Decode(format, blocks, values);
        int covered = 0;
        foreach (JsonElement c in entry.GetProperty("cases").EnumerateArray())
        {
            int first = c.GetProperty("first").GetInt32() * format.BlockElements();
            int count = c.GetProperty("count").GetInt32() * format.BlockElements();
            FloatAssert.BitEqual(expected.AsSpan(4 * first, 4 * count), values.AsSpan(first, count), $"{type}, {c.GetProperty("name").GetString()}");
            covered += count;
        }

        if (entry.TryGetProperty("quantised", out JsonElement quantised))
        {
            covered += quantised.GetProperty("count").GetInt32() * format.BlockElements();
        }

        FloatAssert.BitEqual(expected, values, type);
        Assert.True(covered >= values.Length, $"{type}: the cases cover {covered} of {values.Length} values");
    }

    [Theory]
    [MemberData(nameof(QuantisedTypes))]
    public void The_quantiser_is_no_worse_than_the_reference(string type)
    {
        (JsonElement entry, TensorFormat format, _) = Load(type);
        float[] source = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(SharedMaterial.Path([.. Folder, "source.f32"]))).ToArray();
        double[] limits = [.. entry.GetProperty("quantised").GetProperty("row_rms_error").EnumerateArray().Select(e => e.GetDouble())];
        int columns = source.Length / limits.Length;
        byte[] row = new byte[format.ByteCount(columns)];
        float[] back = new float[columns];
        for (int r = 0; r < limits.Length; r++)
        {
            BlockEncoder.Encode(format, source.AsSpan(r * columns, columns), row);
            BlockDecoder.Decode(format, row, back);
            double sum = 0;
            for (int i = 0; i < columns; i++)
            {
                double difference = (double)back[i] - source[(r * columns) + i];
                sum += difference * difference;
            }

            double error = Math.Sqrt(sum / columns);
            Assert.True(error <= limits[r] * 1.01, $"{type}, row {r}: error {error:g6}, reference {limits[r]:g6}");
        }
    }

    [Fact]
    public void Special_blocks_follow_ieee_rules_and_leave_other_blocks_alone()
    {
        string folder = SharedMaterial.Path("conformance", "quant", "special");
        byte[] bytes = File.ReadAllBytes(Path.Combine(folder, "special.bin"));
        using JsonDocument index = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "index.json")));
        int nonFinite = 0;
        foreach (JsonElement group in index.RootElement.GetProperty("groups").EnumerateArray())
        {
            var format = (TensorFormat)group.GetProperty("ggml_type").GetInt32();
            int count = group.GetProperty("blocks").GetInt32();
            ReadOnlySpan<byte> blocks = bytes.AsSpan(group.GetProperty("offset").GetInt32(), count * format.BlockBytes());

            // All at once, between blocks of zeroes: what is decoded alone must be what is decoded among others.
            byte[] framed = new byte[blocks.Length + (2 * format.BlockBytes())];
            blocks.CopyTo(framed.AsSpan(format.BlockBytes()));
            float[] all = new float[(count + 2) * format.BlockElements()];
            BlockDecoder.Decode(format, framed, all);
            float[] zeroes = new float[format.BlockElements()];
            BlockDecoder.Decode(format, new byte[format.BlockBytes()], zeroes);
            Assert.Equal(zeroes, all[..format.BlockElements()]);
            Assert.Equal(zeroes, all[^format.BlockElements()..]);
            Assert.All(zeroes, z => Assert.True(float.IsFinite(z)));
            for (int b = 0; b < count; b++)
            {
                float[] alone = new float[format.BlockElements()];
                BlockDecoder.Decode(format, blocks.Slice(b * format.BlockBytes(), format.BlockBytes()), alone);
                Assert.Equal(alone, all.AsSpan((b + 1) * format.BlockElements(), format.BlockElements()).ToArray());
                nonFinite += alone.Count(v => !float.IsFinite(v));
            }
        }

        Assert.NotEqual(0, nonFinite);
    }

    private static TheoryData<string> Listed(Func<JsonElement, bool> condition)
    {
        var data = new TheoryData<string>();
        if (SharedMaterial.TryPath([.. Folder, "index.json"]) is string path)
        {
            using JsonDocument index = JsonDocument.Parse(File.ReadAllBytes(path));
            foreach (JsonElement type in index.RootElement.GetProperty("types").EnumerateArray().Where(condition))
            {
                data.Add(type.GetProperty("type").GetString()!);
            }
        }

        if (data.Count == 0)
        {
            data.Add(SharedMaterial.Missing);
        }

        return data;
    }

    private static (JsonElement Entry, TensorFormat Format, byte[] Blocks) Load(string type)
    {
        Assert.SkipWhen(type == SharedMaterial.Missing, "shared/conformance/quant/blocks is absent");
        using JsonDocument index = JsonDocument.Parse(File.ReadAllBytes(SharedMaterial.Path([.. Folder, "index.json"])));
        JsonElement entry = index.RootElement.GetProperty("types").EnumerateArray().Single(t => t.GetProperty("type").GetString() == type).Clone();
        return (entry, (TensorFormat)entry.GetProperty("ggml_type").GetInt32(), File.ReadAllBytes(SharedMaterial.Path([.. Folder, entry.GetProperty("bin").GetString()!])));
    }
}
