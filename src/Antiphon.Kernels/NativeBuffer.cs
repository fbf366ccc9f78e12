using System.Runtime.InteropServices;

namespace Antiphon.Kernels;

/// <summary>Memory outside the managed heap, aligned to 64 bytes and zeroed, that kernels read and write through pointers.</summary>
/// <typeparam name="T">The element type.</typeparam>
public sealed unsafe class NativeBuffer<T> : IDisposable
    where T : unmanaged
{
    private const nuint Alignment = 64;

    private void* allocation;
    private T* pointer;

    /// <summary>Allocates <paramref name="length"/> zeroed elements.</summary>
    public NativeBuffer(long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        nuint bytes = checked((nuint)length * (nuint)sizeof(T));

        // Large zeroed allocations are fresh pages of the system: they take memory, and time, only when they are touched. A cache's pool relies on that.
        allocation = NativeMemory.AllocZeroed(checked(bytes + Alignment));
        pointer = (T*)(((nuint)allocation + Alignment - 1) & ~(Alignment - 1));
        Length = length;
    }

    /// <summary>Frees the memory of a buffer that was not disposed.</summary>
    ~NativeBuffer() => Free();

    /// <summary>Number of elements.</summary>
    public long Length { get; }

    /// <summary>The first element. Valid until the buffer is disposed.</summary>
    public T* Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(pointer is null, this);
            return pointer;
        }
    }

    /// <summary>A part of the buffer as a span, with its bounds checked.</summary>
    public Span<T> Span(long start, int length)
    {
        if (start < 0 || length < 0 || start > Length - length)
        {
            throw new ArgumentOutOfRangeException(nameof(start), $"[{start}, {start} + {length}) is outside a buffer of {Length}");
        }

        return new Span<T>(Pointer + start, length);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        NativeMemory.Free(allocation);
        allocation = null;
        pointer = null;
    }
}
