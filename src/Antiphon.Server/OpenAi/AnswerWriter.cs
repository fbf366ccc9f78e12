using System.Text.Json;
using Antiphon.Engine;
using Antiphon.Text;

namespace Antiphon.Server;

/// <summary>Parts that the answers of both completion protocols share.</summary>
internal static class AnswerWriter
{
    /// <summary>The finish reason as clients know it.</summary>
    public static string? Finish(FinishReason reason) => reason switch
    {
        FinishReason.None => null,
        FinishReason.Length => "length",
        _ => "stop",
    };

    /// <summary>Writes <c>"usage": {...}</c>.</summary>
    public static void WriteUsage(Utf8JsonWriter writer, GenerationUsage usage)
    {
        writer.WriteStartObject("usage");
        writer.WriteNumber("prompt_tokens", usage.PromptTokens);
        writer.WriteNumber("completion_tokens", usage.CompletionTokens);
        writer.WriteNumber("total_tokens", usage.TotalTokens);
        writer.WriteStartObject("prompt_tokens_details");
        writer.WriteNumber("cached_tokens", usage.CachedTokens);
        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    /// <summary>Writes one token of a chat answer's <c>logprobs.content</c>.</summary>
    public static void WriteChatLogprob(Utf8JsonWriter writer, Tokenizer tokenizer, TokenLogprob chosen, IReadOnlyList<TokenLogprob> top)
    {
        writer.WriteStartObject();
        WriteToken(writer, tokenizer, chosen);
        writer.WriteStartArray("top_logprobs");
        foreach (TokenLogprob alternative in top)
        {
            writer.WriteStartObject();
            WriteToken(writer, tokenizer, alternative);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    /// <summary>The text of one token, with bytes that are no character of their own written as U+FFFD.</summary>
    public static string TokenText(Tokenizer tokenizer, int token) => System.Text.Encoding.UTF8.GetString(tokenizer.TokenBytes(token).Span);

    private static void WriteToken(Utf8JsonWriter writer, Tokenizer tokenizer, TokenLogprob token)
    {
        ReadOnlySpan<byte> bytes = tokenizer.TokenBytes(token.Token).Span;
        writer.WriteString("token", System.Text.Encoding.UTF8.GetString(bytes));
        writer.WriteNumber("logprob", token.Logprob);
        writer.WriteStartArray("bytes");
        foreach (byte value in bytes)
        {
            writer.WriteNumberValue(value);
        }

        writer.WriteEndArray();
    }
}
