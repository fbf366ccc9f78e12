using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Memory of weights that could not stay where their file maps them: vectors as float32, rearranged and merged matrices.</summary>
internal sealed unsafe class WeightStore : IDisposable
{
    private readonly List<IDisposable> buffers = [];

    /// <summary>Bytes held.</summary>
    public long ByteCount { get; private set; }

    /// <summary>Zeroed floats that live as long as the store.</summary>
    public float* Floats(long count)
    {
        var buffer = new NativeBuffer<float>(count);
        buffers.Add(buffer);
        ByteCount += count * sizeof(float);
        return buffer.Pointer;
    }

    /// <summary>Zeroed bytes that live as long as the store.</summary>
    public byte* Bytes(long count)
    {
        var buffer = new NativeBuffer<byte>(count);
        buffers.Add(buffer);
        ByteCount += count;
        return buffer.Pointer;
    }

    /// <summary>Disposes something with the store, after the buffers.</summary>
    public void Keep(IDisposable owned) => buffers.Add(owned);

    public void Dispose()
    {
        foreach (IDisposable buffer in buffers)
        {
            buffer.Dispose();
        }

        buffers.Clear();
    }
}
