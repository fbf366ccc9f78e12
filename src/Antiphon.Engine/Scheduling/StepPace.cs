namespace Antiphon.Engine;

/// <summary>
/// Learns from each step what tokens cost on this machine, and says how many prompt tokens keep the next step within its time.
/// Clocks may decide here, since the size of a prompt's chunks changes no answer.
/// </summary>
/// <param name="target">Time that prompts may take in a step that also carries answers.</param>
internal sealed class StepPace(TimeSpan target)
{
    /// <summary>Steps without answers delay only requests that come meanwhile, and long chunks cost less a token.</summary>
    private const int AloneFactor = 5;

    // Kernels take tokens by sixteen.
    private const int Unit = 16;
    private const int FirstChunk = 4 * Unit;

    // Less is hardly faster, and a question of a line or two need not be cut.
    private const int LeastChunk = 2 * Unit;
    private const double Newest = 0.25;

    private double answersAlone;
    private double promptToken;

    /// <summary>Prompt tokens for the next step, between 1 and <paramref name="most"/>.</summary>
    /// <param name="besideAnswers">Whether the step also carries answers.</param>
    /// <param name="most">The limit without a clock.</param>
    public int PromptTokens(bool besideAnswers, int most)
    {
        if (target <= TimeSpan.Zero)
        {
            return most;
        }

        if (promptToken == 0)
        {
            return Math.Min(most, FirstChunk);
        }

        // Where a step of answers alone takes longer than the target, prompts may double it: they would never end otherwise.
        double seconds = besideAnswers ? Math.Max(target.TotalSeconds, answersAlone) : AloneFactor * target.TotalSeconds;
        int tokens = (int)Math.Min(most, seconds / promptToken) / Unit * Unit;
        return Math.Min(most, Math.Max(LeastChunk, tokens));
    }

    /// <summary>Takes in what a step took.</summary>
    /// <param name="elapsed">Time of its forward pass.</param>
    /// <param name="promptTokens">Its prompt tokens.</param>
    /// <param name="answers">Its answers.</param>
    public void Observe(TimeSpan elapsed, int promptTokens, int answers)
    {
        if (elapsed <= TimeSpan.Zero)
        {
            return; // a clock that stands still, as in tests
        }

        if (promptTokens == 0)
        {
            answersAlone = Mix(answersAlone, elapsed.TotalSeconds);
        }
        else
        {
            double rest = elapsed.TotalSeconds - (answers > 0 ? answersAlone : 0);
            promptToken = Mix(promptToken, Math.Max(rest, elapsed.TotalSeconds / 16) / promptTokens);
        }
    }

    private static double Mix(double before, double now) => before == 0 ? now : before + (Newest * (now - before));
}
