using System.Text;
using System.Text.Json.Nodes;
using Antiphon.Text;

namespace Antiphon.Text.Tests.Tokenization;

/// <summary>Small tokenizers built on the spot, so that the tests need no files.</summary>
internal static class TinyTokenizers
{
    public const string Pattern = @"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>Byte-level: 256 bytes, a few merges, control and markup tokens.</summary>
    public static JsonObject ByteLevelJson()
    {
        var vocabulary = new JsonObject();
        for (int value = 0; value < 256; value++)
        {
            vocabulary[ByteAlphabet.ToCharacter((byte)value).ToString()] = value;
        }

        var merges = new JsonArray();
        int next = 256;
        foreach ((string left, string right) in new[] { ("t", "h"), ("th", "e"), ("Ġ", "the"), ("a", "a"), ("aa", "aa"), ("<", "|"), ("Ã", "©") })
        {
            merges.Add(new JsonArray(left, right));
            vocabulary[left + right] = next++;
        }

        JsonObject Added(int id, string content, bool special) => new() { ["id"] = id, ["content"] = content, ["special"] = special, ["normalized"] = false };
        return new()
        {
            ["added_tokens"] = new JsonArray(Added(300, "<|end|>", true), Added(301, "<think>", false), Added(302, "\n\n\n", false)),
            ["pre_tokenizer"] = new JsonObject
            {
                ["type"] = "Sequence",
                ["pretokenizers"] = new JsonArray(
                    new JsonObject { ["type"] = "Split", ["pattern"] = new JsonObject { ["Regex"] = Pattern }, ["behavior"] = "Isolated" },
                    new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["use_regex"] = false }),
            },
            ["decoder"] = new JsonObject { ["type"] = "ByteLevel" },
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = merges },
        };
    }

    public static Tokenizer ByteLevel() => From(ByteLevelJson());

    public static Tokenizer From(JsonNode json) => Tokenizer.FromTokenizerJson(Encoding.UTF8.GetBytes(json.ToJsonString()));

    /// <summary>SentencePiece BPE with byte fallback: 0 unknown, 1 BOS, 2 EOS, 3 to 258 bytes, then pieces.</summary>
    public static GgufVocabulary SentencePiece()
    {
        string[] pieces = ["\u2581", "a", "b", "ab", "\u2581ab", "\u2581a", "é", "xy"];
        return new()
        {
            Model = "llama",
            Tokens = ["<unk>", "<s>", "</s>", .. Enumerable.Range(0, 256).Select(v => $"<0x{v:X2}>"), .. pieces],
            TokenTypes = [2, 3, 3, .. Enumerable.Repeat(6, 256), .. Enumerable.Repeat(1, pieces.Length)],
            Scores = [0, 0, 0, .. new float[256], -1000, -1000, -1000, -2, -1, -3, -1000, -4],
        };
    }
}
