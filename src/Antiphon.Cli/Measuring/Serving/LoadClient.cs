using System.Buffers;
using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace Antiphon.Cli;

/// <summary>Sends streamed requests to an OpenAI-compatible server and notes when what arrives.</summary>
internal sealed class LoadClient : IDisposable
{
    private const int LineLimit = 1 << 20;
    private readonly HttpClient http;
    private readonly string? model;
    private readonly bool chat;

    /// <summary>A client of one server.</summary>
    /// <param name="address">The server, with or without <c>/v1</c>.</param>
    /// <param name="key">A key, or null.</param>
    /// <param name="model">A model's name, or null.</param>
    /// <param name="chat">Whether to use chat completions instead of completions.</param>
    public LoadClient(Uri address, string? key, string? model, bool chat)
    {
        this.model = model;
        this.chat = chat;

        // Neither a proxy nor a redirect takes the load to another machine.
        http = new HttpClient(new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(10) })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
        string text = address.GetLeftPart(UriPartial.Path).TrimEnd('/');
        http.BaseAddress = new Uri((text.EndsWith("/v1", StringComparison.Ordinal) ? text : text + "/v1") + "/");
        if (key is not null)
        {
            http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        }
    }

    /// <summary>Sends a request and reads its answer to the end. Failures are in the record.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <param name="outputTokens">Tokens to generate.</param>
    /// <param name="due">When it was due, in seconds since <paramref name="start"/>.</param>
    /// <param name="start">Timestamp of the start of the run.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<RequestRecord> SendAsync(string prompt, int outputTokens, double due, long start, CancellationToken cancellationToken)
    {
        var record = new RequestRecord { Due = due };
        try
        {
            using var content = new ByteArrayContent(Body(prompt, outputTokens)) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
            using var request = new HttpRequestMessage(HttpMethod.Post, chat ? "chat/completions" : "completions") { Content = content };
            using HttpResponseMessage response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
            using var lines = new BoundedLines(await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false), LineLimit);
            if (!response.IsSuccessStatusCode)
            {
                string? first = await lines.ReadAsync(cancellationToken).ConfigureAwait(false);
                record.Error = $"{(int)response.StatusCode}: {Message(first)}";
                return record;
            }

            bool done = false;
            while (!done && await lines.ReadAsync(cancellationToken).ConfigureAwait(false) is { } line)
            {
                if (line.StartsWith("data:", StringComparison.Ordinal))
                {
                    string data = line[5..].Trim();
                    done = data == "[DONE]";
                    if (!done)
                    {
                        Read(data, record, Stopwatch.GetElapsedTime(start).TotalSeconds);
                    }
                }
            }

            record.End = Stopwatch.GetElapsedTime(start).TotalSeconds;
            record.OutputTokens = Math.Max(record.OutputTokens, record.Pieces.Count);
            record.Error ??= !done ? "the stream broke off" : record.Pieces.Count == 0 ? "the answer is empty" : null;
        }
        catch (Exception failure) when (failure is HttpRequestException or IOException or InvalidDataException or JsonException or InvalidOperationException or FormatException)
        {
            record.Error = failure.Message;
        }
        catch (OperationCanceledException)
        {
            record.Error = "not finished in time";
        }

        return record;
    }

    public void Dispose() => http.Dispose();

    private byte[] Body(string prompt, int outputTokens)
    {
        var buffer = new ArrayBufferWriter<byte>(prompt.Length + 256);
        using var writer = new Utf8JsonWriter(buffer);
        writer.WriteStartObject();
        if (model is not null)
        {
            writer.WriteString("model", model);
        }

        if (chat)
        {
            writer.WriteStartArray("messages");
            writer.WriteStartObject();
            writer.WriteString("role", "user");
            writer.WriteString("content", prompt);
            writer.WriteEndObject();
            writer.WriteEndArray();
        }
        else
        {
            writer.WriteString("prompt", prompt);
        }

        writer.WriteNumber("max_tokens", outputTokens);
        writer.WriteNumber("temperature", 0);
        writer.WriteBoolean("ignore_eos", true);
        writer.WriteBoolean("stream", true);
        writer.WriteStartObject("stream_options");
        writer.WriteBoolean("include_usage", true);
        writer.WriteEndObject();
        writer.WriteEndObject();
        writer.Flush();
        return buffer.WrittenSpan.ToArray();
    }

    private static void Read(string data, RequestRecord record, double now)
    {
        using JsonDocument document = JsonDocument.Parse(data, new JsonDocumentOptions { MaxDepth = 32 });
        JsonElement root = document.RootElement;
        if (root.TryGetProperty("error", out _))
        {
            record.Error = Message(data);
        }

        if (root.TryGetProperty("choices", out JsonElement choices))
        {
            foreach (JsonElement choice in choices.EnumerateArray())
            {
                if (HasText(choice, "text") || (choice.TryGetProperty("delta", out JsonElement delta) && (HasText(delta, "content") || HasText(delta, "reasoning_content") || HasText(delta, "reasoning"))))
                {
                    record.Pieces.Add(now);
                }
            }
        }

        if (root.TryGetProperty("usage", out JsonElement usage) && usage.ValueKind == JsonValueKind.Object)
        {
            record.PromptTokens = usage.GetProperty("prompt_tokens").GetInt32();
            record.OutputTokens = usage.GetProperty("completion_tokens").GetInt32();
            if (usage.TryGetProperty("prompt_tokens_details", out JsonElement details) && details.ValueKind == JsonValueKind.Object && details.TryGetProperty("cached_tokens", out JsonElement cached))
            {
                record.CachedTokens = cached.GetInt32();
            }
        }
    }

    private static bool HasText(JsonElement holder, string name) =>
        holder.TryGetProperty(name, out JsonElement text) && text.ValueKind == JsonValueKind.String && text.GetString()!.Length > 0;

    private static string Message(string? body)
    {
        string message = body ?? "no body";
        try
        {
            using JsonDocument document = JsonDocument.Parse(message);
            if (document.RootElement.TryGetProperty("error", out JsonElement error) && error.ValueKind == JsonValueKind.Object && error.TryGetProperty("message", out JsonElement text))
            {
                message = text.ToString();
            }
        }
        catch (Exception failure) when (failure is JsonException or InvalidOperationException)
        {
            // Then it is shown as it came.
        }

        return message.Length <= 300 ? message : message[..300] + "…";
    }
}
