using System.Buffers;
using System.Text;
using System.Text.Json;

namespace Antiphon.Cli;

/// <summary>One figure of <c>antiphon bench</c>.</summary>
internal sealed record BenchRow
{
    /// <summary>Compute threads.</summary>
    public required int Threads { get; init; }

    /// <summary>Whether decode steps were timed, or a prompt.</summary>
    public required bool IsDecode { get; init; }

    /// <summary>Tokens of the prompt, or of the context that decode steps stand behind.</summary>
    public required int Tokens { get; init; }

    /// <summary>Sequences that ran together; 1 for prompts.</summary>
    public required int Batch { get; init; }

    /// <summary>Tokens per second, over all sequences, from the median time.</summary>
    public required double TokensPerSecond { get; init; }

    /// <summary>Seconds of a prompt, or of a decode step: the median.</summary>
    public required double Seconds { get; init; }

    /// <summary>Seconds of each run, in the order of the runs.</summary>
    public required IReadOnlyList<double> Runs { get; init; }

    /// <summary>Bytes that must be read at least.</summary>
    public required double Bytes { get; init; }

    /// <summary>Operations that must be done, a product and a sum being two.</summary>
    public required double Operations { get; init; }

    /// <summary>What bounds it: reading, or the unit that multiplies.</summary>
    public required string Limit { get; init; }

    /// <summary>The time that the limit allows over the time taken, the median over runs, each with the limit measured beside it.</summary>
    public required double LimitShare { get; init; }

    /// <summary>Whether another row is of the same test.</summary>
    public bool Matches(BenchRow other) => (Threads, IsDecode, Tokens, Batch) == (other.Threads, other.IsDecode, other.Tokens, other.Batch);
}

/// <summary>What the machine reached with a number of threads: medians over all runs.</summary>
/// <param name="Threads">Compute threads.</param>
/// <param name="ReadBytesPerSecond">Read bandwidth.</param>
/// <param name="MultiplyUnit">The unit that multiplies matrices.</param>
/// <param name="OperationsPerSecond">Its operations per second.</param>
/// <param name="LoadSeconds">Seconds that loading took, packing included.</param>
internal sealed record BenchLimits(int Threads, double ReadBytesPerSecond, string MultiplyUnit, double OperationsPerSecond, double LoadSeconds);

/// <summary>The results of <c>antiphon bench</c>.</summary>
internal sealed record BenchReport(
    string Model, string Processor, string Tier, string Precision, long WeightBytes, int DecodeSteps, int Repeats, IReadOnlyList<BenchLimits> Limits, IReadOnlyList<BenchRow> Rows)
{
    /// <summary>The results as JSON.</summary>
    public string ToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartObject();
            writer.WriteString("model", Model);
            writer.WriteString("processor", Processor);
            writer.WriteString("tier", Tier);
            writer.WriteString("precision", Precision);
            writer.WriteNumber("weight_bytes", WeightBytes);
            writer.WriteNumber("decode_steps", DecodeSteps);
            writer.WriteNumber("repeats", Repeats);
            writer.WriteStartArray("limits");
            foreach (BenchLimits limit in Limits)
            {
                writer.WriteStartObject();
                writer.WriteNumber("threads", limit.Threads);
                writer.WriteNumber("read_bytes_per_second", limit.ReadBytesPerSecond);
                writer.WriteString("multiply_unit", limit.MultiplyUnit);
                writer.WriteNumber("operations_per_second", limit.OperationsPerSecond);
                writer.WriteNumber("load_seconds", limit.LoadSeconds);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteStartArray("rows");
            foreach (BenchRow row in Rows)
            {
                writer.WriteStartObject();
                writer.WriteNumber("threads", row.Threads);
                writer.WriteString("test", row.IsDecode ? "decode" : "prefill");
                writer.WriteNumber("tokens", row.Tokens);
                writer.WriteNumber("batch", row.Batch);
                writer.WriteNumber("tokens_per_second", row.TokensPerSecond);
                writer.WriteNumber("seconds", row.Seconds);
                writer.WriteStartArray("runs");
                foreach (double run in row.Runs)
                {
                    writer.WriteNumberValue(run);
                }

                writer.WriteEndArray();
                writer.WriteNumber("bytes", row.Bytes);
                writer.WriteNumber("operations", row.Operations);
                writer.WriteString("limit", row.Limit);
                writer.WriteNumber("limit_share", row.LimitShare);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    /// <summary>Reads earlier results.</summary>
    /// <exception cref="CommandException">They are not the output of <c>antiphon bench --json</c>.</exception>
    public static BenchReport Read(string json, string name)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            JsonElement root = document.RootElement;
            List<BenchLimits> limits = [];
            foreach (JsonElement limit in root.GetProperty("limits").EnumerateArray())
            {
                limits.Add(new BenchLimits(
                    limit.GetProperty("threads").GetInt32(), limit.GetProperty("read_bytes_per_second").GetDouble(), limit.GetProperty("multiply_unit").GetString()!,
                    limit.GetProperty("operations_per_second").GetDouble(), limit.GetProperty("load_seconds").GetDouble()));
            }

            List<BenchRow> rows = [];
            foreach (JsonElement row in root.GetProperty("rows").EnumerateArray())
            {
                rows.Add(new BenchRow
                {
                    Threads = row.GetProperty("threads").GetInt32(),
                    IsDecode = row.GetProperty("test").GetString() == "decode",
                    Tokens = row.GetProperty("tokens").GetInt32(),
                    Batch = row.GetProperty("batch").GetInt32(),
                    TokensPerSecond = row.GetProperty("tokens_per_second").GetDouble(),
                    Seconds = row.GetProperty("seconds").GetDouble(),
                    Runs = [.. row.GetProperty("runs").EnumerateArray().Select(r => r.GetDouble())],
                    Bytes = row.GetProperty("bytes").GetDouble(),
                    Operations = row.GetProperty("operations").GetDouble(),
                    Limit = row.GetProperty("limit").GetString()!,
                    LimitShare = row.GetProperty("limit_share").GetDouble(),
                });
            }

            return new BenchReport(
                root.GetProperty("model").GetString()!, root.GetProperty("processor").GetString()!, root.GetProperty("tier").GetString()!, root.GetProperty("precision").GetString()!,
                root.GetProperty("weight_bytes").GetInt64(), root.GetProperty("decode_steps").GetInt32(), root.GetProperty("repeats").GetInt32(), limits, rows);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new CommandException($"{name}: is not what 'antiphon bench --json' writes ({e.Message.TrimEnd('.')}); give such a file to --compare");
        }
    }
}
