using System.Globalization;
using System.IO.Compression;
using System.Text.Json;

namespace Antiphon.Cli;

/// <summary>
/// Recorded traffic: the Azure LLM inference trace (CSV with time, prompt and answer length) and the Mooncake trace (a JSON object a line with milliseconds,
/// lengths, and an id for each 512 tokens of prompt, so that equal ids are equal text). Either may be gzipped.
/// </summary>
internal static class TraceFile
{
    private const int MooncakeBlock = 512;
    private const int LineLimit = 1 << 20;
    private const int TokenLimit = 1 << 20;

    /// <summary>Reads the first requests of a trace.</summary>
    /// <param name="path">The file.</param>
    /// <param name="count">Most requests.</param>
    /// <param name="speed">How many times faster than recorded they come.</param>
    /// <param name="lengthScale">Factor on all lengths: recorded ones suit models with long contexts.</param>
    /// <exception cref="CommandException">It is neither format; the message names the line.</exception>
    public static LoadPlan Read(string path, int count, double speed, double lengthScale)
    {
        if (!File.Exists(path))
        {
            throw new CommandException($"{path}: there is no such file; name a trace (Azure CSV or Mooncake JSONL)");
        }

        using Stream file = File.OpenRead(path);
        using Stream plain = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? new GZipStream(file, CompressionMode.Decompress) : file;
        using var reader = new BoundedLines(plain, LineLimit);
        List<PlannedRequest> requests = [];
        double? start = null;
        int number = 0;
        try
        {
            for (string? line = reader.Read(); line is not null && requests.Count < count; line = reader.Read())
            {
                number++;
                if (line.Length == 0 || (number == 1 && line.StartsWith("TIMESTAMP", StringComparison.OrdinalIgnoreCase)))
                {
                    continue;
                }

                (double at, PlannedRequest request) = line[0] == '{' ? Mooncake(line, lengthScale) : Azure(line, requests.Count, lengthScale);
                start ??= at;
                requests.Add(request with { At = Math.Max(0, (at - start.Value) / speed) });
            }
        }
        catch (Exception failure) when (failure is FormatException or OverflowException or JsonException or InvalidOperationException or KeyNotFoundException or InvalidDataException)
        {
            throw new CommandException($"{path}: line {number} is neither of the Azure trace (time,prompt tokens,answer tokens) nor of the Mooncake trace (JSON with timestamp, input_length, output_length): {failure.Message.TrimEnd('.')}");
        }

        if (requests.Count == 0)
        {
            throw new CommandException($"{path}: holds no requests; name an Azure CSV or a Mooncake JSONL trace");
        }

        requests.Sort((a, b) => a.At.CompareTo(b.At));
        return new LoadPlan(requests, null, FormattableString.Invariant($"{requests.Count} requests of {Path.GetFileName(path)}, {speed:0.###} times as fast, lengths times {lengthScale:0.####}"));
    }

    private static (double At, PlannedRequest Request) Azure(string line, int index, double scale)
    {
        string[] fields = line.Split(',');
        if (fields.Length != 3)
        {
            throw new FormatException($"it has {fields.Length} fields");
        }

        DateTime time = DateTime.Parse(fields[0], CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal);
        return ((time - DateTime.UnixEpoch).TotalSeconds, new PlannedRequest(0, [new PromptPart(index, Tokens(fields[1], scale))], Tokens(fields[2], scale)));
    }

    private static (double At, PlannedRequest Request) Mooncake(string line, double scale)
    {
        using JsonDocument document = JsonDocument.Parse(line, new JsonDocumentOptions { MaxDepth = 8 });
        JsonElement root = document.RootElement;
        int left = Tokens(root.GetProperty("input_length").GetInt32(), scale);
        int block = Math.Max(1, (int)(MooncakeBlock * scale));
        List<PromptPart> parts = [];
        foreach (JsonElement id in root.GetProperty("hash_ids").EnumerateArray())
        {
            int tokens = Math.Min(left, block);
            if (tokens > 0)
            {
                parts.Add(new PromptPart(~id.GetInt64(), tokens));
                left -= tokens;
            }
        }

        if (left > 0 || parts.Count == 0)
        {
            parts.Add(new PromptPart(long.MinValue + parts.Count, Math.Max(left, 1)));
        }

        return (root.GetProperty("timestamp").GetDouble() / 1000, new PlannedRequest(0, parts, Tokens(root.GetProperty("output_length").GetInt32(), scale)));
    }

    private static int Tokens(string text, double scale) => Tokens(int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture), scale);

    private static int Tokens(int count, double scale) =>
        count is >= 0 and <= TokenLimit ? (int)Math.Clamp(Math.Round(count * scale), 1, TokenLimit) : throw new FormatException($"{count} tokens are not from 0 to {TokenLimit}");
}
