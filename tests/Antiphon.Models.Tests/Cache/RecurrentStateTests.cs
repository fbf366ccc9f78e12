using Antiphon.Models.Tests.Forward;
using FsCheck;
using FsCheck.Fluent;

namespace Antiphon.Models.Tests.Cache;

public sealed class RecurrentStateTests
{
    private static readonly MixerSpec[] Mixers = [TinyModel.DeltaNet, TinyModel.Attention, TinyModel.DeltaNet];

    /// <summary>Whatever is added, kept, dropped and cut, the next logits are those of a sequence that only ever saw what remains.</summary>
    [Theory]
    [InlineData(1 << 20)]
    [InlineData(1)]
    public void A_cut_sequence_goes_on_as_if_the_rest_had_never_been(long snapshotBytes)
    {
        using TinyModel model = new(2, KvFormat.F32, snapshotBytes, Mixers);
        Gen<(int Add, int Keep, int Cut)[]> steps =
            Gen.Choose(1, 40).SelectMany(add => Gen.Choose(0, add).SelectMany(keep => Gen.Choose(-20, 30).Select(cut => (add, keep, cut)))).ArrayOf(5);
        Prop.ForAll(steps.ToArbitrary(), taken =>
        {
            using KvCache cache = model.Backend.CreateCache(16, 40);
            using Sequence sequence = new(cache);
            using StepBatch batch = new();
            int seed = 0;
            foreach ((int add, int keep, int cut) in taken)
            {
                batch.Clear();
                Assert.True(sequence.TryReserve(add));
                batch.Add(sequence, TinyModel.Tokens(add, seed++), LogitsWanted.All);
                model.Backend.Forward(batch);
                sequence.Commit(keep);
                sequence.Truncate(Math.Max(0, sequence.Length - Math.Max(0, cut)));
            }

            int[] remaining = [.. sequence.Tokens, 42];
            return model.Fresh(remaining).AsSpan().SequenceEqual(model.Feed(sequence, [42]));
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(25));
    }

    [Theory]
    [InlineData(1 << 20)]
    [InlineData(1)]
    public void A_shared_prefix_gives_the_logits_of_an_own_one(long snapshotBytes)
    {
        using TinyModel model = new(2, KvFormat.F32, snapshotBytes, Mixers);
        using KvCache cache = model.Backend.CreateCache(16, 40);
        int[] prompt = TinyModel.Tokens(70, 1);
        using Sequence first = new(cache);
        model.Feed(first, prompt, 33);
        int usable = cache.UsablePrefix(first.Blocks[..4]);
        Assert.Equal(snapshotBytes == 1 ? usable : 4, usable);
        using Sequence second = new(cache, first.Blocks[..usable], prompt.AsSpan(0, usable * 16));
        Assert.Equal(model.Fresh([.. prompt[..(usable * 16)], 3, 4, 5]), model.Feed(second, [3, 4, 5]));

        // The owner goes back behind the shared border: the other's snapshot must not suffer.
        first.Truncate(20);
        Assert.Equal(model.Fresh([.. prompt[..20], 9]), model.Feed(first, [9]));
        using Sequence third = new(cache, second.Blocks[..usable], prompt.AsSpan(0, usable * 16));
        Assert.Equal(model.Fresh([.. prompt[..(usable * 16)], 8]), model.Feed(third, [8]));
    }

    [Fact]
    public void Drafts_that_skip_a_token_are_refused()
    {
        using TinyModel model = new(1, KvFormat.F32, 1 << 20, Mixers);
        using KvCache cache = model.Backend.CreateCache(16, 4);
        using Sequence sequence = new(cache);
        using StepBatch batch = new();
        Assert.True(sequence.TryReserve(3));
        batch.Add(sequence, [1, 2, 3], LogitsWanted.All);
        model.Backend.Forward(batch);
        Assert.Throws<InvalidOperationException>(() => sequence.Commit([0, 2]));
    }
}
