namespace Antiphon.Text;

/// <summary>
/// What <c>tokenizer_config.json</c> says beside <c>tokenizer.json</c>. A property that is null leaves what
/// <c>tokenizer.json</c> says.
/// </summary>
public sealed partial record TokenizerOptions
{
    /// <summary>Content of the token that begins a text.</summary>
    public string? BosToken { get; init; }

    /// <summary>Content of the token that ends a text.</summary>
    public string? EosToken { get; init; }

    /// <summary>Content of the token for what the vocabulary cannot write.</summary>
    public string? UnkToken { get; init; }

    /// <summary>Content of the token that fills up.</summary>
    public string? PadToken { get; init; }

    /// <summary>Whether encoding with special tokens begins with <see cref="BosToken"/>; null: as the post-processor says.</summary>
    public bool? AddBos { get; init; }

    /// <summary>Whether encoding with special tokens ends with <see cref="EosToken"/>; null: as the post-processor says.</summary>
    public bool? AddEos { get; init; }
}
