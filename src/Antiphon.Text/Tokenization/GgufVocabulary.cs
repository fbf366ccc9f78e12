namespace Antiphon.Text;

/// <summary>
/// The <c>tokenizer.ggml.*</c> metadata of a GGUF file, as read: what <see cref="Tokenizer.FromVocabulary"/> makes a tokenizer of.
/// A property that is null was not in the file; the default of the vocabulary's kind then holds.
/// </summary>
public sealed record GgufVocabulary
{
    /// <summary><c>tokenizer.ggml.model</c>: <c>gpt2</c> (byte-level BPE) or <c>llama</c> (SentencePiece BPE); others are refused as unsupported.</summary>
    public required string Model { get; init; }

    /// <summary><c>tokenizer.ggml.pre</c>: the name of the splitting rule of a <c>gpt2</c> vocabulary.</summary>
    public string? Pre { get; init; }

    /// <summary><c>tokenizer.ggml.tokens</c>: the text of each token, by id. Byte-level vocabularies write bytes as their stand-in characters.</summary>
    public required IReadOnlyList<string> Tokens { get; init; }

    /// <summary>
    /// <c>tokenizer.ggml.token_type</c>: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; as many as
    /// <see cref="Tokens"/>, or null when all are normal.
    /// </summary>
    public IReadOnlyList<int>? TokenTypes { get; init; }

    /// <summary><c>tokenizer.ggml.scores</c>: as many as <see cref="Tokens"/>; needed by <c>llama</c>.</summary>
    public IReadOnlyList<float>? Scores { get; init; }

    /// <summary><c>tokenizer.ggml.merges</c>: pairs with a space between, best first; needed by <c>gpt2</c>.</summary>
    public IReadOnlyList<string>? Merges { get; init; }

    /// <summary><c>tokenizer.ggml.bos_token_id</c>.</summary>
    public int? BosId { get; init; }

    /// <summary><c>tokenizer.ggml.eos_token_id</c>.</summary>
    public int? EosId { get; init; }

    /// <summary><c>tokenizer.ggml.eot_token_id</c>: the end of a turn.</summary>
    public int? EotId { get; init; }

    /// <summary><c>tokenizer.ggml.unknown_token_id</c>.</summary>
    public int? UnkId { get; init; }

    /// <summary><c>tokenizer.ggml.padding_token_id</c>.</summary>
    public int? PadId { get; init; }

    /// <summary><c>tokenizer.ggml.add_bos_token</c>.</summary>
    public bool? AddBos { get; init; }

    /// <summary><c>tokenizer.ggml.add_eos_token</c>.</summary>
    public bool? AddEos { get; init; }

    /// <summary><c>tokenizer.ggml.add_space_prefix</c>.</summary>
    public bool? AddSpacePrefix { get; init; }

    /// <summary><c>tokenizer.ggml.remove_extra_whitespaces</c>.</summary>
    public bool? RemoveExtraWhitespaces { get; init; }
}
