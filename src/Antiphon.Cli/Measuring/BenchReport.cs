using System.Buffers;
using System.Text;
using System.Text.Json;

namespace Antiphon.Cli;

/// <summary>One test.</summary>
/// <param name="Length">Tokens of each prompt.</param>
/// <param name="Batch">Sequences that ran together.</param>
/// <param name="Prefill">Prompt tokens per second, over all sequences.</param>
/// <param name="Decode">Generated tokens per second, over all sequences.</param>
/// <param name="StepMilliseconds">Milliseconds of one decode step.</param>
/// <param name="BandwidthShare">Bytes that a step must read, per second, over the machine's read bandwidth.</param>
internal sealed record BenchRow(int Length, int Batch, double Prefill, double Decode, double StepMilliseconds, double BandwidthShare);

/// <summary>The results of <c>antiphon bench</c>.</summary>
internal sealed record BenchReport(
    string Model, int Threads, string Processor, string Tier, long WeightBytes, double Bandwidth, int DecodeSteps, int Repeats, IReadOnlyList<BenchRow> Rows)
{
    /// <summary>The results as JSON.</summary>
    public string ToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartObject();
            writer.WriteString("model", Model);
            writer.WriteNumber("threads", Threads);
            writer.WriteString("processor", Processor);
            writer.WriteString("tier", Tier);
            writer.WriteNumber("weight_bytes", WeightBytes);
            writer.WriteNumber("read_bytes_per_second", Bandwidth);
            writer.WriteNumber("decode_steps", DecodeSteps);
            writer.WriteNumber("repeats", Repeats);
            writer.WriteStartArray("rows");
            foreach (BenchRow row in Rows)
            {
                writer.WriteStartObject();
                writer.WriteNumber("prompt", row.Length);
                writer.WriteNumber("batch", row.Batch);
                writer.WriteNumber("prefill_tokens_per_second", row.Prefill);
                writer.WriteNumber("decode_tokens_per_second", row.Decode);
                writer.WriteNumber("decode_step_ms", row.StepMilliseconds);
                writer.WriteNumber("bandwidth_share", row.BandwidthShare);
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
            List<BenchRow> rows = [];
            foreach (JsonElement row in root.GetProperty("rows").EnumerateArray())
            {
                double Value(string key) => row.GetProperty(key).GetDouble();
                rows.Add(new BenchRow(
                    row.GetProperty("prompt").GetInt32(), row.GetProperty("batch").GetInt32(), Value("prefill_tokens_per_second"), Value("decode_tokens_per_second"), Value("decode_step_ms"), Value("bandwidth_share")));
            }

            return new BenchReport(
                root.GetProperty("model").GetString()!, root.GetProperty("threads").GetInt32(), root.GetProperty("processor").GetString()!, root.GetProperty("tier").GetString()!,
                root.GetProperty("weight_bytes").GetInt64(), root.GetProperty("read_bytes_per_second").GetDouble(), root.GetProperty("decode_steps").GetInt32(), root.GetProperty("repeats").GetInt32(), rows);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new CommandException($"{name}: is not what 'antiphon bench --json' writes ({e.Message.TrimEnd('.')}); give such a file to --compare");
        }
    }
}
