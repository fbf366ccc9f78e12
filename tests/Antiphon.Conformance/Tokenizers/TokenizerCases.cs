using System.IO.Compression;
using Antiphon.Models;
using Antiphon.Testing;
using Antiphon.Text;

namespace Antiphon.Conformance.Tokenizers;

/// <summary>Tokenizers of the reference material, each read once. A test of one that is not supported skips with the product's own message.</summary>
internal static class TokenizerCases
{
    private static readonly Dictionary<string, Lazy<Tokenizer>> Known = [];

    public static TheoryData<string> HuggingFace() => SharedMaterial.Entries(Directory.Exists, "tokenizers", "hf");

    public static TheoryData<string> Gguf() => SharedMaterial.Entries(path => path.EndsWith(".gguf", StringComparison.Ordinal), "tokenizers");

    public static Tokenizer OfFolder(string name) => Get(SharedMaterial.Path("tokenizers", "hf", name), folder => Tokenizer.FromTokenizerJson(ReadJson(folder)));

    public static Tokenizer OfGguf(params string[] parts) => Get(SharedMaterial.Path(parts), path =>
    {
        using GgufFile file = GgufFile.Open(path);
        return Tokenizer.FromVocabulary(GgufVocabularies.Read(file.Metadata));
    });

    public static byte[] ReadJson(string folder)
    {
        string path = Path.Combine(folder, "tokenizer.json");
        return File.Exists(path) ? File.ReadAllBytes(path) : Unpack(path + ".gz");
    }

    public static byte[] Unpack(string path)
    {
        using var packed = new GZipStream(File.OpenRead(path), CompressionMode.Decompress);
        using var bytes = new MemoryStream();
        packed.CopyTo(bytes);
        return bytes.ToArray();
    }

    private static Tokenizer Get(string path, Func<string, Tokenizer> read)
    {
        Lazy<Tokenizer>? tokenizer;
        lock (Known)
        {
            if (!Known.TryGetValue(path, out tokenizer))
            {
                tokenizer = new(() => read(path));
                Known.Add(path, tokenizer);
            }
        }

        try
        {
            return tokenizer.Value;
        }
        catch (TokenizerFormatException e) when (e.Unsupported)
        {
            Assert.Skip(e.Message);
            throw;
        }
    }
}
