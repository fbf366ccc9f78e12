using System.Diagnostics;
using Antiphon.Models;
using static Antiphon.Models.Tests.Files.TestFiles;

namespace Antiphon.Models.Tests.Files;

/// <summary>Damaged and malicious safetensors files.</summary>
public sealed class HostileSafetensorsTests
{
    private const string Good =
        """{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]},"c":{"dtype":"F8_E4M3","shape":[0,7],"data_offsets":[26,26]}}  """;

    [Theory]
    [InlineData("not JSON", "nonsense", 0)]
    [InlineData("an array", "[]", 0)]
    [InlineData("cut short", """{"a":{"dtype":"F32","shape":[1],"data_off""", 4)]
    [InlineData("text after it", """{} {}""", 0)]
    [InlineData("gap before", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8)]
    [InlineData("gap between", """{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}""", 3)]
    [InlineData("overlap", """{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}""", 3)]
    [InlineData("the same bytes", """{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}""", 2)]
    [InlineData("bytes left over", """{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}""", 3)]
    [InlineData("past the end", """{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}""", 3)]
    [InlineData("'a' twice", """{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}""", 2)]
    [InlineData("shape and dtype", """{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", 4)]
    [InlineData("negative", """{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4)]
    [InlineData("fraction", """{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}""", 4)]
    [InlineData("overflow", """{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}""", 0)]
    [InlineData("2^64", """{"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}}""", 4)]
    [InlineData("descending", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", 4)]
    [InlineData("three offsets", """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}""", 4)]
    [InlineData("no dtype", """{"a":{"shape":[1],"data_offsets":[0,4]}}""", 4)]
    [InlineData("doubled field", """{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4)]
    [InlineData("dtype F4", """{"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]}}""", 4)]
    [InlineData("rank 17", """{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}""", 1)]
    [InlineData("deep", """{"__metadata__":[[[[[[[[[[[[]]]]]]]]]]]]}""", 0)]
    [InlineData("lone surrogate", """{"\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""", 1)]
    [InlineData("not an object", """{"a":3}""", 0)]
    public void A_bad_header_is_refused(string what, string header, int dataBytes)
    {
        byte[] bytes = Safetensors(header, dataBytes);
        var watch = Stopwatch.StartNew();
        string message = Assert.Throws<ModelFormatException>(() => OpenSafetensors(bytes)).Message;
        Assert.True(watch.ElapsedMilliseconds < 1000, what);
        Assert.StartsWith("test.safetensors: ", message);
        Assert.DoesNotContain('\n', message);
    }

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(1UL << 63)]
    [InlineData(100_000_001UL)]
    [InlineData(57UL)]
    public void A_header_length_past_the_end_is_refused(ulong length)
    {
        byte[] bytes = new Raw().U64(length).Bytes(new byte[56]).ToArray();
        Assert.Contains("header", Assert.Throws<ModelFormatException>(() => OpenSafetensors(bytes)).Message);
    }

    [Fact]
    public void A_file_cut_at_any_byte_is_refused()
    {
        byte[] whole = Safetensors(Good, 26);
        OpenSafetensors(whole);
        for (int length = 0; length < whole.Length; length++)
        {
            int cut = length;
            Assert.Throws<ModelFormatException>(() => OpenSafetensors(whole.AsSpan(0, cut)));
        }
    }

    [Fact]
    public void Mutated_files_give_typed_errors_or_open()
    {
        byte[] whole = Safetensors(Good, 26);
        var random = new Random(8);
        int opened = 0;
        int refused = 0;
        for (int i = 0; i < 6000; i++)
        {
            try
            {
                OpenSafetensors(Mutation.Of(whole, random, whole.Length - 26));
                opened++;
            }
            catch (ModelFormatException)
            {
                refused++;
            }
        }

        Assert.True(opened > 10 && refused > 1000, $"{opened} opened, {refused} refused");
    }
}
