using Antiphon.Kernels;
using Antiphon.Models;
using FsCheck;
using FsCheck.Fluent;

namespace Antiphon.Models.Tests.Files;

/// <summary>What the writer writes, the reader reads; getters convert where that is exact and refuse the rest.</summary>
public sealed unsafe class GgufRoundTripTests
{
    [Fact]
    public void Every_value_comes_back_through_its_getter()
    {
        Open(TestFiles.Gguf(), file =>
        {
            GgufMetadata m = file.Metadata;
            Assert.Equal(3, file.Version);
            Assert.Equal("test", m.GetString("general.architecture"));
            Assert.Equal(64u, m.GetUInt32("general.alignment"));
            Assert.Equal(200, m.GetInt32("u8"));
            Assert.Equal(-100, m.GetInt32("i8"));
            Assert.Equal(60000u, m.GetUInt32("u16"));
            Assert.Equal(-30000, m.GetInt64("i16"));
            Assert.Equal(4000000000u, m.GetUInt32("u32"));
            Assert.Equal(-2000000000, m.GetInt32("i32"));
            Assert.Equal(ulong.MaxValue, m.GetUInt64("u64"));
            Assert.Equal(long.MinValue, m.GetInt64("i64"));
            Assert.Equal(0.1f, m.GetSingle("f32"));
            Assert.Equal(0.1, m.GetDouble("f64"));
            Assert.Equal(-100f, m.GetSingle("i8"));
            Assert.True(m.GetBoolean("bool"));
            Assert.Equal("e\u0301 \u00e9\0", m.GetString("string"));
            Assert.Equal([1, -2], m.GetInt32Array("numbers"));
            Assert.Equal([1L, -2L], m.GetInt64Array("numbers"));
            Assert.Equal([1f, -2f], m.GetSingleArray("numbers"));
            Assert.Equal(["a", ""], m.GetStringArray("words"));
            Assert.Equal("a"u8, m.GetUtf8Array("words")[0].Span);
            Assert.Equal([1, 0], m.GetValue("nested").Elements().Select(e => e.Count));
            Assert.False(m.TryGetUInt32("absent", out _));
            Assert.False(m.TryGetString("absent", out _));
            Assert.True(m.TryGetSingle("f32", out float single));
            Assert.Equal(0.1f, single);
        });
    }

    [Fact]
    public void Getters_refuse_absent_keys_other_types_and_numbers_out_of_range()
    {
        Open(TestFiles.Gguf(), file =>
        {
            GgufMetadata m = file.Metadata;
            Refused("'absent' is missing", () => m.GetUInt32("absent"));
            Refused("'string' holds String, but an integer", () => m.GetUInt32("string"));
            Refused("'u8' holds UInt8, but a string", () => m.GetString("u8"));
            Refused("'u8' holds UInt8, but a boolean", () => m.GetBoolean("u8"));
            Refused("'u8' holds UInt8, but an array", () => m.GetInt32Array("u8"));
            Refused("'words' holds String, but an integer", () => m.GetInt32Array("words"));
            Refused("'bool' holds Boolean, but a number", () => m.GetSingle("bool"));
            Refused("'f32' holds Float32, but an integer", () => m.GetInt32("f32"));
            Refused("'i8' is -100, outside 0 to 4294967295", () => m.GetUInt32("i8"));
            Refused("'u32' is 4000000000, outside", () => m.GetInt32("u32"));
            Refused("'u64' is 18446744073709551615, outside", () => m.TryGetInt64("u64", out _));
        });

        static void Refused(string words, Action get) => Assert.Contains(words, Assert.Throws<ModelFormatException>(get).Message);
    }

    [Fact]
    public void Metadata_outlives_the_file()
    {
        GgufMetadata? kept = null;
        Open(TestFiles.Gguf(), file => kept = file.Metadata);
        Assert.Equal(["a", ""], kept!.GetStringArray("words"));
    }

    [Fact]
    public void Any_metadata_and_tensors_come_back()
    {
        Gen<GgufValue> scalar = Gen.OneOf(
            ArbMap.Default.GeneratorFor<int>().Select(GgufValue.Of),
            ArbMap.Default.GeneratorFor<ulong>().Select(GgufValue.Of),
            ArbMap.Default.GeneratorFor<double>().Select(GgufValue.Of),
            ArbMap.Default.GeneratorFor<bool>().Select(GgufValue.Of),
            ArbMap.Default.GeneratorFor<UnicodeString>().Select(s => GgufValue.Of(new string([.. s.Get.Where(c => !char.IsSurrogate(c))]))));
        Gen<GgufValue> array = scalar.SelectMany(first => Gen.Choose(0, 4).Select(n => GgufValue.ArrayOf(first.Type, [.. Enumerable.Repeat(first, n)])));
        Gen<GgufValue> nested = array.ListOf(3).Select(all => GgufValue.ArrayOf(GgufValueType.Array, [.. all]));
        Gen<GgufValue[]> values = Gen.OneOf(scalar, array, nested).ArrayOf();
        Gen<(TensorFormat, long[])[]> tensors = Gen.Elements(TensorFormat.F32, TensorFormat.I8, TensorFormat.Q4_0, TensorFormat.Q6_K)
            .SelectMany(f => Gen.Choose(0, 3).ArrayOf(3).Select(d => (f, new long[] { d[0], d[1], d[2] * f.BlockElements() }))).ArrayOf();
        Gen<int> alignments = Gen.Elements(8, 32, 4096);
        Prop.ForAll(
            values.ToArbitrary(), tensors.ToArbitrary(), alignments.ToArbitrary(), (v, t, alignment) =>
            {
                using var stream = new MemoryStream();
                var writer = new GgufWriter(stream, alignment);
                for (int i = 0; i < v.Length; i++)
                {
                    writer.Add($"key {i}", v[i]);
                }

                for (int i = 0; i < t.Length; i++)
                {
                    writer.AddTensor($"tensor {i}", t[i].Item1, t[i].Item2);
                }

                byte[] data = [.. Enumerable.Range(0, (int)t.Sum(x => x.Item1.ByteCount(x.Item2.Aggregate(1L, (a, b) => a * b)))).Select(i => (byte)i)];
                for (int i = 0; i < data.Length; i += 37)
                {
                    writer.Write(data.AsSpan(i, Math.Min(37, data.Length - i)));
                }

                writer.Finish();
                Open(stream.ToArray(), file =>
                {
                    for (int i = 0; i < v.Length; i++)
                    {
                        GgufValue value = file.Metadata.GetValue($"key {i}");
                        Assert.Equal(v[i].Type, value.Type);
                        Assert.Equal(v[i].Encoded.ToArray(), value.Encoded.ToArray());
                    }

                    Assert.Equal(t.Select(x => x.Item1), file.Tensors.Select(x => x.Format));
                    Assert.Equal(t.Select(x => x.Item2), file.Tensors.Select(x => x.Shape));
                    Assert.Equal(data, file.Tensors.SelectMany(x => x.Bytes.ToArray()));
                });
            }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void The_writer_refuses_what_cannot_stand_in_a_file()
    {
        var writer = new GgufWriter(new MemoryStream());
        writer.Add("key", GgufValue.Of(1));
        Assert.Throws<ArgumentException>(() => writer.Add("key", GgufValue.Of(1)));
        Assert.Throws<ArgumentException>(() => writer.Add("general.alignment", GgufValue.Of(64)));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", TensorFormat.Q8_0, [2, 16]));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", TensorFormat.F8_E4M3, [2]));
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", TensorFormat.F32, [1, 1, 1, 1, 1]));
        writer.AddTensor("t", TensorFormat.F32, [2]);
        Assert.Throws<ArgumentException>(() => writer.AddTensor("t", TensorFormat.F32, [2]));
        writer.Write(new byte[7]);
        Assert.Throws<InvalidOperationException>(() => writer.Add("late", GgufValue.Of(1)));
        Assert.Throws<InvalidOperationException>(writer.Finish);
        writer.Write(new byte[1]);
        Assert.Throws<ArgumentException>(() => writer.Write(new byte[1]));
        writer.Finish();
        Assert.Throws<ArgumentException>(() => GgufValue.ArrayOf(GgufValueType.Int32, GgufValue.Of("text")));
        Assert.Throws<ArgumentOutOfRangeException>(() => new GgufWriter(new MemoryStream(), 24));
    }

    private static void Open(byte[] bytes, Action<GgufFile> use)
    {
        fixed (byte* start = bytes)
        {
            using GgufFile file = GgufFile.Open(start, bytes.Length, "test.gguf");
            use(file);
        }
    }
}
