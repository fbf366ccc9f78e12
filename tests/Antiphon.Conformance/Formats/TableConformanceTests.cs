using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using Antiphon.Kernels;
using Antiphon.Testing;

namespace Antiphon.Conformance.Formats;

/// <summary>The tables of the small floats and codebooks, and the rounding vectors.</summary>
public sealed unsafe class TableConformanceTests
{
    /// <summary>The files of tables/.</summary>
    public static TheoryData<string> Tables() => SharedMaterial.Entries(p => !p.EndsWith(".json", StringComparison.Ordinal), "conformance", "quant", "tables");

    /// <summary>The directions of rounding/.</summary>
    public static TheoryData<string> Directions()
    {
        var data = new TheoryData<string>();
        if (SharedMaterial.TryPath("conformance", "quant", "rounding", "index.json") is string path)
        {
            using JsonDocument index = JsonDocument.Parse(File.ReadAllBytes(path));
            foreach (JsonElement direction in index.RootElement.EnumerateArray())
            {
                data.Add(direction.GetProperty("name").GetString()!);
            }
        }
        else
        {
            data.Add(SharedMaterial.Missing);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Tables))]
    public void A_table_is_exact(string name)
    {
        Assert.SkipWhen(name == SharedMaterial.Missing, "shared/conformance/quant/tables is absent");
        byte[] expected = File.ReadAllBytes(SharedMaterial.Path("conformance", "quant", "tables", name));
        if (name.EndsWith(".f32", StringComparison.Ordinal))
        {
            ReadOnlySpan<float> floats = name switch
            {
                "fp8-e4m3fn.f32" => SmallFloats.E4M3,
                "fp8-e5m2.f32" => SmallFloats.E5M2,
                "fp4-e2m1.f32" => SmallFloats.E2M1,
                "e8m0-ocp.f32" => SmallFloats.E8M0,
                "e8m0-ggml-half.f32" => SmallFloats.E8M0Half,
                "ue4m3-ggml-half.f32" => SmallFloats.UE4M3Half,
                _ => throw new ArgumentException("a table that nothing here answers to: " + name),
            };
            ReadOnlySpan<float> wanted = MemoryMarshal.Cast<byte, float>(expected);
            Assert.Equal(wanted.Length, floats.Length);
            for (int i = 0; i < wanted.Length; i++)
            {
                Assert.True(
                    BitConverter.SingleToInt32Bits(wanted[i]) == BitConverter.SingleToInt32Bits(floats[i]) || (float.IsNaN(wanted[i]) && float.IsNaN(floats[i])),
                    $"code {i}: expected {wanted[i]}, got {floats[i]}");
            }

            return;
        }

        ReadOnlySpan<byte> actual = name switch
        {
            "fp4-e2m1-doubled.i8" => MemoryMarshal.AsBytes(Codebooks.E2M1Doubled),
            "iq4nl.i8" => MemoryMarshal.AsBytes(Codebooks.IQ4),
            "ksigns.u8" => new(Codebooks.Signs, 128),
            "grid-iq2_xxs.i8" => new(Codebooks.IQ2XXS, 256 * 8),
            "grid-iq2_xs.i8" => new(Codebooks.IQ2XS, 512 * 8),
            "grid-iq2_s.i8" => new(Codebooks.IQ2S, 1024 * 8),
            "grid-iq3_xxs.i8" => new(Codebooks.IQ3XXS, 256 * 4),
            "grid-iq3_s.i8" => new(Codebooks.IQ3S, 512 * 4),
            "grid-iq1_s.i8" => new(Codebooks.IQ1, 2048 * 8),
            _ => throw new ArgumentException("a table that nothing here answers to: " + name),
        };
        Assert.True(actual.SequenceEqual(expected), name);
    }

    [Theory]
    [MemberData(nameof(Directions))]
    public void Rounding_is_exact(string name)
    {
        Assert.SkipWhen(name == SharedMaterial.Missing, "shared/conformance/quant/rounding is absent");
        string folder = SharedMaterial.Path("conformance", "quant", "rounding");
        using JsonDocument index = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "index.json")));
        JsonElement entry = index.RootElement.EnumerateArray().Single(e => e.GetProperty("name").GetString() == name);
        byte[] input = File.ReadAllBytes(Path.Combine(folder, entry.GetProperty("input").GetString()!));
        byte[] output = File.ReadAllBytes(Path.Combine(folder, entry.GetProperty("output").GetString()!));
        bool exactNaN = entry.GetProperty("nan_rule").GetString()!.StartsWith("exact", StringComparison.Ordinal);
        int count = entry.GetProperty("count").GetInt32();
        Assert.NotEqual(0, count);
        for (int i = 0; i < count; i++)
        {
            uint from = input.Length == 4 * count ? BitConverter.ToUInt32(input, 4 * i) : BitConverter.ToUInt16(input, 2 * i);
            uint wanted = output.Length == 4 * count ? BitConverter.ToUInt32(output, 4 * i) : BitConverter.ToUInt16(output, 2 * i);
            uint got = name switch
            {
                "f32-to-bf16" => HalfConversions.F32ToBF16(BitConverter.UInt32BitsToSingle(from)),
                "f32-to-f16" => HalfConversions.F32ToF16(BitConverter.UInt32BitsToSingle(from)),
                "bf16-to-f32" => BitConverter.SingleToUInt32Bits(HalfConversions.BF16ToF32((ushort)from)),
                "f16-to-f32" => BitConverter.SingleToUInt32Bits(HalfConversions.F16ToF32((ushort)from)),
                _ => throw new ArgumentException("a direction that nothing here answers to: " + name),
            };
            bool same = got == wanted || (!exactNaN && IsNaN(got, name) && IsNaN(wanted, name) && Negative(got, name) == Negative(wanted, name));
            Assert.True(same, $"{name} of {from:x}: expected {wanted:x}, got {got:x}");
        }
    }

    [Fact]
    public void All_finite_halves_are_exact()
    {
        using JsonDocument index = JsonDocument.Parse(File.ReadAllBytes(SharedMaterial.Path("conformance", "quant", "rounding", "index.json")));
        string hash = index.RootElement.EnumerateArray().Single(e => e.TryGetProperty("sha256_f32_of_0x0000_to_0x7c00", out _)).GetProperty("sha256_f32_of_0x0000_to_0x7c00").GetString()!;
        float[] values = [.. Enumerable.Range(0, 0x7c01).Select(h => HalfConversions.F16ToF32((ushort)h))];
        Assert.Equal(hash, Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes<float>(values))));
    }

    private static bool IsNaN(uint bits, string direction) =>
        direction.EndsWith("-f16", StringComparison.Ordinal) ? (bits & 0x7fff) > 0x7c00 : (bits & 0x7fffffff) > 0x7f800000;

    private static bool Negative(uint bits, string direction) => direction.EndsWith("-f16", StringComparison.Ordinal) ? bits >> 15 != 0 : bits >> 31 != 0;
}
