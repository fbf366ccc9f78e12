using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Memory that grows to the largest step seen and is used again from then on. Its content is not kept when it grows.</summary>
internal sealed unsafe class Scratch<T> : IDisposable
    where T : unmanaged
{
    // Tables grow with the context, and experts get another number of rows at every step: small ones have their room, which costs nothing until it is
    // touched, from the beginning.
    private NativeBuffer<T> buffer = new(1 << 16);

    /// <summary>Room for at least so many elements, with whatever they held.</summary>
    public T* Take(long count)
    {
        if (count > buffer.Length)
        {
            buffer.Dispose();
            buffer = new NativeBuffer<T>(checked(count + (count / 4)));
        }

        return buffer.Pointer;
    }

    public void Dispose() => buffer.Dispose();
}
