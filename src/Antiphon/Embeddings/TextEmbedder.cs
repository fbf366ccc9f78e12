using Antiphon.Engine;
using Antiphon.Models;
using Antiphon.Text;

namespace Antiphon;

/// <summary>Turns texts into vectors as a model's files ask for it.</summary>
internal sealed class TextEmbedder(InferenceEngine engine, Tokenizer tokenizer, EmbeddingSpec spec)
{
    private readonly int limit = Math.Min(engine.ContextLength, spec.MaxTokens ?? int.MaxValue);

    public EmbeddingSpec Spec => spec;

    /// <summary>The vector of a text, which follows the prompt that the options or the model put in front.</summary>
    public Task<EmbeddingResult> EmbedAsync(string text, EmbeddingOptions options, CancellationToken cancellationToken)
    {
        text = Prompt(options) + text;
        int[] tokens = tokenizer.Encode(text, addSpecialTokens: true);
        return EmbedAsync(tokens.Length > limit && options.Truncate ? Cut(text, tokens) : tokens, options, cancellationToken);
    }

    /// <summary>The vector of a text in tokens.</summary>
    public async Task<EmbeddingResult> EmbedAsync(IReadOnlyList<int> tokens, EmbeddingOptions options, CancellationToken cancellationToken)
    {
        int dimensions = options.Dimensions ?? engine.EmbeddingWidth;
        if (dimensions < 1 || dimensions > engine.EmbeddingWidth)
        {
            throw new InvalidRequestException(nameof(options.Dimensions), $"{dimensions} is outside 1 to {engine.EmbeddingWidth}, which is what the model has");
        }

        if (tokens.Count > limit)
        {
            tokens = options.Truncate ? [.. tokens.Take(limit)] : throw new ContextFullException(tokens.Count, limit, forAnswer: false);
        }

        var request = new EmbeddingRequest
        {
            Tokens = tokens, Pooling = options.Pooling ?? spec.Pooling ?? Pooling.Mean, Priority = options.Priority, CacheSalt = options.CacheSalt,
        };
        EmbeddingResult result = await engine.EmbedAsync(request, cancellationToken).ConfigureAwait(false);
        float[] vector = result.Vector[..dimensions].ToArray();
        if (options.Normalize)
        {
            Normalize(vector);
        }

        return result with { Vector = vector };
    }

    private string Prompt(EmbeddingOptions options)
    {
        if (options.Prompt is not null)
        {
            return options.Prompt;
        }

        if ((options.PromptName ?? spec.DefaultPrompt) is not { } name)
        {
            return "";
        }

        return spec.Prompts.TryGetValue(name, out string? prompt) ? prompt : throw new InvalidRequestException(
            nameof(options.PromptName), $"the model has no prompt '{name}'{(spec.Prompts.Count == 0 ? ": it has none" : $", but {string.Join(", ", spec.Prompts.Keys)}")}");
    }

    /// <summary>Cuts the text's own tokens; those that begin and end every text stay, since the last of them may be the one that is pooled.</summary>
    private int[] Cut(string text, int[] tokens)
    {
        int[] own = tokenizer.Encode(text, addSpecialTokens: false);
        int added = tokens.Length - own.Length;
        for (int before = 0; before <= added && added < limit; before++)
        {
            if (tokens.AsSpan(before, own.Length).SequenceEqual(own))
            {
                return [.. tokens[..before], .. own[..(limit - added)], .. tokens[(before + own.Length)..]];
            }
        }

        return tokens[..limit];
    }

    private static void Normalize(float[] vector)
    {
        double square = 0;
        foreach (float value in vector)
        {
            square += (double)value * value;
        }

        double length = Math.Sqrt(square);
        for (int i = 0; length > 0 && i < vector.Length; i++)
        {
            vector[i] = (float)(vector[i] / length);
        }
    }
}
