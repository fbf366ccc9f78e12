namespace Antiphon.Models;

/// <summary>Reads rotary embeddings from a <c>config.json</c>, in the classic form (<c>rope_theta</c>, <c>rope_scaling</c>) and in that of transformers 5 (<c>rope_parameters</c>).</summary>
internal sealed class RopeConfig
{
    private readonly JsonConfig config;
    private readonly JsonConfig? parameters;

    /// <summary>Finds the parameters.</summary>
    /// <param name="config">The model's config.</param>
    /// <param name="layerType">For models with a table for each layer type: which one. The classic form has one dictionary, for full layers.</param>
    /// <param name="scaled">Whether a classic <c>rope_scaling</c> applies.</param>
    public RopeConfig(JsonConfig config, string? layerType = null, bool scaled = true)
    {
        this.config = config;
        parameters = scaled ? config.Section("rope_scaling") : null;
        if (parameters is null && config.Section("rope_parameters") is JsonConfig current)
        {
            parameters = layerType is not null && current.Section(layerType) is JsonConfig nested ? nested : current;
        }
    }

    /// <summary>The name of the scaling; <c>default</c> for none.</summary>
    public string Kind => parameters?.TextOr("rope_type", parameters.TextOr("type", "default")) ?? "default";

    /// <summary>The scaling's fields; only where there is a scaling.</summary>
    public JsonConfig Parameters => parameters ?? throw new ModelFormatException("the config lacks rope_parameters");

    /// <summary>YaRN's <c>mscale_all_dim</c>, by which latent attention also scales its scores; 0 without.</summary>
    public double AllDimensionsMagnitude =>
        Kind == "default" ? 0 : Parameters.NumberOr("mscale_all_dim", 0) is double weight && weight != 0 ? RopeTables.YarnMagnitude(Factor, weight) : 0;

    /// <summary>The context that the model was first trained on.</summary>
    public double OriginalLength => config.IntOr(
        "original_max_position_embeddings",
        parameters?.IntOr("original_max_position_embeddings", config.Int("max_position_embeddings", 2, int.MaxValue), 2) ?? config.Int("max_position_embeddings", 2, int.MaxValue),
        2);

    private double Factor => Parameters.PositiveOr("factor", 1);

    /// <summary>The part of a head that is rotated.</summary>
    public double PartialFactor(double absent) =>
        parameters is not null && parameters.Has("partial_rotary_factor")
            ? parameters.PositiveOr("partial_rotary_factor", 1)
            : config.PositiveOr("partial_rotary_factor", absent);

    /// <summary>Builds the table.</summary>
    /// <param name="size">Values of a head, of which <paramref name="partial"/> are rotated unless the config says otherwise.</param>
    /// <param name="theta">θ where the config has none.</param>
    /// <param name="interleaved">Whether pairs are neighbours.</param>
    /// <param name="partial">The rotated part where the config has none.</param>
    public RopeSpec Build(int size, double theta = 10000, bool interleaved = false, double partial = 1)
    {
        theta = parameters is not null && parameters.Has("rope_theta") ? parameters.PositiveOr("rope_theta", theta) : config.PositiveOr("rope_theta", theta);
        if (theta <= 1)
        {
            throw new ModelFormatException($"the config's rope_theta must be above 1, it is {theta}");
        }

        int rotated = (int)(size * PartialFactor(partial));
        if (rotated < 2 || rotated > size || rotated % 2 != 0)
        {
            throw new ModelFormatException($"the config's partial_rotary_factor rotates {rotated} of {size} values of a head; it must be an even number of them");
        }

        double[] plain = RopeTables.Plain(theta, rotated);
        switch (Kind)
        {
            case "default":
                return Spec(plain);
            case "linear":
                return Spec(RopeTables.Divide(plain, [(float)Factor]));
            case "llama3":
                double low = Parameters.PositiveOr("low_freq_factor", 1);
                double high = Parameters.PositiveOr("high_freq_factor", 4);
                return high > low
                    ? Spec(RopeTables.Llama3(plain, Factor, low, high, OriginalLength))
                    : throw new ModelFormatException("the config's high_freq_factor must be above its low_freq_factor");
            case "yarn":
                return Yarn(plain, theta);
            case "longrope" or "su":
                return Long(plain);
            default:
                throw new UnsupportedModelException($"rope_type '{Kind}'");
        }

        RopeSpec Spec(double[] frequencies) => new() { Frequencies = RopeTables.ToSingle(frequencies), Interleaved = interleaved };

        RopeSpec Yarn(double[] frequencies, double theta)
        {
            double weight = Parameters.NumberOr("mscale", 0);
            double allWeight = Parameters.NumberOr("mscale_all_dim", 0);
            double magnitude = weight != 0 && allWeight != 0
                ? RopeTables.YarnMagnitude(Factor, weight) / RopeTables.YarnMagnitude(Factor, allWeight)
                : RopeTables.YarnMagnitude(Factor, 1);
            double[] scaled = RopeTables.Yarn(
                frequencies, theta, Factor, OriginalLength, Parameters.PositiveOr("beta_fast", 32), Parameters.PositiveOr("beta_slow", 1), Parameters.FlagOr("truncate", true));
            return Spec(scaled) with { Magnitude = (float)Parameters.PositiveOr("attention_factor", magnitude) };
        }

        RopeSpec Long(double[] frequencies)
        {
            int pairs = frequencies.Length;
            double factor = Parameters.PositiveOr("factor", config.Int("max_position_embeddings", 2, int.MaxValue) / OriginalLength);
            return new RopeSpec
            {
                Frequencies = RopeTables.ToSingle(RopeTables.Divide(frequencies, Parameters.Numbers("short_factor", pairs))),
                LongFrequencies = RopeTables.ToSingle(RopeTables.Divide(frequencies, Parameters.Numbers("long_factor", pairs))),
                ShortLength = (int)OriginalLength,
                Magnitude = (float)Parameters.PositiveOr("attention_factor", RopeTables.LongMagnitude(factor, OriginalLength)),
                Interleaved = interleaved,
            };
        }
    }
}
