using Antiphon.Models;

namespace Antiphon.Cli;

/// <summary>What a model must at least read and multiply: bytes of weights and cache, and operations (a product and a sum are two).</summary>
internal sealed class ModelWork
{
    private readonly ModelSpec spec;
    private readonly double cacheBytesPerToken;
    private readonly double sharedBytes;
    private readonly double expertBytes;
    private readonly double bodyWeights;
    private readonly double headWeights;
    private readonly double usedShare;

    /// <summary>Counts.</summary>
    public ModelWork(LoadedModel model)
    {
        spec = model.Spec;
        cacheBytesPerToken = model.Backend.CacheBytesPerToken;
        MixtureSpec? mixture = spec.Layers.Select(l => l.FeedForward).OfType<MixtureSpec>().FirstOrDefault();
        usedShare = mixture is null ? 1 : (double)mixture.Used / mixture.Experts;
        foreach (TensorView tensor in model.Source.Tensors)
        {
            WeightBytes += tensor.ByteCount;
            bool table = tensor.Shape.Count == 2 && tensor.Shape[0] == spec.VocabularySize;
            bool embeddings = table && (tensor.Name.Contains("emb", StringComparison.Ordinal) || tensor.Name.Contains("wte", StringComparison.Ordinal));
            bool expert = tensor.Name.Contains("_exps", StringComparison.Ordinal) || tensor.Name.Contains(".experts.", StringComparison.Ordinal);
            if (embeddings && !spec.TiedHead)
            {
                continue;
            }

            if (table)
            {
                headWeights = tensor.ElementCount;
            }
            else if (tensor.Shape.Count > 1)
            {
                bodyWeights += tensor.ElementCount * (expert ? usedShare : 1);
            }

            (expert ? ref expertBytes : ref sharedBytes) += tensor.ByteCount;
        }
    }

    /// <summary>Bytes of all tensors.</summary>
    public long WeightBytes { get; }

    /// <summary>Bytes that a decode step reads: every weight once (of experts those that a batch of this size uses at most), one embedding row aside, and the cache of every sequence.</summary>
    public double DecodeBytes(double context, int sequences) =>
        sharedBytes + (expertBytes * Math.Min(1, usedShare * sequences)) + (sequences * cacheBytesPerToken * Visible(context));

    /// <summary>Operations of a decode step.</summary>
    public double DecodeOperations(double context, int sequences) => sequences * ((2 * (bodyWeights + headWeights)) + AttentionOperations(context));

    /// <summary>Bytes that a prompt reads at least: every weight once.</summary>
    public double PrefillBytes => sharedBytes + expertBytes;

    /// <summary>Operations of a prompt, with logits for its last token alone.</summary>
    public double PrefillOperations(int length) => (2 * ((bodyWeights * length) + headWeights)) + (length * AttentionOperations((length + 1) / 2.0));

    /// <summary>Positions that a token sees on average over all layers, windows considered, weighed by the cache that each layer keeps.</summary>
    private double Visible(double context)
    {
        double all = 0;
        double seen = 0;
        foreach (AttentionSpec attention in spec.Layers.Select(l => l.Mixer).OfType<AttentionSpec>())
        {
            double size = attention.KeyValueHeads * attention.HeadSize;
            all += size;
            seen += size * (attention.Window > 0 ? Math.Min(attention.Window, context) : context);
        }

        return all == 0 ? context : seen / all;
    }

    private double AttentionOperations(double context) => spec.Layers.Sum(layer => layer.Mixer switch
    {
        AttentionSpec attention => 4.0 * attention.Heads * attention.HeadSize * (attention.Window > 0 ? Math.Min(attention.Window, context) : context),
        LatentAttentionSpec latent => 2.0 * latent.Heads * ((2 * latent.LatentRank) + latent.RotatedSize) * context,
        _ => 0,
    });
}
