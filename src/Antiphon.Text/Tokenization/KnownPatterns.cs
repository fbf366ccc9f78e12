namespace Antiphon.Text;

/// <summary>Splitting patterns that files refer to by a name.</summary>
internal static class KnownPatterns
{
    /// <summary>GPT-2.</summary>
    public const string Gpt2 = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    /// <summary>Llama 3 and cl100k: up to three digits together.</summary>
    public const string Llama3 = Contractions + @"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + Spaces;

    /// <summary>Qwen 2 and 3: digits one by one.</summary>
    public const string Qwen2 = Contractions + @"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + Spaces;

    /// <summary>Qwen 3.5: marks belong to words.</summary>
    public const string Qwen35 = Contractions + @"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + Spaces;

    /// <summary>GPT-4o and gpt-oss: words by case, contractions as suffixes.</summary>
    public const string Gpt4o = CasedHead + "*" + Lower + "+" + Contractions + "?|" + CasedHead + "+" + Lower + "*" + Contractions
        + @"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + Spaces;

    /// <summary>Mistral's Tekken: as GPT-4o without contractions, digits one by one.</summary>
    public const string Tekken = CasedHead + "*" + Lower + "+|" + CasedHead + "+" + Lower + @"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + Spaces;

    /// <summary>BLOOM and its relatives.</summary>
    public const string Bloom = @" ?[^(\s|.,!?…。，、।۔،)]+";

    /// <summary>Seed-Coder: line ends apart from punctuation.</summary>
    public const string SeedCoder = Contractions + @"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|" + Spaces;

    /// <summary>Han, kana: the second stage of DeepSeek V3.</summary>
    public const string DeepSeekHan = @"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";

    /// <summary>The third stage of DeepSeek V3.</summary>
    public const string DeepSeekV3 = @"[!""#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + Spaces;

    private const string Contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    private const string Spaces = @"\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string CasedHead = @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
    private const string Lower = @"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
}
