namespace Antiphon.Engine;

/// <summary>
/// How the next token is chosen from the logits. Every value has a neutral setting, which is the default; only <see cref="Temperature"/> 1 samples from
/// the model's own distribution and 0 is greedy.
/// </summary>
/// <remarks>
/// The order is fixed: logit bias, mask, repetition, frequency and presence penalties, DRY, top-n-sigma, temperature, then either mirostat or
/// top-k, typical, top-p, min-p and XTC, then the draw. Greedy choice stops before top-n-sigma, since nothing behind it changes the most likely token
/// but XTC, which needs chance. Ties go to the lower token id.
/// </remarks>
public sealed record SamplingOptions
{
    /// <summary>The model's own distribution.</summary>
    public static SamplingOptions Default { get; } = new();

    /// <summary>The most likely token, always.</summary>
    public static SamplingOptions Greedy { get; } = new() { Temperature = 0 };

    /// <summary>Divides the logits, 0 to 100; 0 is greedy.</summary>
    public float Temperature { get; init; } = 1;

    /// <summary>Keeps the k most likely tokens; 0: all.</summary>
    public int TopK { get; init; }

    /// <summary>Keeps the fewest most likely tokens that together have at least this probability (nucleus sampling), above 0 to 1; 1: all.</summary>
    public float TopP { get; init; } = 1;

    /// <summary>Keeps tokens at least this share as likely as the most likely one, 0 to 1; 0: all.</summary>
    public float MinP { get; init; }

    /// <summary>Keeps the tokens whose surprise is nearest to the entropy, up to this probability (locally typical sampling), above 0 to 1; 1: all.</summary>
    public float TypicalP { get; init; } = 1;

    /// <summary>Keeps tokens whose logit is within this many standard deviations of the highest, above 0; 0: all.</summary>
    public float TopNSigma { get; init; }

    /// <summary>Divides positive and multiplies negative logits of tokens in prompt or answer, above 0 to 100; 1: off.</summary>
    public float RepetitionPenalty { get; init; } = 1;

    /// <summary>How many of the last tokens the repetition penalty looks at; 0: all.</summary>
    public int RepetitionWindow { get; init; }

    /// <summary>Taken off a token's logit for each time it is in the answer so far (OpenAI's meaning: the prompt does not count), -2 to 2.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>Taken off the logit of each token that is in the answer so far (OpenAI's meaning: the prompt does not count), -2 to 2.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>DRY ("don't repeat yourself"): strength of the penalty on a token that would prolong a repeated run; 0: off.</summary>
    public float DryMultiplier { get; init; }

    /// <summary>DRY: the penalty is multiplier × base ^ (length of the run - allowed length), at least 1.</summary>
    public float DryBase { get; init; } = 1.75f;

    /// <summary>DRY: runs shorter than this are free, at least 1.</summary>
    public int DryAllowedLength { get; init; } = 2;

    /// <summary>DRY: how many of the last tokens are looked at; 0: all.</summary>
    public int DryWindow { get; init; }

    /// <summary>DRY: a repeated run does not reach across tokens that contain one of these texts; needs a vocabulary with text.</summary>
    public IReadOnlyList<string> DrySequenceBreakers { get; init; } = ["\n", ":", "\"", "*"];

    /// <summary>XTC ("exclude top choices"): chance that all tokens above the threshold but the least likely of them are left out, 0 to 1; 0: off.</summary>
    public float XtcProbability { get; init; }

    /// <summary>XTC: the threshold of probability, 0 to 1; above 0.5 it can never act.</summary>
    public float XtcThreshold { get; init; } = 0.1f;

    /// <summary>Whether mirostat (version 2) replaces all truncation by a running bound on surprise.</summary>
    public bool Mirostat { get; init; }

    /// <summary>Mirostat: the surprise aimed at, in bits, above 0.</summary>
    public float MirostatTau { get; init; } = 5;

    /// <summary>Mirostat: how fast the bound follows, above 0 to 1.</summary>
    public float MirostatEta { get; init; } = 0.1f;

    /// <summary>Added to the logits of single tokens; values -100 to 100, or minus infinity to forbid a token.</summary>
    public IReadOnlyDictionary<int, float>? LogitBias { get; init; }
}
