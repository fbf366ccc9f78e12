using System.Security.Cryptography;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Antiphon.Testing;
using Antiphon.Text;

namespace Antiphon.Conformance.Tokenizers;

/// <summary>Encoding and decoding against Hugging Face's <c>tokenizers</c>.</summary>
public class HuggingFaceTokenizerTests
{
    public static TheoryData<string> Folders() => TokenizerCases.HuggingFace();

    [Theory]
    [MemberData(nameof(Folders))]
    public void Vectors_are_met(string name)
    {
        Tokenizer tokenizer = TokenizerCases.OfFolder(name);
        var wrong = new List<string>();
        int count = 0;
        foreach (string line in File.ReadLines(SharedMaterial.Path("tokenizers", "hf", name, "vectors.jsonl")))
        {
            using JsonDocument vector = JsonDocument.Parse(line);
            string text = vector.RootElement.GetProperty("text").GetString()!;
            int[] special = Ids(vector, "ids_special");
            count++;
            Compare("ids", Ids(vector, "ids"), tokenizer.Encode(text, addSpecialTokens: false, parseSpecialTokens: true));
            Compare("ids_special", special, tokenizer.Encode(text, addSpecialTokens: true, parseSpecialTokens: true));
            Compare("decoded", vector.RootElement.GetProperty("decoded").GetString()!, tokenizer.Decode(special));
            Compare("decoded_skip", vector.RootElement.GetProperty("decoded_skip").GetString()!, tokenizer.Decode(special, skipSpecialTokens: true));

            void Compare<T>(string what, IEnumerable<T> expected, IEnumerable<T> actual)
            {
                if (!expected.SequenceEqual(actual))
                {
                    string Show(IEnumerable<T> items) => JsonSerializer.Serialize(items is string s ? s : string.Join(' ', items.Take(60)));
                    wrong.Add($"{what} of {JsonSerializer.Serialize(text[..Math.Min(100, text.Length)])}:\n  expected {Show(expected)}\n  actual   {Show(actual)}");
                }
            }
        }

        Assert.True(count > 500, $"{count} vectors");
        Assert.True(wrong.Count == 0, $"{wrong.Count} wrong in {count} vectors\n{string.Join('\n', wrong.Take(8))}");
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void Long_texts_are_met(string name)
    {
        Tokenizer tokenizer = TokenizerCases.OfFolder(name);
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllBytes(SharedMaterial.Path("tokenizers", "hf", name, "long.json")));
        byte[] shakespeare = File.ReadAllBytes(SharedMaterial.Path("data", "tiny-shakespeare", "input.txt"))[..1_000_000];
        Check("shakespeare", shakespeare);
        Check("mixed", TokenizerCases.Unpack(SharedMaterial.Path("tokenizers", "hf", "long-mixed.txt.gz")));

        void Check(string which, byte[] utf8)
        {
            JsonElement want = expected.RootElement.GetProperty(which);
            Assert.Equal(want.GetProperty("text_sha256").GetString(), Hash(utf8));
            int[] ids = tokenizer.Encode(Encoding.UTF8.GetString(utf8), addSpecialTokens: false, parseSpecialTokens: true);
            Assert.Equal(want.GetProperty("count").GetInt32(), ids.Length);
            Assert.Equal(want.GetProperty("ids_sha256").GetString(), Hash(MemoryMarshal.AsBytes<int>(ids)));
            Assert.Equal(want.GetProperty("decoded_sha256").GetString(), Hash(Encoding.UTF8.GetBytes(tokenizer.Decode(ids))));
        }
    }

    private static int[] Ids(JsonDocument vector, string name) => [.. vector.RootElement.GetProperty(name).EnumerateArray().Select(i => i.GetInt32())];

    private static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));
}
