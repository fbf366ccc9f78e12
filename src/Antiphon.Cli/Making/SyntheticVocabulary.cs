using Antiphon.Models;

namespace Antiphon.Cli.Making;

/// <summary>A byte-level BPE vocabulary of any size: the bytes, then pairs, triples and fours of lower-case letters with and without a leading space, then the control tokens of ChatML.</summary>
internal static class SyntheticVocabulary
{
    private const int Normal = 1, Control = 3;

    private const string Template =
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
        + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    private static readonly string[] Controls = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

    /// <summary>Adds the vocabulary's metadata and the chat template.</summary>
    public static void Add(GgufWriter writer, ModelShape shape)
    {
        List<string> tokens = [.. Enumerable.Range(0, 256).Select(b => Spelling((byte)b).ToString())];
        List<string> merges = [];
        int plain = shape.Vocabulary - Controls.Length;
        string[] letters = [.. Enumerable.Range('a', 26).Select(c => ((char)c).ToString())];
        string[] pairs = Join([Spelling((byte)' ').ToString(), .. letters], letters);
        string[] innerPairs = pairs[letters.Length..];
        Join(pairs, letters);
        Join(pairs, innerPairs);
        if (tokens.Count != plain)
        {
            throw new InvalidOperationException($"a vocabulary of {shape.Vocabulary} tokens cannot be made");
        }

        tokens.AddRange(Controls);
        writer.Add("tokenizer.ggml.model", GgufValue.Of("gpt2"));
        writer.Add("tokenizer.ggml.pre", GgufValue.Of(shape.WordRule));
        writer.Add("tokenizer.ggml.tokens", GgufValue.ArrayOf(GgufValueType.String, [.. tokens.Select(GgufValue.Of)]));
        writer.Add("tokenizer.ggml.token_type", GgufValue.ArrayOf(GgufValueType.Int32, [.. tokens.Select((_, id) => GgufValue.Of(id < plain ? Normal : Control))]));
        writer.Add("tokenizer.ggml.merges", GgufValue.ArrayOf(GgufValueType.String, [.. merges.Select(GgufValue.Of)]));
        writer.Add("tokenizer.ggml.bos_token_id", GgufValue.Of((uint)plain));
        writer.Add("tokenizer.ggml.eos_token_id", GgufValue.Of((uint)plain + 2));
        writer.Add("tokenizer.ggml.padding_token_id", GgufValue.Of((uint)plain));
        writer.Add("tokenizer.ggml.add_bos_token", GgufValue.Of(false));
        writer.Add("tokenizer.chat_template", GgufValue.Of(Template));

        string[] Join(string[] lefts, string[] rights)
        {
            List<string> made = [];
            foreach (string left in lefts)
            {
                foreach (string right in rights)
                {
                    if (tokens.Count == plain)
                    {
                        return [.. made];
                    }

                    made.Add(left + right);
                    tokens.Add(left + right);
                    merges.Add($"{left} {right}");
                }
            }

            return [.. made];
        }
    }

    /// <summary>How byte-level vocabularies spell a byte: printable Latin-1 as itself, the others as letters from U+0100 on.</summary>
    private static char Spelling(byte value) => value switch
    {
        <= 32 => (char)(256 + value),
        >= 127 and <= 160 => (char)(256 + 33 + value - 127),
        173 => (char)(256 + 67),
        _ => (char)value,
    };
}
