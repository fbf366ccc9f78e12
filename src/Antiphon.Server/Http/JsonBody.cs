using System.Buffers;
using System.Text.Json;
using System.Text.Unicode;
using Microsoft.AspNetCore.Http.Features;

namespace Antiphon.Server;

/// <summary>Reads a request's JSON body, and writes JSON answers.</summary>
internal static class JsonBody
{
    private const int MaximumDepth = 64;

    /// <summary>Reads and parses the body.</summary>
    /// <exception cref="ApiException">Another content type, too large, or not JSON.</exception>
    public static async Task<JsonDocument> ReadAsync(HttpContext context, long maximumBytes)
    {
        HttpRequest request = context.Request;
        if (!request.HasJsonContentType())
        {
            throw new ApiException(415, "invalid_request_error", "the content type must be application/json", null, "unsupported_media_type");
        }

        // The web server's own limit may be another and would close the connection.
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
        {
            limit.MaxRequestBodySize = null;
        }

        if (request.ContentLength > maximumBytes)
        {
            throw TooLarge(maximumBytes);
        }

        using var buffer = new MemoryStream((int)Math.Min(request.ContentLength ?? 4096, 1 << 20));
        byte[] chunk = ArrayPool<byte>.Shared.Rent(32 * 1024);
        try
        {
            int read;
            while ((read = await request.Body.ReadAsync(chunk, context.RequestAborted)) > 0)
            {
                if (buffer.Length + read > maximumBytes)
                {
                    throw TooLarge(maximumBytes);
                }

                buffer.Write(chunk, 0, read);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }

        ReadOnlyMemory<byte> json = buffer.GetBuffer().AsMemory(0, (int)buffer.Length);
        try
        {
            CheckText(json.Span);
            return JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = MaximumDepth });
        }
        catch (JsonException exception)
        {
            throw ApiException.Invalid(null, $"the body is not valid JSON (line {exception.LineNumber + 1}, byte {exception.BytePositionInLine})");
        }
    }

    /// <summary>Refuses text that is none, wherever it stands, so that nobody behind this has to expect it: bytes that are not UTF-8, escapes of half a surrogate pair.</summary>
    private static void CheckText(ReadOnlySpan<byte> json)
    {
        bool good = Utf8.IsValid(json);
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = MaximumDepth });
        try
        {
            while (good && reader.Read())
            {
                if (reader.ValueIsEscaped && reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName)
                {
                    _ = reader.GetString();
                }
            }
        }
        catch (InvalidOperationException)
        {
            good = false;
        }

        if (!good)
        {
            throw ApiException.Invalid(null, "the body is not valid Unicode text");
        }
    }

    /// <summary>Answers with JSON.</summary>
    public static async Task WriteAsync<TState>(HttpContext context, int status, TState state, Action<Utf8JsonWriter, TState> write)
    {
        var buffer = new ArrayBufferWriter<byte>(1024);
        using (var writer = new Utf8JsonWriter(buffer, WriterOptions))
        {
            write(writer, state);
        }

        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json; charset=utf-8";
        context.Response.ContentLength = buffer.WrittenCount;
        await context.Response.Body.WriteAsync(buffer.WrittenMemory, context.RequestAborted);
    }

    /// <summary>Answers with an OpenAI error body.</summary>
    public static Task WriteErrorAsync(HttpContext context, ApiException error)
    {
        if (error.RetryAfter is int seconds)
        {
            context.Response.Headers.RetryAfter = seconds.ToString(System.Globalization.CultureInfo.InvariantCulture);
        }

        return WriteAsync(context, error.Status, error, static (writer, error) => WriteError(writer, error));
    }

    /// <summary>Writes <c>{"error": {...}}</c>.</summary>
    public static void WriteError(Utf8JsonWriter writer, ApiException error)
    {
        writer.WriteStartObject();
        writer.WriteStartObject("error");
        writer.WriteString("message", error.Message);
        writer.WriteString("type", error.Type);
        writer.WriteString("param", error.Parameter);
        writer.WriteString("code", error.Code);
        if (error.Lengths is (int prompt, int context))
        {
            writer.WriteNumber("n_prompt_tokens", prompt);
            writer.WriteNumber("n_ctx", context);
        }

        writer.WriteEndObject();
        writer.WriteEndObject();
    }

    /// <summary>Relaxed, so that text outside ASCII stays readable; answers are never placed into HTML.</summary>
    public static JsonWriterOptions WriterOptions { get; } = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static ApiException TooLarge(long maximum) =>
        new(413, "invalid_request_error", $"the body may have at most {maximum} bytes", null, "body_too_large");
}
