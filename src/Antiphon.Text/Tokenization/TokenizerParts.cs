namespace Antiphon.Text;

/// <summary>What a <see cref="Tokenizer"/> is composed of; the readers fill it.</summary>
internal sealed record TokenizerParts
{
    /// <summary>Tokens as written, by id; null for an id without token.</summary>
    public required string?[] Tokens { get; init; }

    /// <summary>Ids by token, added tokens included.</summary>
    public required IReadOnlyDictionary<string, int> Ids { get; init; }

    /// <summary>In order of their ids.</summary>
    public required IReadOnlyList<AddedToken> AddedTokens { get; init; }

    public Normalizer? Normalizer { get; init; }

    public PreTokenizer? PreTokenizer { get; init; }

    public required BpeModel Model { get; init; }

    public required DecoderSettings Decoder { get; init; }

    /// <summary>Ids put before a text with special tokens.</summary>
    public int[] Before { get; init; } = [];

    /// <summary>Ids put after a text with special tokens.</summary>
    public int[] After { get; init; } = [];

    public int? BosId { get; init; }

    public int? EosId { get; init; }

    public int? EotId { get; init; }

    public int? UnkId { get; init; }

    public int? PadId { get; init; }

    public string? Warning { get; init; }
}
