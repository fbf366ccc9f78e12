using Antiphon.Models;

namespace Antiphon.Engine.Tests;

/// <summary>The prefix tree on its own.</summary>
public class PrefixTreeTests
{
    [Fact]
    public void SipHash_is_that_of_its_paper()
    {
        SipHash hash = new(0x0706050403020100, 0x0f0e0d0c0b0a0908);
        byte[] input = [.. Enumerable.Range(0, 15).Select(i => (byte)i)];
        Assert.Equal(0xa129ca6149be45e5, hash.Hash(input));
        Assert.Equal(0xa129ca6149be45e5, hash.Hash(0x0706050403020100, input.AsSpan(8)));
        Assert.Equal(0x726fdb47dd0e0e31UL, hash.Hash([]));
        Assert.NotEqual(new SipHash().Hash(input), new SipHash().Hash(input));
    }

    private static Sequence Fill(FakeCache cache, PrefixTree tree, int[] text, out PrefixTree.Path path, string? salt = null, string? owner = null)
    {
        List<int> found = [];
        PrefixTree.Path root = tree.Root(salt);
        tree.Match(root, text, found);
        Sequence sequence = tree.Start(root, text, found, 0, out path);
        Assert.True(tree.MakeRoom(sequence.BlocksNeeded(text.Length - sequence.Length)));
        using StepBatch batch = new();
        ulong[] rows = new ulong[text.Length];
        for (int i = 0; i < text.Length; i++)
        {
            rows[i] = FakeBackend.Mix(i == 0 ? 0 : rows[i - 1], text[i], i);
            Assert.True(i >= sequence.Length || cache.Read(sequence.Blocks, i) == rows[i], "a block with another text was found");
        }

        if (text.Length > sequence.Length)
        {
            Assert.True(sequence.TryReserve(text.Length - sequence.Length));
            for (int i = sequence.Length; i < text.Length; i++)
            {
                cache.Write(sequence.Blocks, i, rows[i]);
            }

            batch.Add(sequence, text.AsSpan(sequence.Length), LogitsWanted.None);
            sequence.Commit(sequence.Tentative);
        }

        tree.Enter(sequence, ref path, owner);
        return sequence;
    }

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(3UL)]
    [InlineData(0UL)]
    public void It_agrees_with_a_plain_list_of_texts_even_when_hashes_collide(ulong mask)
    {
        Random random = new(1);
        using FakeCache cache = new(2, 24, 0);
        PrefixTree tree = new(cache, mask, 0.25);
        List<(Sequence Sequence, int[] Text)> running = [];
        List<int> found = [];
        int hits = 0;
        for (int round = 0; round < 5000; round++)
        {
            if (running.Count > 3 || (running.Count > 0 && random.Next(2) == 0))
            {
                int at = random.Next(running.Count);
                tree.Release(running[at].Sequence);
                running.RemoveAt(at);
            }
            else
            {
                int[] text = [.. Enumerable.Range(0, random.Next(1, 9)).Select(_ => random.Next(2))];
                tree.Match(tree.Root(null), text, found);
                hits += found.Count;
                Sequence sequence = Fill(cache, tree, text, out _, owner: random.Next(3).ToString());
                Assert.Equal(text, sequence.Tokens.ToArray());
                running.Add((sequence, text));

                // A running text is found again, to its last full block, unless a collision keeps it out.
                tree.Match(tree.Root(null), text, found);
                Assert.True(mask != ulong.MaxValue || found.Count == text.Length / 2);
                for (int i = 0; i < found.Count; i++)
                {
                    Assert.Equal(sequence.Blocks[i], found[i]);
                }
            }

            int used = running.SelectMany(one => one.Sequence.Blocks.ToArray()).Distinct().Count();
            Assert.Equal(cache.BlockCount, used + tree.IdleBlocks + cache.FreeBlocks);
        }

        Assert.True(mask == 0 || hits > 100);
        foreach ((Sequence sequence, _) in running)
        {
            tree.Release(sequence);
        }

        Assert.True(tree.MakeRoom(cache.BlockCount));
        Assert.Equal((0, cache.BlockCount), (tree.IdleBlocks, cache.FreeBlocks));
    }

    [Fact]
    public void The_block_idle_for_longest_goes_first_and_children_before_parents()
    {
        using FakeCache cache = new(2, 6, 0);
        PrefixTree tree = new(cache);
        List<int> found = [];
        tree.Release(Fill(cache, tree, [1, 1, 2, 2, 3, 3], out _));
        tree.Release(Fill(cache, tree, [4, 4, 5, 5], out _));
        tree.Release(Fill(cache, tree, [1, 1], out _)); // used again: the latest now
        Assert.Equal((5, 1), (tree.IdleBlocks, cache.FreeBlocks));
        int[] expected = [2, 1, 1, 1, 0];
        for (int free = 2; free <= 6; free++)
        {
            Assert.True(tree.MakeRoom(free));
            tree.Match(tree.Root(null), [1, 1, 2, 2, 3, 3], found);
            Assert.Equal(expected[free - 2], found.Count);
        }

        Assert.False(tree.MakeRoom(7));
    }

    [Fact]
    public void One_who_asks_for_much_does_not_push_out_others()
    {
        using FakeCache cache = new(2, 8, 0);
        PrefixTree tree = new(cache, share: 0.5);
        List<int> found = [];
        tree.Release(Fill(cache, tree, [1, 1, 2, 2], out _, owner: "modest"));
        for (int i = 0; i < 20; i++)
        {
            tree.Release(Fill(cache, tree, [3 + i, 3 + i, 4, 4], out _, owner: "greedy"));
        }

        // Six blocks are the greedy one's, more than its share, and of them the newest are left.
        Assert.Equal(8, tree.IdleBlocks);
        Assert.Equal(2, Found([1, 1, 2, 2]));
        Assert.Equal(2, Found([22, 22, 4, 4]));
        Assert.Equal(2, Found([20, 20, 4, 4]));
        Assert.Equal(0, Found([19, 19, 4, 4]));

        // Down to its share; then age decides.
        Assert.True(tree.MakeRoom(2));
        Assert.Equal((2, 0, 2), (Found([1, 1, 2, 2]), Found([20, 20, 4, 4]), Found([21, 21, 4, 4])));
        Assert.True(tree.MakeRoom(4));
        Assert.Equal((0, 2), (Found([1, 1, 2, 2]), Found([21, 21, 4, 4])));

        int Found(int[] text)
        {
            tree.Match(tree.Root(null), text, found);
            return found.Count;
        }
    }
}
