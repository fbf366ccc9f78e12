using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.Tests.Threading;

public sealed unsafe class MemoryNodesTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("antiphon-nodes-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Nodes_are_those_with_processors_of_the_process()
    {
        Node("node0", "0-3,8-11\n");
        Node("node1", "4-7,12-15\n");
        Node("node2", "\n");
        Node("node10", "16\n");
        Directory.CreateDirectory(Path.Combine(folder, "nodeless"));
        Assert.Equal([0], MemoryNodes.Find(folder, [0, 1]));
        Assert.Equal([0, 1], MemoryNodes.Find(folder, [3, 12]));
        Assert.Equal([1, 10], MemoryNodes.Find(folder, [5, 16]));
        Assert.Empty(MemoryNodes.Find(folder, [17]));
        Assert.Empty(MemoryNodes.Find(Path.Combine(folder, "nothing"), [0]));
    }

    [Fact]
    public void A_damaged_list_names_nobody()
    {
        Node("node0", "x-3,-,4-y\n");
        Assert.Empty(MemoryNodes.Find(folder, [0, 3, 4]));
    }

    [Fact]
    public void This_machine_has_a_node_for_its_processors()
    {
        Assert.SkipUnless(Directory.Exists("/sys/devices/system/node/node0"), "the system names no memory nodes");
        Assert.NotEqual(0, MemoryNodes.Used.Length);
    }

    [Fact]
    public void Spread_memory_is_memory()
    {
        Assert.SkipUnless(MemoryNodes.Used.Length > 0, "the system names no memory nodes");
        using var memory = new PackedMemory(3 << 20);
        bool spread = MemoryNodes.TrySpread(memory.Pointer + 100, (3 << 20) - 100, MemoryNodes.Used);
        Assert.SkipUnless(spread, "the system does not let a process place its memory");
        new Span<byte>(memory.Pointer, 3 << 20).Fill(7);
        Assert.Equal(7, memory.Pointer[(3 << 20) - 1]);
        Assert.False(MemoryNodes.TrySpread(memory.Pointer + 1, 100, MemoryNodes.Used));
    }

    private void Node(string name, string processors)
    {
        Directory.CreateDirectory(Path.Combine(folder, name));
        File.WriteAllText(Path.Combine(folder, name, "cpulist"), processors);
    }
}
