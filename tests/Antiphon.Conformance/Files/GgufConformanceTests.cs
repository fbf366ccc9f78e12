using System.Security.Cryptography;
using System.Text.Json;
using Antiphon.Kernels;
using Antiphon.Models;
using Antiphon.Testing;

namespace Antiphon.Conformance.Files;

/// <summary>The files of shared/conformance/quant/gguf against their index.</summary>
public sealed class GgufConformanceTests
{
    private static readonly string[] Folder = ["conformance", "quant", "gguf"];

    /// <summary>Every set: a file, or a folder of parts.</summary>
    public static TheoryData<string> Sets() => SharedMaterial.Entries(p => p.EndsWith(".gguf", StringComparison.Ordinal) || Directory.Exists(p), Folder);

    /// <summary>Every folder of parts.</summary>
    public static TheoryData<string> SplitSets() => SharedMaterial.Entries(Directory.Exists, Folder);

    [Theory]
    [MemberData(nameof(Sets))]
    public void Tensors_have_the_expected_shapes_bytes_and_values(string set)
    {
        using JsonDocument index = Index();
        using GgufFile file = Open(set);
        byte[] expected = File.ReadAllBytes(SharedMaterial.Path([.. Folder, "expected.f32"]));
        int checkedTensors = 0;
        foreach (JsonElement entry in index.RootElement.GetProperty("tensors").EnumerateArray())
        {
            if (!entry.GetProperty("in").EnumerateArray().Any(i => i.GetString() == set))
            {
                continue;
            }

            string name = entry.GetProperty("name").GetString()!;
            Assert.True(file.TryGetTensor(name, out TensorView tensor), name);
            Assert.Equal(entry.GetProperty("ggml_type").GetInt32(), (int)tensor.Format);
            Assert.Equal(entry.GetProperty("dims").EnumerateArray().Select(d => d.GetInt64()).Reverse(), tensor.Shape);
            Assert.Equal(entry.GetProperty("elements").GetInt64(), tensor.ElementCount);
            Assert.Equal(entry.GetProperty("bytes").GetInt64(), tensor.ByteCount);
            Assert.Equal(entry.GetProperty("sha256_raw_little_endian").GetString(), Convert.ToHexStringLower(SHA256.HashData(tensor.Bytes)));
            float[] values = new float[tensor.ElementCount];
            BlockDecoder.Decode(tensor.Format, tensor.Bytes, values);
            FloatAssert.BitEqual(expected.AsSpan(entry.GetProperty("expected_offset").GetInt32(), 4 * values.Length), values, name);
            checkedTensors++;
        }

        Assert.Equal(file.Tensors.Count, checkedTensors);
        Assert.NotEqual(0, checkedTensors);
    }

    [Theory]
    [MemberData(nameof(Sets))]
    public void Metadata_has_the_expected_order_types_and_values(string set)
    {
        using JsonDocument index = Index();
        using GgufFile file = Open(set);
        if (file.Tensors.All(t => t.Format is TensorFormat.Q8_K or TensorFormat.Q8_1))
        {
            // The index lists no metadata for the file of activation types.
            Assert.NotEmpty(file.Metadata.GetString("general.architecture"));
            return;
        }

        bool split = Directory.Exists(SharedMaterial.Path([.. Folder, set]));
        JsonElement[] expected = [.. index.RootElement.GetProperty("metadata").EnumerateArray().Where(m => !split || m.GetProperty("key").GetString() != "general.alignment")];
        KeyValuePair<string, GgufValue>[] actual = [.. file.Metadata.Entries.Where(e => !e.Key.StartsWith("split.", StringComparison.Ordinal))];
        Assert.Equal(expected.Select(m => m.GetProperty("key").GetString()), actual.Select(e => e.Key));
        for (int i = 0; i < expected.Length; i++)
        {
            string type = expected[i].GetProperty("type").GetString()!;
            Assert.Equal(TypeOf(type), actual[i].Value.Type);
            if (type == "array")
            {
                Assert.Equal(TypeOf(expected[i].GetProperty("element_type").GetString()!), actual[i].Value.ElementType);
            }

            JsonElement? bits = expected[i].TryGetProperty("bits", out JsonElement b) ? b : null;
            AssertValue(actual[i].Key, expected[i].GetProperty("value"), bits, actual[i].Value);
        }
    }

    [Theory]
    [MemberData(nameof(SplitSets))]
    public void A_split_set_opens_from_any_part(string set)
    {
        string folder = SharedMaterial.Path([.. Folder, set]);
        foreach (string part in Directory.GetFiles(folder))
        {
            using GgufFile file = GgufFile.Open(part);
            Assert.Equal(Directory.GetFiles(folder).Length, file.PartCount);
            Assert.Equal("all types", file.Metadata.GetString("general.name"));
        }
    }

    [Theory]
    [MemberData(nameof(SplitSets))]
    public void A_split_set_with_a_missing_doubled_or_renumbered_part_is_refused(string set)
    {
        string[] parts = [.. Directory.GetFiles(SharedMaterial.Path([.. Folder, set])).Order(StringComparer.Ordinal)];
        (string What, int[] Sources)[] cases =
        [
            ("second missing", [0, -1, 2]), ("last missing", [0, 1, -1]), ("first missing", [-1, 1, 2]),
            ("doubled", [0, 1, 1]), ("renumbered", [0, 2, 1]), ("first renumbered", [1, 0, 2]),
        ];
        foreach ((string what, int[] sources) in cases)
        {
            DirectoryInfo copy = Directory.CreateTempSubdirectory("antiphon-split-");
            try
            {
                for (int i = 0; i < sources.Length; i++)
                {
                    if (sources[i] >= 0)
                    {
                        File.Copy(parts[sources[i]], Path.Combine(copy.FullName, Path.GetFileName(parts[i])));
                    }
                }

                foreach (string start in Directory.GetFiles(copy.FullName))
                {
                    string message = Assert.Throws<ModelFormatException>(() => GgufFile.Open(start).Dispose()).Message;
                    Assert.True(message.Contains("missing") || message.Contains("renamed or doubled"), $"{what}: {message}");
                }
            }
            finally
            {
                copy.Delete(recursive: true);
            }
        }
    }

    [Fact]
    public void Writing_what_was_read_gives_the_same_bytes()
    {
        string path = SharedMaterial.Path([.. Folder, "all-types.gguf"]);
        using GgufFile file = GgufFile.Open(path);
        using var stream = new MemoryStream();
        var writer = new GgufWriter(stream, file.Metadata.GetInt32("general.alignment"));
        foreach ((string key, GgufValue value) in file.Metadata.Entries)
        {
            writer.Add(key, value);
        }

        foreach (TensorView tensor in file.Tensors)
        {
            writer.AddTensor(tensor.Name, tensor.Format, tensor.Shape);
        }

        foreach (TensorView tensor in file.Tensors)
        {
            writer.Write(tensor.Bytes);
        }

        writer.Finish();
        Assert.Equal(File.ReadAllBytes(path), stream.ToArray());
    }

    private static JsonDocument Index() => JsonDocument.Parse(File.ReadAllBytes(SharedMaterial.Path([.. Folder, "index.json"])));

    private static GgufFile Open(string set)
    {
        Assert.SkipWhen(set == SharedMaterial.Missing, "shared/conformance/quant/gguf is absent");
        string path = SharedMaterial.Path([.. Folder, set]);
        return Assert.IsType<GgufFile>(ModelFiles.Open(path));
    }

    private static GgufValueType TypeOf(string name) => name switch
    {
        "u8" => GgufValueType.UInt8,
        "i8" => GgufValueType.Int8,
        "u16" => GgufValueType.UInt16,
        "i16" => GgufValueType.Int16,
        "u32" => GgufValueType.UInt32,
        "i32" => GgufValueType.Int32,
        "u64" => GgufValueType.UInt64,
        "i64" => GgufValueType.Int64,
        "f32" => GgufValueType.Float32,
        "f64" => GgufValueType.Float64,
        "bool" => GgufValueType.Boolean,
        "string" => GgufValueType.String,
        "array" => GgufValueType.Array,
        _ => throw new ArgumentException(name),
    };

    private static void AssertValue(string key, JsonElement expected, JsonElement? bits, GgufValue actual)
    {
        switch (actual.Type)
        {
            case GgufValueType.Array:
                GgufValue[] items = [.. actual.Elements()];
                Assert.Equal(expected.GetArrayLength(), items.Length);
                Assert.Equal(items.Length, actual.Count);
                for (int i = 0; i < items.Length; i++)
                {
                    AssertValue(key, expected[i], bits?[i], items[i]);
                }

                break;
            case GgufValueType.String:
                Assert.True(actual.TryGetString(out string? text));
                Assert.Equal(expected.GetString(), text);
                break;
            case GgufValueType.Boolean:
                Assert.True(actual.TryGetBoolean(out bool truth));
                Assert.Equal(expected.GetBoolean(), truth);
                break;
            case GgufValueType.Float32:
                Assert.True(actual.TryGetFloat(out double single));
                Assert.Equal(bits!.Value.GetString(), BitConverter.SingleToUInt32Bits((float)single).ToString("x8", null));
                break;
            case GgufValueType.Float64:
                Assert.True(actual.TryGetFloat(out double number));
                Assert.Equal(bits!.Value.GetString(), BitConverter.DoubleToUInt64Bits(number).ToString("x16", null));
                break;
            default:
                Assert.True(actual.TryGetInteger(out Int128 integer));
                Assert.Equal(expected.ValueKind == JsonValueKind.String ? expected.GetString() : expected.GetRawText(), integer.ToString(null, null));
                break;
        }
    }
}
