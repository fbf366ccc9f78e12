using Antiphon.Text;

namespace Antiphon.Models;

/// <summary>Makes the tokenizer that belongs to an opened model.</summary>
public static class TokenizerLoader
{
    /// <summary>Reads tokenizer.json and tokenizer_config.json of a folder, or the vocabulary of a GGUF file.</summary>
    /// <exception cref="ModelFormatException">The model holds no tokenizer, or metadata of the wrong type.</exception>
    /// <exception cref="TokenizerFormatException">The tokenizer is damaged, its arrays do not belong together, or it is of a kind that is not supported.</exception>
    public static Tokenizer Load(ModelSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        return source switch
        {
            GgufFile file => Tokenizer.FromVocabulary(ReadVocabulary(file.Metadata)),
            HuggingFaceFolder { TokenizerJson: ReadOnlyMemory<byte> json } folder => Tokenizer.FromTokenizerJson(
                json,
                folder.TokenizerConfig is { } config ? TokenizerOptions.FromTokenizerConfig(GgufValue.Utf8.GetBytes(config.GetRawText())) : null),
            _ => throw new ModelFormatException($"{source.Path}: there is no tokenizer.json beside the model; fetch it, or save the tokenizer again in its fast form"),
        };
    }

    /// <summary>The tokenizer.ggml.* metadata of a GGUF file.</summary>
    /// <exception cref="ModelFormatException">A key that every vocabulary has is missing, or a value is of the wrong type.</exception>
    public static GgufVocabulary ReadVocabulary(GgufMetadata metadata)
    {
        ArgumentNullException.ThrowIfNull(metadata);
        const string Prefix = "tokenizer.ggml.";
        return new GgufVocabulary
        {
            Model = metadata.GetString(Prefix + "model"),
            Pre = metadata.TryGetString(Prefix + "pre", out string? pre) ? pre : null,
            Tokens = metadata.GetStringArray(Prefix + "tokens"),
            TokenTypes = metadata.Contains(Prefix + "token_type") ? metadata.GetInt32Array(Prefix + "token_type") : null,
            Scores = metadata.Contains(Prefix + "scores") ? metadata.GetSingleArray(Prefix + "scores") : null,
            Merges = metadata.Contains(Prefix + "merges") ? metadata.GetStringArray(Prefix + "merges") : null,
            BosId = Id("bos_token_id"),
            EosId = Id("eos_token_id"),
            EotId = Id("eot_token_id"),
            UnkId = Id("unknown_token_id"),
            PadId = Id("padding_token_id"),
            AddBos = Flag("add_bos_token"),
            AddEos = Flag("add_eos_token"),
            AddSpacePrefix = Flag("add_space_prefix"),
            RemoveExtraWhitespaces = Flag("remove_extra_whitespaces"),
        };

        int? Id(string name) => metadata.TryGetInt32(Prefix + name, out int id) ? id : null;
        bool? Flag(string name) => metadata.TryGetBoolean(Prefix + name, out bool flag) ? flag : null;
    }
}
