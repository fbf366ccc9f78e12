using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.Tests.Packed;

public sealed unsafe class PackedArenaTests
{
    [Fact]
    public void Pieces_are_zeroed_page_aligned_and_never_overlap()
    {
        PackedArena arena = new();
        Random random = new(3);
        List<(nint Start, long Bytes, PackedMemory Owner)> taken = [];
        foreach (long bytes in (long[])[1, 4096, 4097, 65L << 20, .. Enumerable.Range(0, 40).Select(_ => random.NextInt64(1, 20 << 20))])
        {
            byte* at = arena.Take(bytes, out PackedMemory owner);
            Assert.Equal(0, (nint)at % 4096);
            Assert.Equal(0, at[0] | at[bytes - 1]);
            at[0] = at[bytes - 1] = 1;
            taken.Add(((nint)at, bytes, owner));
        }

        taken.Sort((a, b) => a.Start.CompareTo(b.Start));
        for (int i = 1; i < taken.Count; i++)
        {
            Assert.True(taken[i - 1].Start + taken[i - 1].Bytes <= taken[i].Start);
        }

        Assert.True(taken.Select(t => t.Owner).Distinct().Count() > 1);
        taken.ForEach(t => t.Owner.Dispose());
    }
}
