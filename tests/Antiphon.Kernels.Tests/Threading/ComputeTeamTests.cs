namespace Antiphon.Kernels.Tests.Threading;

public sealed class ComputeTeamTests
{
    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(2, true)]
    [InlineData(5, false)]
    public void Every_chunk_runs_exactly_once(int size, bool pin)
    {
        using ComputeTeam team = new(size, pin);
        foreach (int chunks in new[] { 0, 1, 2, 3, 64, 1000 })
        {
            Count work = new(new int[chunks], new int[size]);
            team.Run(ref work, chunks);
            Assert.All(work.Runs, runs => Assert.Equal(1, runs));
            Assert.Equal(chunks, work.Workers.Sum());
        }
    }

    [Fact]
    public void Thousands_of_short_runs_with_pauses_lose_nothing()
    {
        using ComputeTeam team = new(4);
        Random random = new(1);
        for (int round = 0; round < 3000; round++)
        {
            Count work = new(new int[random.Next(20)], new int[4]);
            team.Run(ref work, work.Runs.Length);
            Assert.All(work.Runs, runs => Assert.Equal(1, runs));
            if (round % 500 == 0)
            {
                Thread.Sleep(5);
            }
        }
    }

    [Fact]
    public void A_run_allocates_nothing()
    {
        using ComputeTeam team = new(3);
        Count work = new(new int[100], new int[3]);
        team.Run(ref work, 100);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
        {
            team.Run(ref work, 100);
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void An_exception_reaches_the_caller_and_the_team_works_on(int size)
    {
        using ComputeTeam team = new(size);
        for (int round = 0; round < 50; round++)
        {
            Failing failing = new(round);
            Assert.Equal($"chunk {round}", Assert.Throws<InvalidDataException>(() => team.Run(ref failing, 60)).Message);
            Count work = new(new int[10], new int[size]);
            team.Run(ref work, 10);
            Assert.All(work.Runs, runs => Assert.Equal(1, runs));
        }
    }

    [Fact]
    public void A_run_inside_a_run_is_refused()
    {
        using ComputeTeam team = new(2);
        Nested nested = new(team);
        Assert.Throws<InvalidOperationException>(() => team.Run(ref nested, 4));
    }

    [Fact]
    public void A_disposed_team_refuses_work()
    {
        ComputeTeam team = new(3);
        team.Dispose();
        Count work = new(new int[4], new int[3]);
        Assert.Throws<ObjectDisposedException>(() => team.Run(ref work, 4));
    }

    [Fact]
    public void An_idle_team_parks()
    {
        using ComputeTeam team = new(4);
        for (int round = 0; round < 3; round++)
        {
            Count work = new(new int[100], new int[4]);
            team.Run(ref work, 100);
            Assert.True(SpinWait.SpinUntil(() => team.Parked == 3, TimeSpan.FromSeconds(30)));
        }
    }

    private readonly struct Count(int[] runs, int[] workers) : IParallelWork
    {
        public int[] Runs => runs;

        public int[] Workers => workers;

        public void Execute(int chunk, int worker)
        {
            Interlocked.Increment(ref runs[chunk]);
            workers[worker]++;
        }
    }

    private readonly struct Failing(int bad) : IParallelWork
    {
        public void Execute(int chunk, int worker)
        {
            if (chunk == bad)
            {
                throw new InvalidDataException($"chunk {chunk}");
            }
        }
    }

    private readonly struct Nested(ComputeTeam team) : IParallelWork
    {
        public void Execute(int chunk, int worker)
        {
            Count inner = new(new int[1], new int[2]);
            team.Run(ref inner, 1);
        }
    }
}
