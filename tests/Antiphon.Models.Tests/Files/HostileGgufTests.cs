using System.Diagnostics;
using Antiphon.Models;
using static Antiphon.Models.Tests.Files.TestFiles;

namespace Antiphon.Models.Tests.Files;

/// <summary>Damaged and malicious GGUF files: each a typed error that names the thing, quickly and without large allocations.</summary>
public sealed class HostileGgufTests
{
    private const ulong Huge = 1UL << 63;

    /// <summary>A name for each bad file, and words that its message must have.</summary>
    public static TheoryData<string, string> Cases()
    {
        var data = new TheoryData<string, string>();
        foreach ((string name, (_, string[] words)) in Bad())
        {
            data.Add(name, string.Join('|', words));
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_bad_file_is_refused_with_a_message_that_names_the_thing(string name, string words)
    {
        byte[] bytes = Bad()[name].Bytes;
        long before = GC.GetAllocatedBytesForCurrentThread();
        var watch = Stopwatch.StartNew();
        string message = Assert.Throws<ModelFormatException>(() => OpenGguf(bytes)).Message;
        Assert.True(watch.ElapsedMilliseconds < 1000, $"{watch.ElapsedMilliseconds} ms");
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 1 << 20, "more than 1 MiB allocated");
        Assert.All(words.Split('|'), w => Assert.Contains(w, message));
        Assert.DoesNotContain('\n', message);
    }

    [Fact]
    public void A_file_cut_at_any_byte_is_refused()
    {
        byte[] whole = Gguf();
        OpenGguf(whole);

        // The last tensor ends where the file does: 576 bytes are nine times the alignment.
        for (int length = 0; length < whole.Length; length++)
        {
            int cut = length;
            Assert.Throws<ModelFormatException>(() => OpenGguf(whole.AsSpan(0, cut)));
        }
    }

    [Fact]
    public void Mutated_files_give_typed_errors_or_open()
    {
        byte[] whole = Gguf();
        var random = new Random(20240517);
        int opened = 0;
        int refused = 0;
        for (int i = 0; i < 6000; i++)
        {
            byte[] mutated = Mutation.Of(whole, random, headerBytes: 1100);
            try
            {
                OpenGguf(mutated);
                opened++;
            }
            catch (ModelFormatException)
            {
                refused++;
            }
        }

        Assert.True(opened > 100 && refused > 1000, $"{opened} opened, {refused} refused");
    }

    private static Dictionary<string, (byte[] Bytes, string[] Words)> Bad()
    {
        static byte[] Entries(Action<Raw> entries, int count = 1) => RawGguf(entries, count, _ => { }, 0);
        static byte[] Tensors(Action<Raw> tensors, int count = 1) => RawGguf(_ => { }, 0, tensors, count);
        return new()
        {
            ["empty"] = ([], ["truncated"]),
            ["magic"] = ("GGML0000000000000000000000"u8.ToArray(), ["GGUF"]),
            ["version 1"] = (new Raw().Bytes("GGUF"u8).U32(1).U64(0).U64(0).ToArray(), ["version 1"]),
            ["version 99"] = (new Raw().Bytes("GGUF"u8).U32(99).U64(0).U64(0).ToArray(), ["version 99"]),
            ["tensor count"] = (new Raw().Bytes("GGUF"u8).U32(3).U64(Huge).U64(0).Bytes(new byte[99]).ToArray(), ["9223372036854775808 tensors"]),
            ["tensor count, all ones"] = (new Raw().Bytes("GGUF"u8).U32(3).U64(ulong.MaxValue).U64(0).ToArray(), ["tensors"]),
            ["entry count"] = (new Raw().Bytes("GGUF"u8).U32(3).U64(0).U64(Huge).Bytes(new byte[99]).ToArray(), ["9223372036854775808 metadata entries"]),
            ["43 bytes"] = (new Raw().Bytes("GGUF"u8).U32(3).U64(0).U64(1).U64(1).Bytes("k"u8).U32(9).U32(0).U64(Huge).ToArray(), ["elements", "'k'"]),
            ["key length"] = (Entries(r => r.U64(Huge)), ["key"]),
            ["key length 65536"] = (RawGguf(r => r.U64(65536), 1, _ => { }, 0, 70000), ["65536"]),
            ["empty key"] = (Entries(r => r.Text("").U32(4).U32(0)), ["key"]),
            ["key not UTF-8"] = (Entries(r => r.U64(2).Bytes([0xc3, 0x28]).U32(4).U32(0)), ["UTF-8"]),
            ["key twice"] = (Entries(r => r.Entry("same", GgufValueType.UInt32, 1).Entry("same", GgufValueType.UInt32, 2), 2), ["'same'", "twice"]),
            ["value type"] = (Entries(r => r.Entry("odd", (GgufValueType)13, 1)), ["'odd'", "13"]),
            ["element type"] = (Entries(r => r.Text("odd").U32(9).U32(77).U64(0)), ["'odd'", "77"]),
            ["string length"] = (Entries(r => r.Text("long").U32(8).U64(Huge)), ["'long'"]),
            ["string not UTF-8"] = (Entries(r => r.Text("text").U32(8).U64(2).Bytes([0xff, 0xfe])), ["'text'", "UTF-8"]),
            ["array count"] = (Entries(r => r.Text("many").U32(9).U32(12).U64(Huge)), ["'many'"]),
            ["string array count"] = (Entries(r => r.Text("many").U32(9).U32(8).U64(1 << 20)), ["'many'"]),
            ["array of arrays count"] = (Entries(r => r.Text("many").U32(9).U32(9).U64(1UL << 40)), ["'many'"]),
            ["nested 100 deep"] = (Entries(r =>
            {
                r.Text("deep").U32(9);
                for (int i = 0; i < 100; i++)
                {
                    r.U32(9).U64(1);
                }
            }), ["'deep'", "deeper"]),
            ["boolean 2"] = (Entries(r => r.Text("truth").U32(7).Bytes([2])), ["'truth'"]),
            ["boolean array 3"] = (Entries(r => r.Text("truths").U32(9).U32(7).U64(3).Bytes([0, 1, 3])), ["'truths'"]),
            ["alignment 0"] = (Entries(r => r.Entry("general.alignment", GgufValueType.UInt32, 0)), ["general.alignment"]),
            ["alignment 3"] = (Entries(r => r.Entry("general.alignment", GgufValueType.UInt32, 3)), ["general.alignment", "3"]),
            ["alignment 2^31"] = (Entries(r => r.Entry("general.alignment", GgufValueType.UInt32, 1u << 31)), ["general.alignment"]),
            ["alignment 2^21"] = (Entries(r => r.Entry("general.alignment", GgufValueType.UInt32, 1u << 21)), ["general.alignment"]),
            ["alignment is text"] = (Entries(r => r.Text("general.alignment").U32(8).Text("32")), ["general.alignment", "integer"]),
            ["alignment is negative"] = (Entries(r => r.Entry("general.alignment", GgufValueType.Int32, uint.MaxValue)), ["general.alignment", "-1"]),
            ["name empty"] = (Tensors(r => r.Tensor("", 0, 0, 1)), ["name"]),
            ["name long"] = (Tensors(r => r.Tensor(new string('n', 1025), 0, 0, 1)), ["name", "1025"]),
            ["tensor twice"] = (Tensors(r => r.Tensor("same", 0, 0, 8).Tensor("same", 0, 32, 8), 2), ["'same'", "twice"]),
            ["rank 5"] = (Tensors(r => r.Tensor("t", 0, 0, 1, 1, 1, 1, 1)), ["'t'", "5 dimensions"]),
            ["rank 2^32-1"] = (Tensors(r => r.Text("t").U32(uint.MaxValue)), ["'t'", "dimensions"]),
            ["dimension negative"] = (Tensors(r => r.Tensor("t", 0, 0, ulong.MaxValue)), ["'t'", "dimension"]),
            ["dimension product overflows"] = (Tensors(r => r.Tensor("t", 0, 0, 1UL << 32, 1UL << 32)), ["'t'", "dimensions"]),
            ["dimension product overflows before a zero"] = (Tensors(r => r.Tensor("t", 0, 0, 0, 1UL << 62, 1UL << 62)), ["'t'"]),
            ["byte count overflows"] = (Tensors(r => r.Tensor("t", 28, 0, 1UL << 61)), ["'t'"]),
            ["past the end"] = (Tensors(r => r.Tensor("t", 0, 0, 2000)), ["'t'", "8000 bytes"]),
            ["offset past the end"] = (Tensors(r => r.Tensor("t", 0, 1 << 20, 1)), ["'t'", "1048576"]),
            ["offset wraps"] = (Tensors(r => r.Tensor("t", 0, ulong.MaxValue - 31, 16)), ["'t'"]),
            ["offset 2^63"] = (Tensors(r => r.Tensor("t", 0, Huge, 16)), ["'t'"]),
            ["offset not aligned"] = (Tensors(r => r.Tensor("t", 0, 4, 1)), ["'t'", "alignment"]),
            ["overlap"] = (Tensors(r => r.Tensor("t", 0, 0, 16).Tensor("u", 0, 32, 16), 2), ["'t'", "'u'", "overlap"]),
            ["type 4"] = (Tensors(r => r.Tensor("t", 4, 0, 32)), ["'t'", "type 4", "retired"]),
            ["type 36"] = (Tensors(r => r.Tensor("t", 36, 0, 32)), ["'t'", "type 36", "retired"]),
            ["type 42"] = (Tensors(r => r.Tensor("t", 42, 0, 32)), ["'t'", "type 42"]),
            ["type 1001"] = (Tensors(r => r.Tensor("t", 1001, 0, 32)), ["'t'", "type 1001"]),
            ["type 2^32-1"] = (Tensors(r => r.Tensor("t", uint.MaxValue, 0, 32)), ["'t'", "type 4294967295"]),
            ["row is no whole blocks"] = (Tensors(r => r.Tensor("t", 8, 0, 16, 2)), ["'t'", "rows of 16"]),
            ["split part in memory"] = (Entries(r => r.Entry("split.count", GgufValueType.UInt32, 3).Entry("split.no", GgufValueType.UInt32, 0), 2), ["split"]),
            ["split number missing"] = (Entries(r => r.Entry("split.count", GgufValueType.UInt32, 3)), ["split.no"]),
            ["split number out of range"] = (Entries(r => r.Entry("split.count", GgufValueType.UInt32, 3).Entry("split.no", GgufValueType.UInt32, 3), 2), ["part 3"]),
        };
    }
}
