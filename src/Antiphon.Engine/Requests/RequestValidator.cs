namespace Antiphon.Engine;

/// <summary>Takes a private copy of a request and checks every field of it, on the caller's thread.</summary>
internal static class RequestValidator
{
    private const int MaximumBreakers = 32;
    private const int MaximumBreakerLength = 64;

    /// <summary>Returns the copy.</summary>
    /// <param name="request">The request.</param>
    /// <param name="vocabularySize">Number of tokens.</param>
    /// <param name="contextLength">Longest sequence.</param>
    /// <param name="hasText">Whether the engine can make text.</param>
    public static GenerationRequest Check(GenerationRequest request, int vocabularySize, int contextLength, bool hasText)
    {
        IReadOnlyList<int> prompt = Engine.Check.Given(nameof(request.PromptTokens), request.PromptTokens);
        if (prompt.Count >= contextLength)
        {
            throw new ContextFullException(prompt.Count, contextLength);
        }

        Engine.Check.Range(nameof(request.StopTokens), Engine.Check.Given(nameof(request.StopTokens), request.StopTokens).Count, 0, GenerationRequest.MaximumStopTokens);
        Engine.Check.Range(nameof(request.StopStrings), Engine.Check.Given(nameof(request.StopStrings), request.StopStrings).Count, 0, GenerationRequest.MaximumStopStrings);
        SamplingOptions sampling = Engine.Check.Given(nameof(request.Sampling), request.Sampling);
        Engine.Check.Range("Sampling.LogitBias", sampling.LogitBias?.Count ?? 0, 0, vocabularySize);
        Engine.Check.Range("Sampling.DrySequenceBreakers", Engine.Check.Given("Sampling.DrySequenceBreakers", sampling.DrySequenceBreakers).Count, 0, MaximumBreakers);
        GenerationRequest copy = request with
        {
            PromptTokens = [.. prompt],
            StopTokens = [.. request.StopTokens],
            StopStrings = [.. request.StopStrings],
            Sampling = sampling with
            {
                LogitBias = sampling.LogitBias is null ? null : new Dictionary<int, float>(sampling.LogitBias),
                DrySequenceBreakers = [.. sampling.DrySequenceBreakers],
            },
        };
        CheckTokens(nameof(request.PromptTokens), copy.PromptTokens, vocabularySize);
        Engine.Check.Range(nameof(request.PromptTokens) + ".Count", copy.PromptTokens.Count, 1, contextLength - 1);
        CheckTokens(nameof(request.StopTokens), copy.StopTokens, vocabularySize);
        CheckCounts(copy);
        CheckText(copy, hasText);
        CheckSampling(copy.Sampling, vocabularySize);
        return copy;
    }

    /// <summary>Returns what the engine runs for an embedding: a copy.</summary>
    /// <inheritdoc cref="Check(GenerationRequest, int, int, bool)"/>
    public static GenerationRequest Check(EmbeddingRequest request, int vocabularySize, int contextLength)
    {
        if (Engine.Check.Given(nameof(request.Tokens), request.Tokens).Count > contextLength)
        {
            throw new ContextFullException(request.Tokens.Count, contextLength, forAnswer: false);
        }

        int[] tokens = [.. request.Tokens];
        Engine.Check.Range(nameof(request.Tokens) + ".Count", tokens.Length, 1, contextLength);
        CheckTokens(nameof(request.Tokens), tokens, vocabularySize);
        if (!Enum.IsDefined(request.Pooling))
        {
            throw new InvalidRequestException(nameof(request.Pooling), $"{request.Pooling} is no way of pooling");
        }

        return new GenerationRequest { PromptTokens = tokens, Priority = request.Priority, CacheSalt = request.CacheSalt, WantText = false };
    }

    private static void CheckCounts(GenerationRequest request)
    {
        Engine.Check.Range(nameof(request.MaxTokens), request.MaxTokens ?? 1, 1, int.MaxValue);
        Engine.Check.Range(nameof(request.MinTokens), request.MinTokens, 0, request.MaxTokens ?? int.MaxValue);
        Engine.Check.Range(nameof(request.N), request.N, 1, GenerationRequest.MaximumN);
        Engine.Check.Range(nameof(request.TopLogprobs), request.TopLogprobs, 0, GenerationRequest.MaximumTopLogprobs);
        if (request.TopLogprobs > 0 && !request.Logprobs && !request.PromptLogprobs)
        {
            throw new InvalidRequestException(nameof(request.TopLogprobs), "needs Logprobs or PromptLogprobs");
        }
    }

    private static void CheckText(GenerationRequest request, bool hasText)
    {
        if (request.StopStrings.Count > 0 && !(request.WantText && hasText))
        {
            throw new InvalidRequestException(nameof(request.StopStrings), hasText ? "need WantText" : "need an engine with a vocabulary");
        }

        foreach (string stop in request.StopStrings)
        {
            Engine.Check.Range(nameof(request.StopStrings) + ".Length", Engine.Check.Given(nameof(request.StopStrings), stop).Length, 1, GenerationRequest.MaximumStopLength);
            if (!IsWellFormed(stop))
            {
                throw new InvalidRequestException(nameof(request.StopStrings), "holds half a surrogate pair");
            }
        }
    }

    private static void CheckSampling(SamplingOptions sampling, int vocabularySize)
    {
        Engine.Check.Range("Sampling.Temperature", sampling.Temperature, 0, 100);
        Engine.Check.Range("Sampling.TopK", sampling.TopK, 0, int.MaxValue);
        Engine.Check.Positive("Sampling.TopP", sampling.TopP, 1);
        Engine.Check.Range("Sampling.MinP", sampling.MinP, 0, 1);
        Engine.Check.Positive("Sampling.TypicalP", sampling.TypicalP, 1);
        Engine.Check.Range("Sampling.TopNSigma", sampling.TopNSigma, 0, 1e6f);
        Engine.Check.Positive("Sampling.RepetitionPenalty", sampling.RepetitionPenalty, 100);
        Engine.Check.Range("Sampling.RepetitionWindow", sampling.RepetitionWindow, 0, int.MaxValue);
        Engine.Check.Range("Sampling.FrequencyPenalty", sampling.FrequencyPenalty, -2, 2);
        Engine.Check.Range("Sampling.PresencePenalty", sampling.PresencePenalty, -2, 2);
        Engine.Check.Range("Sampling.DryMultiplier", sampling.DryMultiplier, 0, 1000);
        Engine.Check.Range("Sampling.DryBase", sampling.DryBase, 1, 1000);
        Engine.Check.Range("Sampling.DryAllowedLength", sampling.DryAllowedLength, 1, int.MaxValue);
        Engine.Check.Range("Sampling.DryWindow", sampling.DryWindow, 0, int.MaxValue);
        foreach (string breaker in sampling.DrySequenceBreakers)
        {
            Engine.Check.Range("Sampling.DrySequenceBreakers.Length", Engine.Check.Given("Sampling.DrySequenceBreakers", breaker).Length, 1, MaximumBreakerLength);
        }

        Engine.Check.Range("Sampling.XtcProbability", sampling.XtcProbability, 0, 1);
        Engine.Check.Range("Sampling.XtcThreshold", sampling.XtcThreshold, 0, 1);
        Engine.Check.Positive("Sampling.MirostatTau", sampling.MirostatTau, 100);
        Engine.Check.Positive("Sampling.MirostatEta", sampling.MirostatEta, 1);
        foreach ((int token, float bias) in sampling.LogitBias ?? new Dictionary<int, float>())
        {
            Engine.Check.Range("Sampling.LogitBias", token, 0, vocabularySize - 1);
            if (bias != float.NegativeInfinity)
            {
                Engine.Check.Range("Sampling.LogitBias", bias, -100, 100);
            }
        }
    }

    private static void CheckTokens(string field, IReadOnlyList<int> tokens, int vocabularySize)
    {
        foreach (int token in tokens)
        {
            Engine.Check.Range(field, token, 0, vocabularySize - 1);
        }
    }

    private static bool IsWellFormed(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
            {
                i++;
            }
            else if (char.IsSurrogate(text[i]))
            {
                return false;
            }
        }

        return true;
    }
}
