using System.Globalization;
using System.Text.Json;
using Antiphon.Engine;

namespace Antiphon.Server;

/// <summary>The fields that chat and text completions share, read into an engine request.</summary>
internal static class GenerationFields
{
    /// <summary>Reads everything but the prompt and the log-probabilities, which the two protocols spell differently.</summary>
    /// <param name="fields">The request.</param>
    /// <param name="model">The model.</param>
    /// <param name="defaultMaxTokens">Longest answer where the request does not say; null: what fits.</param>
    /// <param name="promptOnly">Whether <c>max_tokens</c> is 0, to score the prompt: the engine then makes one token, which is dropped.</param>
    public static GenerationRequest Read(JsonFields fields, ServedModel model, int? defaultMaxTokens, bool promptOnly = false)
    {
        long? newer = fields.Integer("max_completion_tokens", 1, int.MaxValue);
        long? older = fields.Integer("max_tokens", promptOnly ? 0 : 1, int.MaxValue);
        int? maxTokens = promptOnly ? 1 : (int?)(newer ?? older) ?? defaultMaxTokens;
        int minTokens = (int)(fields.Integer("min_tokens", 0, int.MaxValue) ?? 0);
        if (minTokens > maxTokens && !promptOnly)
        {
            throw ApiException.Invalid("min_tokens", $"must not be more than the {maxTokens} tokens that the answer may have", "min_tokens_above_limit");
        }

        return new GenerationRequest
        {
            PromptTokens = [],
            MaxTokens = maxTokens,
            MinTokens = promptOnly ? 0 : minTokens,
            Sampling = ReadSampling(fields, model),
            StopStrings = ReadStops(fields),
            StopTokens = ReadStopTokens(fields, model.Engine.VocabularySize),
            IgnoreEos = fields.Boolean("ignore_eos") ?? false,
            N = (int)(fields.Integer("n", 1, GenerationRequest.MaximumN) ?? 1),
            Seed = fields.Integer("seed", long.MinValue, long.MaxValue),
            CacheSalt = fields.String("cache_salt"),
            Priority = (int)(fields.Integer("priority", int.MinValue, int.MaxValue) ?? 0),
            SkipSpecialTokens = fields.Boolean("skip_special_tokens") ?? true,
        };
    }

    /// <summary>Checks fields that are accepted for compatibility and have no effect on the answer.</summary>
    public static void CheckIgnored(JsonFields fields)
    {
        _ = fields.String("user");
        if (fields.Object("metadata") is JsonFields metadata)
        {
            foreach (JsonProperty entry in metadata.Element.EnumerateObject())
            {
                if (entry.Value.ValueKind != JsonValueKind.String)
                {
                    throw ApiException.Invalid(metadata.Name(entry.Name), $"must be a string, not {JsonFields.Kind(entry.Value)}");
                }
            }
        }
    }

    /// <summary>Whether to stream, and whether the last chunk carries the usage.</summary>
    public static StreamOptions ReadStream(JsonFields fields)
    {
        bool stream = fields.Boolean("stream") ?? false;
        JsonFields? options = fields.Object("stream_options");
        if (options is null)
        {
            return new StreamOptions(stream, false, false);
        }

        if (!stream)
        {
            throw ApiException.Invalid("stream_options", "is only allowed with \"stream\": true");
        }

        bool continuous = options.Value.Boolean("continuous_usage_stats") ?? false;
        return new StreamOptions(true, (options.Value.Boolean("include_usage") ?? false) || continuous, continuous);
    }

    private static SamplingOptions ReadSampling(JsonFields fields, ServedModel model)
    {
        SamplingOptions defaults = model.DefaultSampling;
        float? topP = fields.Number("top_p", 0, 1);
        return defaults with
        {
            Temperature = fields.Number("temperature", 0, 100) ?? defaults.Temperature,
            TopK = (int)Math.Max(fields.Integer("top_k", -1, int.MaxValue) ?? defaults.TopK, 0),
            TopP = topP is 0 ? float.Epsilon : topP ?? defaults.TopP,
            MinP = fields.Number("min_p", 0, 1) ?? defaults.MinP,
            TypicalP = fields.Number("typical_p", 1e-6, 1) ?? defaults.TypicalP,
            TopNSigma = fields.Number("top_n_sigma", 0, 1e6) ?? defaults.TopNSigma,
            RepetitionPenalty = fields.Number("repetition_penalty", 1e-3, 100) ?? defaults.RepetitionPenalty,
            FrequencyPenalty = fields.Number("frequency_penalty", -2, 2) ?? defaults.FrequencyPenalty,
            PresencePenalty = fields.Number("presence_penalty", -2, 2) ?? defaults.PresencePenalty,
            DryMultiplier = fields.Number("dry_multiplier", 0, 1000) ?? defaults.DryMultiplier,
            DryBase = fields.Number("dry_base", 1, 100) ?? defaults.DryBase,
            DryAllowedLength = (int)(fields.Integer("dry_allowed_length", 1, 1 << 20) ?? defaults.DryAllowedLength),
            XtcProbability = fields.Number("xtc_probability", 0, 1) ?? defaults.XtcProbability,
            XtcThreshold = fields.Number("xtc_threshold", 0, 1) ?? defaults.XtcThreshold,
            Mirostat = fields.Integer("mirostat", 0, 2) switch
            {
                null => defaults.Mirostat,
                0 => false,
                2 => true,
                _ => throw ApiException.Invalid("mirostat", "must be 0 (off) or 2; version 1 is not offered"),
            },
            MirostatTau = fields.Number("mirostat_tau", 1e-3, 100) ?? defaults.MirostatTau,
            MirostatEta = fields.Number("mirostat_eta", 1e-6, 1) ?? defaults.MirostatEta,
            LogitBias = ReadBias(fields, model.Engine.VocabularySize) ?? defaults.LogitBias,
        };
    }

    private static Dictionary<int, float>? ReadBias(JsonFields fields, int vocabulary)
    {
        JsonFields? bias = fields.Object("logit_bias");
        if (bias is null)
        {
            return null;
        }

        var values = new Dictionary<int, float>();
        List<string>? bad = null;
        bool onlyUnknown = true;
        foreach (JsonProperty entry in bias.Value.Element.EnumerateObject())
        {
            bool digits = entry.Name.Length > 0 && entry.Name.All(char.IsAsciiDigit);
            if (!digits || !int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int token) || token >= vocabulary)
            {
                onlyUnknown &= digits;
                (bad ??= []).Add(entry.Name.Length <= 20 ? entry.Name : entry.Name[..20] + "…");
                continue;
            }

            if (entry.Value.ValueKind != JsonValueKind.Number || !entry.Value.TryGetDouble(out double value) || value is not (>= -100 and <= 100))
            {
                throw ApiException.Invalid("logit_bias", $"the value of \"{entry.Name}\" must be a number from -100 to 100");
            }

            values[token] = value <= -100 ? float.NegativeInfinity : (float)value;
        }

        if (bad is not null)
        {
            string names = string.Join(", ", bad.Take(20).Select(name => $"\"{name}\""));
            throw ApiException.Invalid("logit_bias", $"keys must be token ids from 0 to {vocabulary - 1}; these are not: {names}{(bad.Count > 20 ? $" and {bad.Count - 20} more" : string.Empty)}", onlyUnknown ? TokenList.Unknown : null);
        }

        return values;
    }

    private static string[] ReadStops(JsonFields fields)
    {
        JsonElement? stop = fields.Any("stop");
        if (stop is null)
        {
            return [];
        }

        if (stop.Value.ValueKind == JsonValueKind.String)
        {
            return [CheckStop(stop.Value.GetString()!)];
        }

        if (stop.Value.ValueKind != JsonValueKind.Array)
        {
            throw ApiException.Invalid("stop", $"must be a string or a list of strings, not {JsonFields.Kind(stop.Value)}");
        }

        if (stop.Value.GetArrayLength() > GenerationRequest.MaximumStopStrings)
        {
            throw ApiException.Invalid("stop", $"may have at most {GenerationRequest.MaximumStopStrings} entries");
        }

        var stops = new List<string>();
        foreach (JsonElement entry in stop.Value.EnumerateArray())
        {
            stops.Add(entry.ValueKind == JsonValueKind.String
                ? CheckStop(entry.GetString()!)
                : throw ApiException.Invalid("stop", $"entries must be strings, not {JsonFields.Kind(entry)}"));
        }

        return [.. stops];
    }

    private static string CheckStop(string stop) => stop.Length is > 0 and <= GenerationRequest.MaximumStopLength
        ? stop
        : throw ApiException.Invalid("stop", $"entries must have 1 to {GenerationRequest.MaximumStopLength} characters");

    private static int[] ReadStopTokens(JsonFields fields, int vocabulary)
    {
        JsonElement? list = fields.Array("stop_token_ids", GenerationRequest.MaximumStopTokens);
        return list is null ? [] : TokenList.Read(list.Value, "stop_token_ids", vocabulary);
    }
}

/// <summary>How an answer is sent.</summary>
/// <param name="Stream">As server-sent events.</param>
/// <param name="IncludeUsage">With a last chunk that has the usage and no choices.</param>
/// <param name="Continuous">With the usage so far in every chunk.</param>
internal readonly record struct StreamOptions(bool Stream, bool IncludeUsage, bool Continuous);
