namespace Antiphon.Models.Tests.Forward;

public sealed class BatchInvarianceTests
{
    public static TheoryData<KvFormat, int> Cases() => new MatrixTheoryData<KvFormat, int>([KvFormat.F32, KvFormat.F16, KvFormat.BF16, KvFormat.I16], [1, 3]);

    [Theory]
    [MemberData(nameof(Cases))]
    public void Neither_chunks_nor_neighbours_nor_workers_change_a_bit(KvFormat format, int workers)
    {
        MixerSpec[] mixers = [TinyModel.DeltaNet, TinyModel.Attention, TinyModel.Latent, TinyModel.Attention with { Window = 9, Sinks = true, SoftCap = 3 }, TinyModel.DeltaNet];
        using TinyModel model = new(workers, format, 1 << 20, mixers);
        using TinyModel single = new(1, format, 1 << 20, mixers);
        int[] prompt = TinyModel.Tokens(75, 1);
        float[] expected = single.Fresh(prompt);
        foreach (int chunk in new[] { int.MaxValue, 1, 7, 16, 32 })
        {
            Assert.Equal(expected, model.Fresh(prompt, chunk));
        }

        using KvCache cache = model.Backend.CreateCache(16, 60);
        using StepBatch batch = new();
        Sequence[] sequences = [.. Enumerable.Range(0, 8).Select(_ => new Sequence(cache))];
        for (int i = 0; i < sequences.Length; i++)
        {
            int[] tokens = i == 3 ? prompt : TinyModel.Tokens(3 + (9 * i), 10 + i);
            Assert.True(sequences[i].TryReserve(tokens.Length));
            batch.Add(sequences[i], tokens, i % 2 == 0 ? LogitsWanted.None : LogitsWanted.Last);
        }

        model.Backend.Forward(batch);
        Assert.Equal(expected, batch.Logits(3));
        foreach (Sequence sequence in sequences)
        {
            sequence.Dispose();
        }
    }

    [Fact]
    public void All_logits_of_a_slice_are_those_of_its_tokens()
    {
        using TinyModel model = new(2, KvFormat.F32, 1 << 20, TinyModel.Attention, TinyModel.DeltaNet);
        int[] prompt = TinyModel.Tokens(21, 2);
        using KvCache cache = model.Backend.CreateCache(16, 8);
        using Sequence sequence = new(cache);
        using StepBatch batch = new();
        Assert.True(sequence.TryReserve(prompt.Length));
        batch.Add(sequence, prompt, LogitsWanted.All);
        model.Backend.Forward(batch);
        for (int i = 0; i < prompt.Length; i++)
        {
            Assert.Equal(model.Fresh(prompt.AsSpan(0, i + 1)), batch.Logits(0, i));
        }
    }

    [Fact]
    public void A_visibility_that_is_causal_changes_nothing()
    {
        using TinyModel model = new(2, KvFormat.F32, 1 << 20, TinyModel.Attention, TinyModel.Attention with { Window = 5 }, TinyModel.Latent);
        int[] prompt = TinyModel.Tokens(20, 3);
        int[] drafts = TinyModel.Tokens(6, 4);
        using KvCache cache = model.Backend.CreateCache(16, 8);
        using Sequence sequence = new(cache);
        model.Feed(sequence, prompt);
        using StepBatch batch = new();
        Assert.True(sequence.TryReserve(drafts.Length));
        bool[] visible = new bool[36];
        for (int i = 0; i < 36; i++)
        {
            visible[i] = i % 6 <= i / 6;
        }

        batch.Add(sequence, drafts, LogitsWanted.All, new SliceVisibility([20, 21, 22, 23, 24, 25], visible));
        model.Backend.Forward(batch);
        Assert.Equal(model.Fresh([.. prompt, .. drafts]), batch.Logits(0, 5));
    }

    [Theory]
    [InlineData(KvFormat.F32)]
    [InlineData(KvFormat.I16)]
    public void Branches_of_a_tree_do_not_see_each_other_and_the_accepted_one_can_be_kept(KvFormat format)
    {
        using TinyModel model = new(2, format, 1 << 20, TinyModel.Attention, TinyModel.Attention with { Window = 7 }, TinyModel.Latent);
        int[] prompt = TinyModel.Tokens(20, 5);
        using KvCache cache = model.Backend.CreateCache(16, 8);
        using Sequence sequence = new(cache);
        model.Feed(sequence, prompt);

        // Two branches of two tokens behind one: 11 → 12 → 13 and 11 → 14 → 15.
        using StepBatch batch = new();
        Assert.True(sequence.TryReserve(5));
        bool[] visible =
        [
            true, false, false, false, false,
            true, true, false, false, false,
            true, true, true, false, false,
            true, false, false, true, false,
            true, false, false, true, true,
        ];
        batch.Add(sequence, [11, 12, 13, 14, 15], LogitsWanted.All, new SliceVisibility([20, 21, 22, 21, 22], visible));
        model.Backend.Forward(batch);
        Close(model.Fresh([.. prompt, 11, 12, 13]), batch.Logits(0, 2));
        Close(model.Fresh([.. prompt, 11, 14, 15]), batch.Logits(0, 4));
        sequence.Commit([0, 3, 4]);
        Assert.Equal([.. prompt, 11, 14, 15], sequence.Tokens);
        Close(model.Fresh([.. prompt, 11, 14, 15, 16]), model.Feed(sequence, [16]));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_steady_decode_step_allocates_nothing(int workers)
    {
        // Few snapshots, so that all of their memory is there when the measurement begins.
        using TinyModel model = new(workers, KvFormat.F32, 1 << 14, TinyModel.DeltaNet, TinyModel.Attention, TinyModel.Latent);
        using KvCache cache = model.Backend.CreateCache(16, 60);
        using StepBatch batch = new();
        Sequence[] sequences = [.. Enumerable.Range(0, 4).Select(_ => new Sequence(cache))];
        foreach (Sequence sequence in sequences)
        {
            model.Feed(sequence, TinyModel.Tokens(20, 6));
        }

        for (int i = 0; i < 70; i++)
        {
            Step();
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 8; i++)
        {
            Step();
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        foreach (Sequence sequence in sequences)
        {
            sequence.Dispose();
        }

        void Step()
        {
            batch.Clear();
            foreach (Sequence sequence in sequences)
            {
                sequence.TryReserve(1);
                batch.Add(sequence, [5], LogitsWanted.Last);
            }

            model.Backend.Forward(batch);
            foreach (Sequence sequence in sequences)
            {
                sequence.Commit(1);
            }
        }
    }

    [Fact]
    public void Tokens_and_positions_outside_the_model_are_refused()
    {
        using TinyModel model = new(1, KvFormat.F32, 1 << 20, TinyModel.Attention);
        using KvCache cache = model.Backend.CreateCache(16, 40);
        using Sequence sequence = new(cache);
        Assert.Throws<ArgumentException>(() => model.Feed(sequence, [TinyModel.Vocabulary]));
        using Sequence longer = new(cache);
        Assert.Throws<ArgumentException>(() => model.Feed(longer, TinyModel.Tokens(513, 1)));
    }

    private static void Close(float[] expected, ReadOnlySpan<float> actual)
    {
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.InRange(actual[i], expected[i] - 1e-4f, expected[i] + 1e-4f);
        }
    }
}
