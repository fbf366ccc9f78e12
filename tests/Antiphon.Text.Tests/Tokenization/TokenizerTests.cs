using System.Text;
using System.Text.Json.Nodes;
using Antiphon.Text;

namespace Antiphon.Text.Tests.Tokenization;

public class TokenizerTests
{
    private const int The = 257;

    [Fact]
    public void Merges_apply_in_order_of_rank()
    {
        Tokenizer tokenizer = TinyTokenizers.ByteLevel();
        Assert.Equal([The, 258], tokenizer.Encode("the the"));
        Assert.Equal([260, 'a'], tokenizer.Encode("aaaaa"));
        Assert.Equal("é", tokenizer.Decode([262]));
        Assert.Equal([262], tokenizer.Encode("é"));
    }

    [Fact]
    public void Special_tokens_in_user_text_are_text_unless_asked_for()
    {
        Tokenizer tokenizer = TinyTokenizers.ByteLevel();
        Assert.Equal([.. "the"u8.ToArray().Take(0), The, 300, 301], tokenizer.Encode("the<|end|><think>", parseSpecialTokens: true));
        int[] plain = tokenizer.Encode("the<|end|><think>");
        Assert.DoesNotContain(300, plain);
        Assert.DoesNotContain(301, plain);
        Assert.Equal("the<|end|><think>", tokenizer.Decode(plain, skipSpecialTokens: true));
        Assert.Equal("the<think>", tokenizer.Decode([The, 300, 301], skipSpecialTokens: true));
        // White space is no markup.
        Assert.Equal([302], tokenizer.Encode("\n\n\n"));
    }

    [Fact]
    public void Taking_words_whole_cannot_yield_a_special_token()
    {
        JsonObject json = TinyTokenizers.ByteLevelJson();
        json["model"]!["ignore_merges"] = true;
        json["model"]!["vocab"]!["end"] = 310;
        json["added_tokens"]!.AsArray().Add(new JsonObject { ["id"] = 310, ["content"] = "end", ["special"] = true });
        Assert.DoesNotContain(310, TinyTokenizers.From(json).Encode("end"));
    }

    [Fact]
    public void Sentence_piece_prefers_the_higher_score_then_the_leftmost_and_falls_back_to_bytes()
    {
        Tokenizer tokenizer = Tokenizer.FromVocabulary(TinyTokenizers.SentencePiece());
        Assert.Equal([1, 263, 263], tokenizer.Encode("ab ab"));
        Assert.Equal([263, 265], tokenizer.Encode("abé", addSpecialTokens: false));
        Assert.Equal([264, 3 + 0xE2, 3 + 0x82, 3 + 0xAC], tokenizer.Encode("a€", addSpecialTokens: false));
        // x and y are no tokens of their own, but xy is.
        Assert.Equal([259, 266, 3 + 'x'], tokenizer.Encode("xyx", addSpecialTokens: false));
        Assert.Equal("ab a€", tokenizer.Decode(tokenizer.Encode("ab a€"), skipSpecialTokens: true));
        Assert.DoesNotContain(2, tokenizer.Encode("</s>"));
        Assert.Equal([1, 2, 263], tokenizer.Encode("</s>ab", parseSpecialTokens: true));
    }

    [Fact]
    public void A_word_of_a_million_characters_takes_no_quadratic_time()
    {
        Tokenizer tokenizer = TinyTokenizers.ByteLevel();
        string word = string.Concat(Enumerable.Repeat("thethaaaa", 111_112));
        var watch = System.Diagnostics.Stopwatch.StartNew();
        int[] ids = tokenizer.Encode(word);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(20), $"{watch.Elapsed}");
        Assert.Equal(word, tokenizer.Decode(ids));
        Assert.Equal(tokenizer.Encode("thethaaaa").Length * 111_112, ids.Length);
    }

    [Fact]
    public void Scan_and_heap_merge_alike()
    {
        var random = new Random(7);
        var merges = new MergeTable(200);
        int next = 4;
        for (int i = 0; i < 60; i++)
        {
            merges.Add(random.Next(next), random.Next(next), random.Next(8), next++);
        }

        for (int round = 0; round < 2000; round++)
        {
            int[] symbols = [.. Enumerable.Range(0, random.Next(2, 40)).Select(_ => random.Next(4))];
            int[] longer = [.. symbols, .. Enumerable.Repeat(1_000_000, 60)];
            int[] scanned = symbols[..Merger.Merge(merges, symbols)];
            int[] heaped = longer[..Merger.Merge(merges, longer)];
            Assert.Equal(scanned, heaped[..^60]);
        }
    }

    [Fact]
    public void Lone_surrogates_become_replacement_characters()
    {
        Tokenizer tokenizer = TinyTokenizers.ByteLevel();
        Assert.Equal("a\uFFFDb\U0001F600\uFFFD", tokenizer.Decode(tokenizer.Encode("a\uD800b\U0001F600\uDC00")));
    }

    [Fact]
    public void An_unknown_splitting_rule_is_a_warning_and_another_model_a_typed_refusal()
    {
        GgufVocabulary vocabulary = new() { Model = "gpt2", Pre = "never-heard", Tokens = ["a", "b", "ab"], Merges = ["a b"] };
        Assert.Contains("never-heard", Tokenizer.FromVocabulary(vocabulary).Warning);
        Assert.True(Assert.Throws<TokenizerFormatException>(() => Tokenizer.FromVocabulary(vocabulary with { Model = "rwkv" })).Unsupported);
        Assert.False(Assert.Throws<TokenizerFormatException>(() => Tokenizer.FromVocabulary(vocabulary with { BosId = 3 })).Unsupported);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 2000000000}, \"merges\": []}}")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"\\ud800\": 0}, \"merges\": []}}")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [], \"unk_token\": \"x\"}}")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}, \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a\"}, \"behavior\": \"Isolated\"}}")]
    [InlineData("{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}, \"post_processor\": {\"type\": \"BertProcessing\", \"cls\": [\"a\", 9], \"sep\": [\"a\", 9]}}")]
    public void Damaged_files_are_refused(string json) =>
        Assert.False(Assert.Throws<TokenizerFormatException>(() => Tokenizer.FromTokenizerJson(Encoding.UTF8.GetBytes(json))).Unsupported);

    [Fact]
    public void Deep_json_is_refused() =>
        Assert.Throws<TokenizerFormatException>(() => Tokenizer.FromTokenizerJson(Encoding.UTF8.GetBytes(new string('[', 1_000_000))));

    [Fact]
    public void A_config_names_the_tokens()
    {
        TokenizerOptions options = TokenizerOptions.FromTokenizerConfig(
            """{"tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "bos_token": {"content": "<|end|>"}, "eos_token": "<|end|>", "pad_token": null}"""u8.ToArray());
        Tokenizer tokenizer = Tokenizer.FromTokenizerJson(Encoding.UTF8.GetBytes(TinyTokenizers.ByteLevelJson().ToJsonString()), options);
        Assert.Equal((300, 300, null), (tokenizer.BosId, tokenizer.EosId, tokenizer.PadId));
        Assert.Equal([300, The], tokenizer.Encode("the"));
        Assert.Equal([The], tokenizer.Encode("the", addSpecialTokens: false));
    }
}
