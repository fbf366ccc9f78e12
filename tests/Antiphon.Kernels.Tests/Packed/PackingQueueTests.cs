using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tests.Matrices;

namespace Antiphon.Kernels.Tests.Packed;

public sealed unsafe class PackingQueueTests
{
    [Fact]
    public void Weights_packed_later_give_the_same_outputs()
    {
        const int Rows = 100, Columns = 256;
        byte[] bytes = RandomWeights.Create(TensorFormat.Q8_0, Rows, Columns, new Random(1));
        using var kernels = new MultiScaleKernels();
        using var team = new ComputeTeam(2);
        using var queue = new PackingQueue(2);
        fixed (byte* data = bytes)
        {
            int packed = 0;
            WeightMatrix now = kernels.Pack(TensorFormat.Q8_0, Rows, Columns, data, bytes.Length, team);
            var later = new WeightMatrix[20];
            for (int i = 0; i < later.Length; i++)
            {
                later[i] = kernels.Pack(TensorFormat.Q8_0, Rows, Columns, data, bytes.Length, queue, () => Interlocked.Increment(ref packed));
            }

            queue.Close();
            Span<float> expected = stackalloc float[Columns];
            Span<float> actual = stackalloc float[Columns];
            foreach (int at in (int[])[19, 3, 11])
            {
                now.DecodeRow(77, expected);
                later[at].Slice(70, 10).DecodeRow(7, actual);
                Assert.Equal(expected, actual);
            }

            queue.Wait();
            Assert.Equal(20, packed);
            Assert.Equal(0, queue.PendingBytes);
        }
    }

    [Fact]
    public void Weights_that_somebody_waits_for_come_next()
    {
        using var memory = new PackedMemory(64);
        using var queue = new PackingQueue(1);
        using var begun = new ManualResetEventSlim();
        using var hold = new ManualResetEventSlim();
        List<int> order = [];
        PackedStrips[] strips = [.. Enumerable.Range(0, 4).Select(i => new PackedStrips(memory.Pointer + i, memory))];
        for (int i = 0; i < strips.Length; i++)
        {
            int number = i;
            queue.Add(strips[i], 1, _ =>
            {
                begun.Set();
                hold.Wait();
                order.Add(number);
            });
        }

        begun.Wait(TestContext.Current.CancellationToken);
        var waiter = new Thread(() => _ = strips[3].Packed);
        waiter.Start();
        SpinWait.SpinUntil(() => waiter.ThreadState.HasFlag(ThreadState.WaitSleepJoin), TimeSpan.FromSeconds(10));
        hold.Set();
        waiter.Join();
        queue.Wait();
        Assert.Equal([0, 3, 1, 2], order);
        Assert.True(strips[2].Packed == memory.Pointer + 2);
    }

    [Fact]
    public void A_queue_that_is_disposed_tells_those_who_wait()
    {
        using var memory = new PackedMemory(64);
        var queue = new PackingQueue(1);
        using var begun = new ManualResetEventSlim();
        using var hold = new ManualResetEventSlim();
        var first = new PackedStrips(memory.Pointer, memory);
        var second = new PackedStrips(memory.Pointer + 1, memory);
        queue.Add(first, 5, _ =>
        {
            begun.Set();
            hold.Wait();
        });
        queue.Add(second, 7, _ => Assert.Fail("packed after the end"));
        begun.Wait(TestContext.Current.CancellationToken);
        Assert.Equal(12, queue.PendingBytes);
        var disposer = new Thread(queue.Dispose);
        disposer.Start();
        Assert.Throws<ObjectDisposedException>(() => second.Packed == null);
        hold.Set();
        disposer.Join();
        Assert.True(first.Packed == memory.Pointer);
        Assert.Throws<ObjectDisposedException>(queue.Wait);
    }

    [Fact]
    public void A_failure_reaches_everybody_who_waits()
    {
        using var memory = new PackedMemory(64);
        using var queue = new PackingQueue(1);
        var first = new PackedStrips(memory.Pointer, memory);
        var second = new PackedStrips(memory.Pointer + 1, memory);
        queue.Add(first, 1, _ => throw new NotSupportedException("no"));
        queue.Add(second, 1, _ => { });
        Assert.Throws<NotSupportedException>(() => first.Packed == null);
        Assert.Throws<NotSupportedException>(() => second.Packed == null);
        Assert.Throws<NotSupportedException>(queue.Wait);
    }
}
