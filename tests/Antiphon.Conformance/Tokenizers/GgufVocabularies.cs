using Antiphon.Models;
using Antiphon.Text;

namespace Antiphon.Conformance.Tokenizers;

/// <summary>The vocabulary of a GGUF file.</summary>
internal static class GgufVocabularies
{
    public static GgufVocabulary Read(GgufMetadata metadata)
    {
        const string Prefix = "tokenizer.ggml.";
        int? Id(string name) => metadata.TryGetInt32(Prefix + name, out int id) ? id : null;
        bool? Flag(string name) => metadata.TryGetBoolean(Prefix + name, out bool flag) ? flag : null;
        T[]? Array<T>(string name, Func<string, T[]> read) => metadata.Contains(Prefix + name) ? read(Prefix + name) : null;
        return new()
        {
            Model = metadata.GetString(Prefix + "model"),
            Pre = metadata.TryGetString(Prefix + "pre", out string? pre) ? pre : null,
            Tokens = metadata.GetStringArray(Prefix + "tokens"),
            TokenTypes = Array("token_type", metadata.GetInt32Array),
            Scores = Array("scores", metadata.GetSingleArray),
            Merges = Array("merges", metadata.GetStringArray),
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
    }
}
