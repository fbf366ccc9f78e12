using Antiphon.Kernels.Tuning;

namespace Antiphon.Kernels.Tests.Tuning;

public sealed class KernelTuningTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("antiphon-tuning").FullName;

    private string File => Path.Combine(folder, "sub", "tuning.json");

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void The_fastest_candidate_is_chosen_after_every_one_was_timed_and_the_best_once_more()
    {
        TuningUnit unit = new("q", ["a", "b", "c"]);
        int calls = Settle(unit, (candidate, _) => candidate == 1 ? 80 : 100);
        Assert.Equal(1, unit.Choice);
        Assert.Equal(0.8, unit.Gain, 3);
        Assert.Equal((3 + 2) * (TuningUnit.Rounds + 1), calls);
    }

    [Fact]
    public void A_lucky_series_is_not_enough()
    {
        TuningUnit unit = new("q", ["a", "b"]);
        Settle(unit, (candidate, call) => candidate == 1 && call < 2 * (TuningUnit.Rounds + 1) ? 80 : 100);
        Assert.Equal(0, unit.Choice);
    }

    [Fact]
    public void A_few_slow_calls_and_the_first_one_do_not_count()
    {
        TuningUnit unit = new("q", ["a", "b"]);
        var random = new Random(1);
        Settle(unit, (candidate, call) => call < 2 || random.Next(4) == 0 ? 5000 : candidate == 1 ? 70 : 100);
        Assert.Equal(1, unit.Choice);
    }

    [Fact]
    public void The_default_stays_where_nothing_is_faster()
    {
        TuningUnit unit = new("q", ["a", "b", "c"]);
        int calls = Settle(unit, (_, _) => 100);
        Assert.Equal(0, unit.Choice);
        Assert.Equal(3 * (TuningUnit.Rounds + 1), calls);
        Assert.Equal(0, new TuningUnit("only", ["a"]).Choice);
    }

    [Fact]
    public void Times_of_calls_that_overlap_are_dropped()
    {
        TuningUnit unit = new("q", ["a", "b"]);
        Assert.Equal(0, unit.Take(out _));
        Assert.False(unit.Observe(1, 1));
        Assert.Equal(0, unit.Take(out _));
        Parallel.For(0, 64, _ => Settle(unit, (candidate, _) => candidate == 1 ? 50 : 100));
        Assert.InRange(unit.Choice, 0, 1);
    }

    [Fact]
    public void Choices_are_kept_for_this_machine_and_those_of_others_stay()
    {
        KernelTuning first = new(File, KernelTier.Portable, 2);
        Settle(first, "x", ["a", "b"], 1);
        Assert.True(first.Settled);
        first.Save();
        KernelTuning other = new(File, KernelTier.Portable, 1);
        Assert.Equal(-1, other.Unit("x", ["a", "b"]).Choice);
        Settle(other, "x", ["a", "b"], 0);
        other.Save();

        KernelTuning second = new(File, KernelTier.Portable, 2);
        Assert.Equal(1, second.Unit("x", ["a", "b"]).Choice);
        Assert.Equal(2, second.Unit("x", ["a", "b"]).Candidates.Count);
        Assert.Equal("b", Assert.Single(second.Operations).Choice);
        Assert.Equal(-1, new KernelTuning(File, KernelTier.Portable, 2).Unit("x", ["a", "newer"]).Choice);
        Assert.Equal([File], Directory.GetFiles(Path.GetDirectoryName(File)!));

        KernelTuning.Forget(File, KernelTier.Portable, 2);
        Assert.Equal(-1, new KernelTuning(File, KernelTier.Portable, 2).Unit("x", ["a", "b"]).Choice);
        Assert.Equal(0, new KernelTuning(File, KernelTier.Portable, 1).Unit("x", ["a", "b"]).Choice);
    }

    [Fact]
    public void Two_models_that_are_tuned_at_once_keep_each_others_choices()
    {
        KernelTuning first = new(File, KernelTier.Portable, 2);
        KernelTuning second = new(File, KernelTier.Portable, 2);
        Settle(first, "x", ["a", "b"], 1);
        Settle(second, "y", ["a", "b"], 1);
        first.Save();
        second.Save();
        KernelTuning both = new(File, KernelTier.Portable, 2);
        Assert.Equal((1, 1), (both.Unit("x", ["a", "b"]).Choice, both.Unit("y", ["a", "b"]).Choice));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{\"version\":1}")]
    [InlineData("{\"version\":\"1\",\"machines\":{}}")]
    [InlineData("{\"version\":1.5,\"machines\":{}}")]
    [InlineData("{\"version\":1,\"machines\":[1]}")]
    [InlineData("{\"version\":1,\"machines\":{\"a\":1,\"b\":{\"c\":2}}}")]
    [InlineData("{\"version\":1,\"machines\":{\"\\ud800\":{\"c\":\"d\"}}}")]
    public void A_damaged_file_counts_as_empty(string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(File)!);
        System.IO.File.WriteAllText(File, text);
        KernelTuning tuning = new(File, KernelTier.Portable, 2);
        Settle(tuning, "x", ["a", "b"], 1);
        tuning.Save();
        Assert.Equal(1, new KernelTuning(File, KernelTier.Portable, 2).Unit("x", ["a", "b"]).Choice);
    }

    [Fact]
    public void Without_a_file_nothing_is_written()
    {
        KernelTuning tuning = new(null, KernelTier.Portable, 2);
        Settle(tuning, "x", ["a", "b"], 1);
        tuning.Save();
        Assert.Empty(Directory.GetFileSystemEntries(folder));
    }

    private static int Settle(TuningUnit unit, Func<int, int, long> time)
    {
        int calls = 0;
        for (int candidate = unit.Take(out bool timed); timed; candidate = unit.Take(out timed))
        {
            unit.Observe(candidate, time(candidate, calls++));
        }

        return calls;
    }

    private static void Settle(KernelTuning tuning, string key, string[] candidates, int best)
    {
        TuningUnit unit = tuning.Unit(key, candidates);
        for (int candidate = unit.Take(out bool timed); timed; candidate = unit.Take(out timed))
        {
            tuning.Observe(unit, candidate, candidate == best ? 50 : 100);
        }
    }
}
