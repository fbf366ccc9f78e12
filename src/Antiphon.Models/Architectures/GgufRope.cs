using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Reads rotary embeddings from GGUF metadata and the tensors of frequency factors beside it.</summary>
internal static class GgufRope
{
    /// <summary>Builds the table.</summary>
    /// <param name="config">The metadata.</param>
    /// <param name="source">The file, for <c>rope_freqs</c> and <c>rope_factors_*</c>.</param>
    /// <param name="size">Rotated values where the metadata does not say.</param>
    /// <param name="interleaved">Whether pairs are neighbours.</param>
    /// <param name="truncate">Whether YaRN's bounds are rounded, which the metadata cannot say.</param>
    /// <param name="thetaField">The field that holds θ.</param>
    /// <param name="scaled">Whether the scaling applies.</param>
    public static RopeSpec Build(
        GgufConfig config, ModelSource source, int size, bool interleaved, bool truncate = true, string thetaField = "rope.freq_base", bool scaled = true)
    {
        double theta = config.PositiveOr(thetaField, 10000);
        int rotated = config.IntOr("rope.dimension_count", size, 2, size);
        if (rotated % 2 != 0 || theta <= 1)
        {
            throw new ModelFormatException($"{source.Path}: rope.dimension_count ({rotated}) must be even and {thetaField} ({theta}) above 1");
        }

        double[] frequencies = RopeTables.Plain(theta, rotated);
        var rope = new RopeSpec { Frequencies = RopeTables.ToSingle(frequencies), Interleaved = interleaved };
        if (!scaled)
        {
            return rope;
        }

        float[]? factors = Factors(source, "rope_freqs.weight", rotated / 2);
        float[]? shortFactors = Factors(source, "rope_factors_short.weight", rotated / 2);
        float[]? longFactors = Factors(source, "rope_factors_long.weight", rotated / 2);
        double factor = config.PositiveOr("rope.scaling.factor", 1);
        double original = config.IntOr("rope.scaling.original_context_length", config.Int("context_length", 1, int.MaxValue), 1, int.MaxValue);
        double magnitude = config.PositiveOr("rope.scaling.attn_factor", 1);
        if (factors is not null)
        {
            return rope with { Frequencies = RopeTables.ToSingle(RopeTables.Divide(frequencies, factors)) };
        }

        if (shortFactors is not null && longFactors is not null)
        {
            return rope with
            {
                Frequencies = RopeTables.ToSingle(RopeTables.Divide(frequencies, shortFactors)),
                LongFrequencies = RopeTables.ToSingle(RopeTables.Divide(frequencies, longFactors)),
                ShortLength = (int)original,
                Magnitude = (float)magnitude,
            };
        }

        switch (config.TextOr("rope.scaling.type", "none"))
        {
            case "none":
                return rope;
            case "linear":
                return rope with { Frequencies = RopeTables.ToSingle(RopeTables.Divide(frequencies, [(float)factor])) };
            case "yarn":
                double[] scaledFrequencies = RopeTables.Yarn(
                    frequencies, theta, factor, original,
                    config.PositiveOr("rope.scaling.yarn_beta_fast", 32), config.PositiveOr("rope.scaling.yarn_beta_slow", 1), truncate);

                // A log multiplier means that both magnitudes of the config were given, and equal: they cancel here and enter the score scale.
                double own = config.NumberOr("rope.scaling.yarn_log_multiplier", 0) != 0 ? 1 : RopeTables.YarnMagnitude(factor, 1);
                return rope with { Frequencies = RopeTables.ToSingle(scaledFrequencies), Magnitude = (float)(own * magnitude) };
            default:
                throw config.Unsupported("rope.scaling.type");
        }
    }

    private static float[]? Factors(ModelSource source, string name, int count)
    {
        if (!source.TryGetTensor(name, out TensorView tensor))
        {
            return null;
        }

        if (tensor.Format != TensorFormat.F32 || tensor.ElementCount != count)
        {
            throw new ModelFormatException($"{source.Path}: {name} must hold {count} float32 values, half of rope.dimension_count");
        }

        float[] factors = new float[count];
        BlockDecoder.Decode(TensorFormat.F32, tensor.Bytes, factors);
        foreach (float factor in factors)
        {
            if (!(factor > 0) || !float.IsFinite(factor))
            {
                throw new ModelFormatException($"{source.Path}: {name} must hold numbers above 0, it holds {factor}");
            }
        }

        return factors;
    }
}
