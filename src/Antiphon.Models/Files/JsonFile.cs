using System.Globalization;
using System.Text.Json;

namespace Antiphon.Models;

/// <summary>Reads the JSON files of a model folder.</summary>
public static class JsonFile
{
    private const int MaxBytes = 64 << 20;

    /// <summary>
    /// Reads a JSON file. The bare words Infinity, -Infinity and NaN, which Python writes, become {"__float__": "Infinity"} and so on,
    /// the form of transformers 5; <see cref="GetDouble"/> reads both.
    /// </summary>
    /// <exception cref="ModelFormatException">The file is missing, too large or no JSON object.</exception>
    public static JsonElement ReadObject(string path) => ParseObject(path, ReadBytes(path, MaxBytes));

    /// <summary>As <see cref="ReadObject"/>, for a file that holds a list.</summary>
    /// <exception cref="ModelFormatException">The file is missing, too large or no JSON array.</exception>
    public static JsonElement ReadArray(string path) => Parse(path, ReadBytes(path, MaxBytes), JsonValueKind.Array);

    /// <summary>A number, or a non-finite one in the form {"__float__": "Infinity"}.</summary>
    /// <exception cref="ModelFormatException">It is neither.</exception>
    public static double GetDouble(JsonElement element)
    {
        if (element.ValueKind == JsonValueKind.Number && element.TryGetDouble(out double number))
        {
            return number;
        }

        if (element.ValueKind == JsonValueKind.Object && element.TryGetProperty("__float__", out JsonElement word) && word.ValueKind == JsonValueKind.String)
        {
            switch (word.GetString())
            {
                case "Infinity" or "inf":
                    return double.PositiveInfinity;
                case "-Infinity" or "-inf":
                    return double.NegativeInfinity;
                case "NaN" or "nan":
                    return double.NaN;
                case string text when double.TryParse(text, CultureInfo.InvariantCulture, out number):
                    return number;
            }
        }

        throw new ModelFormatException($"config.json has {element.ValueKind} where a number is needed; correct the file");
    }

    /// <summary>All bytes of a file.</summary>
    internal static byte[] ReadBytes(string path, long maxBytes)
    {
        try
        {
            long length = new FileInfo(path) is { Exists: true } info ? info.Length : throw new FileNotFoundException(null, path);
            return length <= maxBytes ? File.ReadAllBytes(path) : throw new ModelFormatException($"{path}: the file has {length} bytes, and {maxBytes} are allowed; it is no file of a model folder");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ModelFormatException($"{path}: there is no such file; a Hugging Face folder needs it: fetch it again", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ModelFormatException($"{path}: cannot be read ({e.Message}); check that you may read it", e);
        }
    }

    /// <summary>Parses a JSON object.</summary>
    internal static JsonElement ParseObject(string path, byte[] json) => Parse(path, json, JsonValueKind.Object);

    private static JsonElement Parse(string path, byte[] json, JsonValueKind kind)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(ReplaceBareWords(json), new JsonDocumentOptions { MaxDepth = 64 });
            CheckText(document.RootElement);
            return document.RootElement.ValueKind == kind
                ? document.RootElement.Clone()
                : throw new ModelFormatException($"{path}: the file holds no JSON {(kind == JsonValueKind.Object ? "object" : "array")}; fetch it again");
        }
        catch (InvalidOperationException e)
        {
            throw new ModelFormatException($"{path}: the file has text that is not Unicode; fetch it again", e);
        }
        catch (JsonException e)
        {
            throw new ModelFormatException($"{path}: the file is no valid JSON (line {e.LineNumber + 1}, byte {e.BytePositionInLine}); fetch it again", e);
        }
    }

    /// <summary>
    /// Decodes every string once, so that none can fail later: the parser leaves broken UTF-8 and lone surrogates for whoever reads them.
    /// As deep as the parser allows.
    /// </summary>
    private static void CheckText(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.String:
                _ = element.GetString();
                break;
            case JsonValueKind.Array:
                foreach (JsonElement item in element.EnumerateArray())
                {
                    CheckText(item);
                }

                break;
            case JsonValueKind.Object:
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    _ = property.Name;
                    CheckText(property.Value);
                }

                break;
        }
    }

    private static byte[] ReplaceBareWords(byte[] json)
    {
        ReadOnlySpan<byte> rest = json.AsSpan().StartsWith("\uFEFF"u8) ? json.AsSpan(3) : json;
        if (rest.Length == json.Length && rest.IndexOf("Infinity"u8) < 0 && rest.IndexOf("NaN"u8) < 0)
        {
            return json;
        }

        var replaced = new List<byte>(json.Length + 64);
        bool inString = false;
        while (!rest.IsEmpty)
        {
            int used = 1;
            if (inString)
            {
                inString = rest[0] != '"';
                used = rest[0] == '\\' && rest.Length > 1 ? 2 : 1;
                replaced.AddRange(rest[..used]);
            }
            else if (rest.StartsWith("Infinity"u8))
            {
                used = 8;
                replaced.AddRange("{\"__float__\":\"Infinity\"}"u8);
            }
            else if (rest.StartsWith("-Infinity"u8))
            {
                used = 9;
                replaced.AddRange("{\"__float__\":\"-Infinity\"}"u8);
            }
            else if (rest.StartsWith("NaN"u8))
            {
                used = 3;
                replaced.AddRange("{\"__float__\":\"NaN\"}"u8);
            }
            else
            {
                inString = rest[0] == '"';
                replaced.Add(rest[0]);
            }

            rest = rest[used..];
        }

        return [.. replaced];
    }
}
