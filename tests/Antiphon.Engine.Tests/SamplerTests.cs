using Antiphon.Kernels;

namespace Antiphon.Engine.Tests;

/// <summary>Samplers against straightforward references.</summary>
public class SamplerTests
{
    private const int Vocabulary = 40;
    private static readonly SamplingWorkspace Workspace = new(Vocabulary);

    private static float[] RandomLogits(Random random) => [.. Enumerable.Range(0, Vocabulary).Select(_ => (float)((random.NextDouble() * 8) - 4))];

    private static LogitRow Row(float[] logits)
    {
        LogitRow row = new(logits, new float[BlockMaxima.Count(logits.Length)]);
        row.Refresh();
        return row;
    }

    private static Sampler Create(SamplingOptions options, int[]? prompt = null, HashSet<int>? breakers = null, long seed = 5) =>
        new(options, seed, 0, prompt ?? [], breakers ?? [], new SamplingWorkspace(Vocabulary));

    /// <summary>The distribution that the truncations leave, written as plainly as can be.</summary>
    private static double[] Reference(float[] logits, SamplingOptions options)
    {
        List<(int Token, double Logit)> left = [.. logits.Select((logit, token) => (token, (double)logit)).Where(one => !double.IsNegativeInfinity(one.Item2))];
        if (options.TopNSigma > 0)
        {
            double mean = left.Average(one => one.Logit);
            double sigma = Math.Sqrt(left.Average(one => (one.Logit - mean) * (one.Logit - mean)));
            left = [.. left.Where(one => one.Logit >= left.Max(other => other.Logit) - (options.TopNSigma * sigma))];
        }

        left = [.. left.Select(one => (one.Token, one.Logit / options.Temperature))];
        if (options.TopK > 0)
        {
            left = [.. left.OrderByDescending(one => one.Logit).ThenBy(one => one.Token).Take(options.TopK)];
        }

        if (options.TypicalP < 1)
        {
            double[] p = Softmax(left);
            double entropy = -p.Sum(one => one * Math.Log(one));
            left = Until([.. left.Zip(p).OrderBy(pair => Math.Abs(-Math.Log(pair.Second) - entropy))], options.TypicalP);
        }

        if (options.TopP < 1)
        {
            left = Until([.. left.Zip(Softmax(left)).OrderByDescending(pair => pair.Second).ThenBy(pair => pair.First.Token)], options.TopP);
        }

        if (options.MinP > 0)
        {
            double[] p = Softmax(left);
            left = [.. left.Where((_, i) => p[i] >= options.MinP * p.Max())];
        }

        double[] result = new double[logits.Length];
        foreach (((int token, _), double p) in left.Zip(Softmax(left)))
        {
            result[token] = p;
        }

        return result;
    }

    private static double[] Softmax(List<(int Token, double Logit)> left)
    {
        double highest = left.Max(one => one.Logit);
        double sum = left.Sum(one => Math.Exp(one.Logit - highest));
        return [.. left.Select(one => Math.Exp(one.Logit - highest) / sum)];
    }

    private static List<(int Token, double Logit)> Until(List<((int Token, double Logit) First, double P)> ordered, double share)
    {
        List<(int, double)> kept = [];
        double passed = 0;
        foreach (((int, double) one, double p) in ordered)
        {
            kept.Add(one);
            passed += p;
            if (passed >= share)
            {
                break;
            }
        }

        return kept;
    }

    [Fact]
    public void Draws_follow_the_reference_distribution()
    {
        Random random = new(11);
        int[] tokens = new int[4000];
        for (int round = 0; round < 60; round++)
        {
            SamplingOptions options = OverlapTests.CreateSampling(random) with
            {
                RepetitionPenalty = 1, FrequencyPenalty = 0, PresencePenalty = 0, DryMultiplier = 0, XtcProbability = 0, Mirostat = false, LogitBias = null,
            };
            if (options.Temperature == 0)
            {
                continue;
            }

            float[] logits = RandomLogits(random);
            logits[random.Next(Vocabulary)] = float.NegativeInfinity;
            double[] expected = Reference(logits, options);
            int[] counts = new int[Vocabulary];
            Sampler sampler = Create(options, seed: round);
            for (int i = 0; i < tokens.Length; i++)
            {
                counts[sampler.Sample(Row((float[])logits.Clone()), tokens.AsSpan(0, i), null, null)]++;
            }

            for (int token = 0; token < Vocabulary; token++)
            {
                double deviation = Math.Sqrt(expected[token] * (1 - expected[token]) * tokens.Length);
                Assert.True(Math.Abs(counts[token] - (expected[token] * tokens.Length)) <= (5 * deviation) + 1e-9 + (expected[token] > 0 ? 2 : 0), $"round {round}, token {token}: {counts[token]} of {tokens.Length}, expected {expected[token]}; {options}");
            }
        }
    }

    [Fact]
    public void Truncations_leave_exactly_the_reference_set()
    {
        Random random = new(12);
        int[] sizes = [2, 40, 1000];
        foreach (int size in sizes)
        {
            for (int round = 0; round < 200; round++)
            {
                float[] logits = [.. Enumerable.Range(0, size).Select(_ => (float)((random.NextDouble() * 12) - 6))];
                float share = (float)((random.NextDouble() * 0.9) + 0.05);
                int k = random.Next(1, size + 1);
                foreach ((SamplingOptions options, Action<Candidates> act) in new (SamplingOptions, Action<Candidates>)[]
                {
                    (new() { TopK = k }, candidates => candidates.KeepTop(k)),
                    (new() { TopP = share }, candidates => candidates.KeepNucleus(share, 0)),
                    (new() { MinP = share }, candidates => Truncation.MinP(candidates, share)),
                    (new() { TypicalP = share }, candidates => Truncation.Typical(candidates, share, new float[size])),
                })
                {
                    double[] expected = Reference(logits, options);
                    Candidates candidates = new(size);
                    candidates.Load(Row(logits));
                    act(candidates);
                    Assert.Equal(Enumerable.Range(0, size).Where(i => expected[i] > 0), candidates.Tokens.ToArray().Order());
                    for (int i = 0; i < candidates.Count; i++)
                    {
                        Assert.Equal(logits[candidates.Tokens[i]], candidates.Logits[i]);
                    }
                }
            }
        }
    }

    /// <summary>Whole samplers, whose ways to the kept tokens depend on the options, draw what remains of all tokens, truncated one by one.</summary>
    [Fact]
    public void Shortcuts_change_no_draw()
    {
        Random random = new(17);
        foreach (int size in (int[])[1, 15, 16, 17, 333, 5000])
        {
            for (int round = 0; round < 150; round++)
            {
                SamplingOptions options = new()
                {
                    Temperature = (float)((random.NextDouble() * 2) + 0.05),
                    TopK = random.Next(3) == 0 ? random.Next(1, 2 * size) : 0,
                    TopP = random.Next(2) == 0 ? (float)((random.NextDouble() * 0.9) + 0.05) : 1,
                    MinP = random.Next(2) == 0 ? (float)(random.NextDouble() * 0.5) : 0,
                    TypicalP = random.Next(4) == 0 ? (float)((random.NextDouble() * 0.9) + 0.05) : 1,
                    TopNSigma = random.Next(4) == 0 ? 1.5f : 0,
                };
                float[] logits = [.. Enumerable.Range(0, size).Select(_ => (float)(random.NextDouble() * random.NextDouble() * 20) - 10)];
                for (int banned = random.Next(3); banned > 0 && size > 1; banned--)
                {
                    logits[random.Next(1, size)] = float.NegativeInfinity;
                }

                double[] expected = Reference(logits, options);
                SamplingWorkspace workspace = new(size);
                Sampler sampler = new(options, round, 0, [], [], workspace);
                int[] tokens = new int[30];
                for (int position = 0; position < tokens.Length; position++)
                {
                    int drawn = sampler.Sample(Row((float[])logits.Clone()), tokens.AsSpan(0, position), null, null);
                    Assert.True(expected[drawn] > 0, $"{size} tokens, round {round}: {drawn} is not left; {options}");

                    // Alone among the tokens in their order, unless they were sorted, the draw is known.
                    if (options is { TopK: 0, TopP: 1, TypicalP: 1 })
                    {
                        double uniform = CounterRandom.Next(round, 0, position, 0);
                        double before = expected.Take(drawn).Sum();
                        Assert.InRange(uniform, before - 1e-5, before + expected[drawn] + 1e-5);
                    }
                }
            }
        }
    }

    [Fact]
    public void A_row_tells_what_so_many_tokens_reach()
    {
        Random random = new(18);
        foreach (int size in (int[])[1, 16, 100, 4000])
        {
            for (int round = 0; round < 50; round++)
            {
                float[] logits = [.. Enumerable.Range(0, size).Select(_ => (float)random.Next(200))];
                LogitRow row = Row(logits);
                int count = random.Next(1, size + 2);
                float reached = row.ReachedBy(count, new float[Math.Min(count, BlockMaxima.Count(size))]);
                Assert.True(logits.Count(one => one >= reached) >= Math.Min(count, size));
                float[] maxima = row.Maxima.ToArray();
                Assert.Equal(count > maxima.Length ? float.NegativeInfinity : maxima.OrderDescending().ElementAt(count - 1), reached);

                int changed = random.Next(size);
                row[changed] = random.Next(-300, 300);
                Assert.Equal(logits.Max(), row.CheckedMax());
                Assert.Equal(Array.IndexOf(logits, logits.Max()), row.IndexOf(logits.Max()));
            }
        }
    }

    [Fact]
    public void The_coldest_temperature_takes_the_most_likely()
    {
        float[] logits = [.. RandomLogits(new Random(19))];
        int best = Array.IndexOf(logits, logits.Max());
        foreach (SamplingOptions options in (SamplingOptions[])[new(), new() { TopP = 0.9f }, new() { MinP = 0.1f }, new() { TopK = 5 }, new() { TypicalP = 0.9f }, new() { Mirostat = true }])
        {
            foreach (float temperature in (float[])[1e-3f, 1e-30f, float.Epsilon])
            {
                Assert.Equal(best, Create(options with { Temperature = temperature }).Sample(Row((float[])logits.Clone()), [], null, null));
            }
        }
    }

    [Fact]
    public void Ties_go_to_the_lower_token()
    {
        float[] logits = new float[Vocabulary];
        Assert.Equal(0, Create(SamplingOptions.Greedy).Sample(Row(logits), [], null, null));
        Candidates candidates = new(Vocabulary);
        candidates.Load(Row(logits));
        candidates.KeepTop(3);
        Assert.Equal([0, 1, 2], candidates.Tokens.ToArray());
    }

    [Fact]
    public void Penalties_are_those_of_the_reference()
    {
        Random random = new(13);
        for (int round = 0; round < 200; round++)
        {
            SamplingOptions options = new()
            {
                Temperature = 0, RepetitionPenalty = random.Next(2) == 0 ? 1.3f : 1, RepetitionWindow = random.Next(0, 12),
                FrequencyPenalty = random.Next(2) == 0 ? 0.7f : 0, PresencePenalty = random.Next(2) == 0 ? -0.4f : 0,
                LogitBias = random.Next(2) == 0 ? new Dictionary<int, float> { [3] = 2, [5] = float.NegativeInfinity } : null,
            };
            int[] prompt = [.. Enumerable.Range(0, random.Next(20)).Select(_ => random.Next(10))];
            List<int> tokens = [.. prompt];
            Sampler sampler = Create(options, prompt);
            for (int step = 0; step < 15; step++)
            {
                float[] logits = RandomLogits(random);
                float[] expected = (float[])logits.Clone();
                expected[7] = float.NegativeInfinity;
                foreach ((int token, float bias) in options.LogitBias ?? new Dictionary<int, float>())
                {
                    expected[token] += bias;
                }

                IEnumerable<int> recent = options.RepetitionWindow == 0 ? tokens : tokens.TakeLast(options.RepetitionWindow);
                foreach (int token in options.RepetitionPenalty == 1 ? [] : recent.Distinct())
                {
                    expected[token] = expected[token] > 0 ? expected[token] / 1.3f : expected[token] * 1.3f;
                }

                foreach (IGrouping<int, int> same in tokens.Skip(prompt.Length).GroupBy(token => token))
                {
                    expected[same.Key] -= (same.Count() * options.FrequencyPenalty) + options.PresencePenalty;
                }

                int chosen = sampler.Sample(Row(logits), tokens.ToArray(), [7], null);
                Assert.Equal(expected, logits);
                Assert.Equal(Array.IndexOf(expected, expected.Max()), chosen);
                tokens.Add(random.Next(10));
                sampler.Accept(tokens.ToArray());
            }
        }
    }

    [Fact]
    public void Dry_is_that_of_the_reference()
    {
        Random random = new(14);
        for (int round = 0; round < 2000; round++)
        {
            SamplingOptions options = new() { Temperature = 0, DryMultiplier = 0.8f, DryAllowedLength = random.Next(1, 4), DryWindow = random.Next(2) == 0 ? 0 : random.Next(1, 30) };
            int[] tokens = [.. Enumerable.Range(0, random.Next(0, 40)).Select(_ => random.Next(4))];
            HashSet<int> breakers = random.Next(2) == 0 ? [3] : [];
            float[] expected = new float[Vocabulary];
            int[] window = options.DryWindow == 0 ? tokens : [.. tokens.TakeLast(options.DryWindow)];
            Dictionary<int, int> longest = [];
            for (int end = 0; end < window.Length - 1; end++)
            {
                int length = 0;
                while (length <= end && window[end - length] == window[^(length + 1)] && !breakers.Contains(window[^(length + 1)]))
                {
                    length++;
                }

                if (length >= options.DryAllowedLength)
                {
                    longest[window[end + 1]] = Math.Max(longest.GetValueOrDefault(window[end + 1]), length);
                }
            }

            foreach ((int token, int length) in longest)
            {
                expected[token] = -(float)(options.DryMultiplier * Math.Pow(options.DryBase, length - options.DryAllowedLength));
            }

            float[] logits = new float[Vocabulary];
            new Dry().Apply(Row(logits), tokens, options, breakers);
            Assert.Equal(expected, logits);
        }
    }

    [Fact]
    public void Xtc_leaves_the_least_likely_of_the_top()
    {
        float[] logits = [.. Enumerable.Range(0, Vocabulary).Select(i => i < 4 ? MathF.Log(0.4f - (i * 0.1f)) : -30f)];
        SamplingOptions options = new() { XtcProbability = 0.25f, XtcThreshold = 0.15f };
        Sampler sampler = Create(options);
        int[] counts = new int[Vocabulary];
        int[] tokens = new int[8000];
        for (int i = 0; i < tokens.Length; i++)
        {
            counts[sampler.Sample(Row((float[])logits.Clone()), tokens.AsSpan(0, i), null, null)]++;
        }

        // Without: 0.4 0.3 0.2 0.1. With: tokens 0 and 1 are out, 2 and 3 share 2 to 1.
        double[] expected = [0.75 * 0.4, 0.75 * 0.3, (0.75 * 0.2) + (0.25 * 2 / 3), (0.75 * 0.1) + (0.25 / 3)];
        for (int i = 0; i < 4; i++)
        {
            Assert.Equal(expected[i], counts[i] / 8000.0, 0.03);
        }

        Assert.Equal(8000, counts.Take(4).Sum());
    }

    [Fact]
    public void Mirostat_is_that_of_the_reference()
    {
        Random random = new(15);
        SamplingOptions options = new() { Mirostat = true, MirostatTau = 2, MirostatEta = 0.3f };
        Sampler sampler = Create(options, seed: 21);
        double bound = 4;
        double surprise = 0;
        int[] tokens = new int[3000];
        for (int i = 0; i < tokens.Length; i++)
        {
            float[] logits = RandomLogits(random);
            List<(int Token, double Logit)> all = [.. logits.Select((logit, token) => (token, (double)logit))];
            double[] p = Softmax(all);
            List<(int Token, double Logit)> left = [.. all.Where((_, at) => -Math.Log2(p[at]) <= bound || p[at] == p.Max())];
            double[] kept = Softmax(left);
            double uniform = CounterRandom.Next(21, 0, i, 0);
            int index = 0;
            for (double passed = kept[0]; passed <= uniform && index < kept.Length - 1;)
            {
                passed += kept[++index];
            }

            Assert.Equal(left[index].Token, sampler.Sample(Row(logits), tokens.AsSpan(0, i), null, null));
            surprise += -Math.Log2(kept[index]);
            bound -= 0.3f * (-Math.Log2(kept[index]) - 2);
        }

        Assert.Equal(2, surprise / tokens.Length, 0.05);
    }

    [Fact]
    public void Random_numbers_are_even_and_independent_of_each_other()
    {
        int[] bins = new int[100];
        for (int seed = 0; seed < 100; seed++)
        {
            for (int position = 0; position < 1000; position++)
            {
                bins[(int)(CounterRandom.Next(seed, position % 3, position, 0) * 100)]++;
            }
        }

        Assert.All(bins, bin => Assert.InRange(bin, 850, 1150));
        Assert.Equal(4 * 4 * 4 * 2, Enumerable.Range(0, 128).Select(i => CounterRandom.Next(i & 3, (i >> 2) & 3, (i >> 4) & 3, i >> 6)).Distinct().Count());
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Logits_that_are_no_numbers_are_refused(float bad)
    {
        for (int at = 0; at < Vocabulary; at++)
        {
            float[] logits = new float[Vocabulary];
            logits[at] = bad;
            Assert.Throws<DecodingFailedException>(() => Create(SamplingOptions.Greedy).Sample(Row(logits), [], null, null));
        }

        Assert.Throws<DecodingFailedException>(() => Create(SamplingOptions.Default).Sample(Row([.. Enumerable.Repeat(float.NegativeInfinity, Vocabulary)]), [], null, null));
    }

    [Fact]
    public void Logprobs_stay_within_their_range()
    {
        LogprobReader reader = new(Workspace);
        float[] logits = new float[Vocabulary];
        logits[0] = 60000;
        logits[1] = float.NegativeInfinity;
        reader.Load(Row(logits));
        Assert.Equal(0, reader.Of(0).Logprob);
        Assert.Equal(TokenLogprob.Floor, reader.Of(1).Logprob);
        Assert.Equal(TokenLogprob.Floor, reader.Of(2).Logprob);
        Assert.Equal([0, 2, 3], reader.Top(3).Select(one => one.Token));
    }
}
