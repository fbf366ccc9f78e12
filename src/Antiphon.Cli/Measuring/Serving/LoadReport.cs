using System.Buffers;
using System.Text;
using System.Text.Json;

namespace Antiphon.Cli;

/// <summary>How a quantity is distributed, in seconds.</summary>
/// <param name="Sorted">All values, rising.</param>
internal sealed record Distribution(double[] Sorted)
{
    /// <summary>Of values in any order.</summary>
    public static Distribution Of(IEnumerable<double> values)
    {
        double[] sorted = [.. values];
        Array.Sort(sorted);
        return new Distribution(sorted);
    }

    /// <summary>The mean; 0 of nothing.</summary>
    public double Mean => Sorted.Length == 0 ? 0 : Sorted.Average();

    /// <summary>The least value that at least this share (0 to 1) of all values do not exceed; 0 of nothing.</summary>
    public double At(double share) => Sorted.Length == 0 ? 0 : Sorted[Math.Clamp((int)Math.Ceiling(share * Sorted.Length) - 1, 0, Sorted.Length - 1)];
}

/// <summary>The results of <c>antiphon bench serve</c>.</summary>
internal sealed class LoadReport
{
    /// <summary>Sums up a run.</summary>
    public LoadReport(string server, string plan, int seed, IReadOnlyList<RequestRecord> records, double seconds, double? firstTarget, double? tokenTarget)
    {
        Server = server;
        Plan = plan;
        Seed = seed;
        Records = records;
        Seconds = seconds;
        FirstTarget = firstTarget;
        TokenTarget = tokenTarget;
        Good = [.. records.Where(r => r.Good)];
        FirstToken = Distribution.Of(Good.Select(r => r.FirstToken));
        InterToken = Distribution.Of(Good.SelectMany(r => r.Pieces.Zip(r.Pieces.Skip(1), (a, b) => b - a)));
        PerToken = Distribution.Of(Good.Where(r => r.OutputTokens > 1).Select(r => r.PerToken));
        Total = Distribution.Of(Good.Select(r => r.Total));
        OnTarget = Good.Count(r => r.FirstToken <= (firstTarget ?? double.PositiveInfinity) && r.PerToken <= (tokenTarget ?? double.PositiveInfinity));
    }

    public string Server { get; }

    public string Plan { get; }

    public int Seed { get; }

    /// <summary>All requests, by the time they were due.</summary>
    public IReadOnlyList<RequestRecord> Records { get; }

    /// <summary>Those that were answered.</summary>
    public IReadOnlyList<RequestRecord> Good { get; }

    public double Seconds { get; }

    /// <summary>Target for the time to first token in seconds, or null.</summary>
    public double? FirstTarget { get; }

    /// <summary>Target for a request's mean time per token in seconds, or null.</summary>
    public double? TokenTarget { get; }

    /// <summary>Time to first token.</summary>
    public Distribution FirstToken { get; }

    /// <summary>Time between two pieces of an answer, over all answers.</summary>
    public Distribution InterToken { get; }

    /// <summary>Mean time per token behind the first, one value a request.</summary>
    public Distribution PerToken { get; }

    /// <summary>Time to the whole answer.</summary>
    public Distribution Total { get; }

    /// <summary>Requests within the targets.</summary>
    public int OnTarget { get; }

    public double RequestsPerSecond => Good.Count / Seconds;

    public double OutputPerSecond => Good.Sum(r => (double)r.OutputTokens) / Seconds;

    public double PromptPerSecond => Good.Sum(r => (double)r.PromptTokens) / Seconds;

    /// <summary>Requests within the targets per second.</summary>
    public double Goodput => OnTarget / Seconds;

    /// <summary>Share of the prompt tokens that came from the server's cache.</summary>
    public double CachedShare => Good.Sum(r => (double)r.CachedTokens) / Math.Max(1, Good.Sum(r => (double)r.PromptTokens));

    /// <summary>The distributions with their names.</summary>
    public IReadOnlyList<(string Key, string Name, Distribution Values)> Distributions =>
    [
        ("time_to_first_token", "time to first token", FirstToken), ("inter_token_latency", "inter-token latency", InterToken),
        ("time_per_output_token", "time per output token", PerToken), ("end_to_end", "end to end", Total),
    ];

    /// <summary>The results as JSON; times in seconds.</summary>
    public string ToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartObject();
            writer.WriteString("server", Server);
            writer.WriteString("plan", Plan);
            writer.WriteNumber("seed", Seed);
            writer.WriteNumber("seconds", Seconds);
            writer.WriteNumber("requests", Records.Count);
            writer.WriteNumber("answered", Good.Count);
            writer.WriteNumber("requests_per_second", RequestsPerSecond);
            writer.WriteNumber("output_tokens_per_second", OutputPerSecond);
            writer.WriteNumber("prompt_tokens_per_second", PromptPerSecond);
            writer.WriteNumber("cached_share", CachedShare);
            writer.WriteStartObject("goodput");
            Optional(writer, "ttft_target_seconds", FirstTarget);
            Optional(writer, "itl_target_seconds", TokenTarget);
            writer.WriteNumber("on_target", OnTarget);
            writer.WriteNumber("requests_per_second", Goodput);
            writer.WriteEndObject();
            foreach ((string key, _, Distribution values) in Distributions)
            {
                writer.WriteStartObject(key);
                writer.WriteNumber("count", values.Sorted.Length);
                writer.WriteNumber("mean", values.Mean);
                writer.WriteNumber("p50", values.At(0.5));
                writer.WriteNumber("p90", values.At(0.9));
                writer.WriteNumber("p99", values.At(0.99));
                writer.WriteNumber("max", values.At(1));
                writer.WriteEndObject();
            }

            writer.WriteStartObject("errors");
            foreach (IGrouping<string, RequestRecord> group in Errors)
            {
                writer.WriteNumber(group.Key, group.Count());
            }

            writer.WriteEndObject();
            writer.WriteStartArray("rows");
            foreach (RequestRecord record in Records)
            {
                writer.WriteStartObject();
                writer.WriteNumber("due", record.Due);
                writer.WriteNumber("prompt_tokens", record.PromptTokens);
                writer.WriteNumber("cached_tokens", record.CachedTokens);
                writer.WriteNumber("output_tokens", record.OutputTokens);
                if (record.Good)
                {
                    writer.WriteNumber("time_to_first_token", record.FirstToken);
                    writer.WriteNumber("time_per_output_token", record.PerToken);
                    writer.WriteNumber("end_to_end", record.Total);
                }
                else
                {
                    writer.WriteString("error", record.Error);
                }

                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    /// <summary>Failures by reason, the most frequent first.</summary>
    public IEnumerable<IGrouping<string, RequestRecord>> Errors =>
        Records.Where(r => !r.Good).GroupBy(r => r.Error ?? "no text").OrderByDescending(g => g.Count());

    private static void Optional(Utf8JsonWriter writer, string name, double? value)
    {
        if (value is double given)
        {
            writer.WriteNumber(name, given);
        }
        else
        {
            writer.WriteNull(name);
        }
    }
}
