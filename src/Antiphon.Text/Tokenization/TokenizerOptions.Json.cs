using System.Text.Json;

namespace Antiphon.Text;

public sealed partial record TokenizerOptions
{
    /// <summary>Reads a <c>tokenizer_config.json</c>.</summary>
    /// <remarks>
    /// <c>add_bos_token</c> and <c>add_eos_token</c> count for the tokenizer classes of the Llama and Gemma families only: for others
    /// transformers lets the post-processor of <c>tokenizer.json</c> decide.
    /// </remarks>
    /// <exception cref="TokenizerFormatException">The file is malformed.</exception>
    public static TokenizerOptions FromTokenizerConfig(ReadOnlyMemory<byte> utf8Json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(utf8Json, new() { MaxDepth = 64 });
            var root = new JsonComponent(document.RootElement, "");
            string type = root.OptionalText("tokenizer_class") ?? "";
            bool decides = type.Contains("Llama", StringComparison.Ordinal) || type.StartsWith("Gemma", StringComparison.Ordinal);
            return new()
            {
                BosToken = Token(root, "bos_token"),
                EosToken = Token(root, "eos_token"),
                UnkToken = Token(root, "unk_token"),
                PadToken = Token(root, "pad_token"),
                AddBos = decides ? Flag(root, "add_bos_token") : null,
                AddEos = decides ? Flag(root, "add_eos_token") : null,
            };
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new TokenizerFormatException($"tokenizer_config.json cannot be read: {e.Message} Download the model again", e);
        }
    }

    private static bool? Flag(JsonComponent root, string name) => root.Child(name).IsNull ? null : root.Flag(name, false);

    // A string, or an added token as an object.
    private static string? Token(JsonComponent root, string name)
    {
        JsonComponent token = root.Child(name);
        return token.Element.ValueKind == JsonValueKind.Object ? token.OptionalText("content") : root.OptionalText(name);
    }
}
