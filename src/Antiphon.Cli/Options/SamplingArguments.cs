using System.CommandLine;
using Antiphon.Engine;

namespace Antiphon.Cli;

/// <summary>Options on how an answer is generated. What is not given stays as the model's files recommend.</summary>
internal sealed class SamplingArguments
{
    private readonly Option<float?> temperature = Checked.Number("--temperature", "Randomness; 0 always takes the most likely token", 0, 100, true, "-t");
    private readonly Option<int?> topK = Checked.Whole("--top-k", "Keep the k most likely tokens (0: all)", 0, int.MaxValue);
    private readonly Option<float?> topP = Checked.Number("--top-p", "Keep the most likely tokens up to this probability (1: all)", 0, 1, false);
    private readonly Option<float?> minP = Checked.Number("--min-p", "Keep tokens at least this share as likely as the best (0: all)", 0, 1);
    private readonly Option<float?> typicalP = Checked.Number("--typical-p", "Keep tokens of typical surprise up to this probability (1: all)", 0, 1, false);
    private readonly Option<float?> topNSigma = Checked.Number("--top-n-sigma", "Keep logits within this many deviations of the best (0: all)", 0, 100);
    private readonly Option<float?> repetition = Checked.Number("--repetition-penalty", "Penalty on tokens seen before (1: none)", 0, 100, false);
    private readonly Option<float?> frequency = Checked.Number("--frequency-penalty", "Penalty for each time a token is in the answer", -2, 2);
    private readonly Option<float?> presence = Checked.Number("--presence-penalty", "Penalty on each token that is in the answer", -2, 2);
    private readonly Option<float?> dry = Checked.Number("--dry-multiplier", "DRY penalty on repeated runs (0: none)", 0, 100);
    private readonly Option<float?> xtcProbability = Checked.Number("--xtc-probability", "Chance to leave out the top choices (0: never)", 0, 1);
    private readonly Option<float?> xtcThreshold = Checked.Number("--xtc-threshold", "Least probability of a top choice", 0, 1);
    private readonly Option<bool> mirostat = new("--mirostat") { Description = "Steer surprise (mirostat v2) instead of cutting the tail" };
    private readonly Option<float?> tau = Checked.Number("--mirostat-tau", "Surprise aimed at, in bits", 0, 100, false);
    private readonly Option<float?> eta = Checked.Number("--mirostat-eta", "How fast mirostat follows", 0, 1, false);
    private readonly Option<long?> seed = new("--seed") { Description = "Seed: the same seed gives the same answer", HelpName = "N" };
    private readonly Option<int?> maxTokens = Checked.Whole("--max-tokens", "Longest answer in tokens, thoughts included", 1, int.MaxValue, "-n");
    private readonly Option<string[]> stop = new("--stop") { Description = "Text that ends the answer; may be given several times", HelpName = "TEXT" };
    private readonly Option<bool> noThinking = new("--no-thinking") { Description = "Answer at once, for models that can think first" };

    /// <summary>Adds the options to a command.</summary>
    public SamplingArguments(Command command)
    {
        seed.CustomParser = result =>
        {
            if (long.TryParse(result.Tokens[0].Value, System.Globalization.CultureInfo.InvariantCulture, out long value))
            {
                return value;
            }

            result.AddError($"--seed '{result.Tokens[0].Value}' must be a whole number of at most 64 bits");
            return null;
        };
        foreach (Option option in (Option[])[maxTokens, temperature, topK, topP, minP, typicalP, topNSigma, repetition, frequency, presence, dry, xtcProbability, xtcThreshold, mirostat, tau, eta, seed, stop, noThinking])
        {
            command.Add(option);
        }
    }

    /// <summary>Reads them.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="start">The values of what is not given.</param>
    public GenerationOptions Read(ParseResult parsed, SamplingOptions start) => new()
    {
        Sampling = start with
        {
            Temperature = parsed.GetValue(temperature) ?? start.Temperature,
            TopK = parsed.GetValue(topK) ?? start.TopK,
            TopP = parsed.GetValue(topP) ?? start.TopP,
            MinP = parsed.GetValue(minP) ?? start.MinP,
            TypicalP = parsed.GetValue(typicalP) ?? start.TypicalP,
            TopNSigma = parsed.GetValue(topNSigma) ?? start.TopNSigma,
            RepetitionPenalty = parsed.GetValue(repetition) ?? start.RepetitionPenalty,
            FrequencyPenalty = parsed.GetValue(frequency) ?? start.FrequencyPenalty,
            PresencePenalty = parsed.GetValue(presence) ?? start.PresencePenalty,
            DryMultiplier = parsed.GetValue(dry) ?? start.DryMultiplier,
            XtcProbability = parsed.GetValue(xtcProbability) ?? start.XtcProbability,
            XtcThreshold = parsed.GetValue(xtcThreshold) ?? start.XtcThreshold,
            Mirostat = parsed.GetValue(mirostat) || start.Mirostat,
            MirostatTau = parsed.GetValue(tau) ?? start.MirostatTau,
            MirostatEta = parsed.GetValue(eta) ?? start.MirostatEta,
        },
        MaxTokens = parsed.GetValue(maxTokens),
        Seed = parsed.GetValue(seed),
        StopStrings = parsed.GetValue(stop) ?? [],
        Thinking = parsed.GetValue(noThinking) ? false : null,
    };
}
