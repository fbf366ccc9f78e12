using System.Text.Json;
using Antiphon.Testing;
using Antiphon.Text;

namespace Antiphon.Conformance.Tokenizers;

/// <summary>Vocabularies in GGUF against llama.cpp's own test vectors, and models whose tokenizer comes in both forms.</summary>
public class GgufTokenizerTests
{
    private const string Separator = "\n__ggml_vocab_test__\n";

    public static TheoryData<string> Files() => TokenizerCases.Gguf();

    [Theory]
    [MemberData(nameof(Files))]
    public void Vectors_are_met(string name)
    {
        Tokenizer tokenizer = TokenizerCases.OfGguf("tokenizers", name);
        Check(tokenizer, name);
        Assert.Null(tokenizer.Warning);
    }

    [Fact]
    public void Qwen3_gives_the_ids_of_qwen2() => Check(TokenizerCases.OfFolder("qwen3"), "ggml-vocab-qwen2.gguf");

    [Fact]
    public void Tales_prompts_are_met_in_both_forms()
    {
        Tokenizer[] forms =
        [
            Tokenizer.FromTokenizerJson(TokenizerCases.ReadJson(SharedMaterial.Path("models", "tales"))),
            TokenizerCases.OfGguf("models", "tales", "tales.Q8_0.gguf"),
        ];
        int count = 0;
        foreach (string line in File.ReadLines(SharedMaterial.Path("models", "tales", "reference", "tasks.jsonl")))
        {
            using JsonDocument task = JsonDocument.Parse(line);
            string prompt = task.RootElement.GetProperty("prompt").GetString()!;
            int[] expected = [.. task.RootElement.GetProperty("prompt_ids").EnumerateArray().Select(i => i.GetInt32())];
            foreach (Tokenizer tokenizer in forms)
            {
                Assert.Equal(expected, tokenizer.Encode(prompt, addSpecialTokens: true, parseSpecialTokens: true));
                Assert.Equal(prompt, tokenizer.Decode(expected));
                if (task.RootElement.TryGetProperty("greedy", out JsonElement greedy) && greedy.ValueKind == JsonValueKind.Object)
                {
                    int[] ids = [.. greedy.GetProperty("ids").EnumerateArray().Select(i => i.GetInt32())];
                    Assert.Equal(greedy.GetProperty("text").GetString()!.TrimEnd(), tokenizer.Decode(ids, skipSpecialTokens: true).TrimEnd());
                }
            }

            count++;
        }

        Assert.Equal(240, count);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void User_text_stays_text(string name)
    {
        Tokenizer tokenizer = TokenizerCases.OfGguf("tokenizers", name);
        foreach (AddedToken token in tokenizer.AddedTokens.Where(t => t.Special))
        {
            int[] ids = tokenizer.Encode($"a{token.Content} b", addSpecialTokens: false, parseSpecialTokens: false);
            Assert.DoesNotContain(ids, id => id != tokenizer.UnkId && tokenizer.IsSpecial(id));
        }
    }

    private static void Check(Tokenizer tokenizer, string name)
    {
        string[] texts = File.ReadAllText(SharedMaterial.Path("tokenizers", name + ".inp")).Split(Separator)[..^1];
        string[] lines = File.ReadAllText(SharedMaterial.Path("tokenizers", name + ".out")).Split('\n')[..texts.Length];
        Assert.Equal(46, texts.Length);
        var wrong = new List<string>();
        foreach ((string text, string line) in texts.Zip(lines))
        {
            string actual = string.Concat(tokenizer.Encode(text, addSpecialTokens: false, parseSpecialTokens: false).Select(id => $" {id}"));
            if (actual.Trim() != line.Trim())
            {
                wrong.Add($"{JsonSerializer.Serialize(text)}\n  expected{line}\n  actual  {actual}");
            }

            Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text, addSpecialTokens: false)));
        }

        Assert.True(wrong.Count == 0, $"{wrong.Count} wrong\n{string.Join('\n', wrong.Take(5))}");
    }
}
