namespace Antiphon.Engine.Tests;

/// <summary>Prompts are cut by what tokens cost.</summary>
public class StepPaceTests
{
    private static readonly TimeSpan Target = TimeSpan.FromMilliseconds(100);

    private static StepPace Learned(double secondsPerToken, double answersAlone = 0)
    {
        StepPace pace = new(Target);
        for (int i = 0; i < 40; i++)
        {
            if (answersAlone > 0)
            {
                pace.Observe(TimeSpan.FromSeconds(answersAlone), 0, 4);
            }

            pace.Observe(TimeSpan.FromSeconds(answersAlone + (32 * secondsPerToken)), 32, answersAlone > 0 ? 4 : 0);
        }

        return pace;
    }

    [Theory]
    [InlineData(0.001, 0.010, 96, 496)]
    [InlineData(0.0001, 0.010, 256, 512)]
    [InlineData(0.020, 0.010, 32, 32)]
    [InlineData(0.010, 0.500, 48, 48)]
    public void A_chunk_takes_about_its_time(double secondsPerToken, double answersAlone, int beside, int alone)
    {
        StepPace pace = Learned(secondsPerToken, answersAlone);
        Assert.InRange(pace.PromptTokens(true, 256), beside - 16, beside + 16);
        Assert.InRange(pace.PromptTokens(false, 512), alone - 16, alone + 16);
    }

    [Fact]
    public void Before_the_first_step_a_chunk_is_modest() => Assert.Equal(64, new StepPace(Target).PromptTokens(false, 512));

    [Fact]
    public void Limits_hold_whatever_was_seen()
    {
        StepPace pace = Learned(10);
        Assert.Equal(32, pace.PromptTokens(true, 256));
        Assert.Equal(3, pace.PromptTokens(true, 3));
        Assert.Equal(7, Learned(1e-9).PromptTokens(false, 7));
    }

    [Fact]
    public void Without_a_clock_only_counts_limit()
    {
        StepPace pace = new(TimeSpan.Zero);
        pace.Observe(TimeSpan.FromSeconds(9), 16, 0);
        Assert.Equal(512, pace.PromptTokens(false, 512));
    }

    [Fact]
    public void One_slow_step_is_soon_forgotten()
    {
        StepPace pace = Learned(0.001);
        pace.Observe(TimeSpan.FromSeconds(3), 32, 0);
        for (int i = 0; i < 16; i++)
        {
            int tokens = pace.PromptTokens(false, 512);
            pace.Observe(TimeSpan.FromSeconds(tokens * 0.001), tokens, 0);
        }

        Assert.InRange(pace.PromptTokens(false, 512), 300, 512);
    }
}
