namespace Antiphon.Text;

/// <summary>The splitting rule that <c>tokenizer.ggml.pre</c> names, and what else the name implies.</summary>
/// <param name="Patterns">Patterns that cut the text one after the other.</param>
/// <param name="IgnoreMerges">Whether a word that is a token is taken whole.</param>
/// <param name="AddBos">Whether a text begins with BOS where the file does not say.</param>
internal sealed record GgufPreTokenizer(string[] Patterns, bool IgnoreMerges = false, bool AddBos = false)
{
    private const string Digit = @"\p{N}";
    private const string ThreeDigits = @"\p{N}{1,3}";
    private const string FalconSymbols = @"[\p{P}\$\+<=>\^~\|`]+";
    private const string EastAsian = @"[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";

    /// <summary>The rule of a name; null for one that is not known.</summary>
    public static GgufPreTokenizer? Find(string name) => name switch
    {
        "default" => Default,
        "gpt-2" or "phi-2" or "mpt" or "olmo" or "jais" or "trillion" or "granite-docling" or "roberta-bpe" or "exaone4"
            or "jina-es" or "jina-de" or "gigachat" or "a.x-4.0" or "mellum" or "modern-bert" or "jina-v1-en" => new([KnownPatterns.Gpt2]),
        "jina-v2-es" or "jina-v2-de" or "jina-v2-code" => new([KnownPatterns.Gpt2]),
        "llama3" or "llama-v3" or "llama-bpe" or "falcon3" or "falcon-h1" or "pixtral" or "midm-2.0" or "lfm2" =>
            new([KnownPatterns.Llama3], IgnoreMerges: true, AddBos: true),
        "dbrx" or "smaug-bpe" or "glm4" or "chatglm-bpe" => new([KnownPatterns.Llama3]),
        "qwen2" or "stablelm2" or "hunyuan" or "deepseek-r1-qwen" or "grok-2" or "kormo" or "megrez" => new([KnownPatterns.Qwen2]),
        "qwen35" => new([KnownPatterns.Qwen35]),
        "gpt-4o" or "o200k" or "llama4" or "minimax-m2" => new([KnownPatterns.Gpt4o]),
        "tekken" => new([KnownPatterns.Tekken], IgnoreMerges: true, AddBos: true),
        "starcoder" or "refact" or "command-r" or "smollm" or "codeshell" or "exaone" or "minerva-7b" => new([Digit, KnownPatterns.Gpt2]),
        "falcon" => new([FalconSymbols, KnownPatterns.Gpt2, "[0-9][0-9][0-9]"]),
        "deepseek-llm" => new(
            [@"[\r\n]", @"\s?[\p{Lu}\p{Ll}\p{Lt}]+", @"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", @"\s+$", EastAsian, @"\p{N}+"]),
        "deepseek-coder" => new([@"[\r\n]", @"\s?\p{L}+", @"\s?\p{P}+", EastAsian, Digit]),
        "deepseek-v3" or "hunyuan-dense" => new([ThreeDigits, KnownPatterns.DeepSeekHan, KnownPatterns.DeepSeekV3]),
        "poro-chat" or "bloom" or "gpt3-finnish" => new([KnownPatterns.Bloom]),
        "viking" => new([KnownPatterns.Bloom, Digit]),
        "seed-coder" => new([KnownPatterns.SeedCoder]),
        _ => null,
    };

    /// <summary>What llama.cpp does where the file names no rule or one that is not known.</summary>
    public static GgufPreTokenizer Default { get; } = new([@"[\p{P}\$\+<=>\^~\|]+", KnownPatterns.Gpt2, @"\p{N}+", "[0-9][0-9][0-9]"]);
}
