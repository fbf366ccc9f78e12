using System.Runtime.InteropServices;

namespace Antiphon.Kernels;

/// <summary>Memory outside the managed heap, aligned to 64 bytes and zeroed, that kernels read and write through pointers.</summary>
/// <typeparam name="T">The element type.</typeparam>
public sealed unsafe class NativeBuffer<T> : IDisposable
    where T : unmanaged
{
    private const nuint SmallAlignment = 64;
    private const nuint HugePage = 2 << 20;

    private void* allocation;
    private T* pointer;

    /// <summary>Allocates <paramref name="length"/> zeroed elements.</summary>
    /// <param name="length">How many.</param>
    /// <param name="hugePages">
    /// Asks the system for huge pages, if the buffer fills one: for memory that is used as a whole and again and again. Touching a byte then takes 2 MiB.
    /// </param>
    public NativeBuffer(long length, bool hugePages = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        nuint bytes = checked((nuint)length * (nuint)sizeof(T));
        hugePages &= bytes >= HugePage;
        nuint alignment = hugePages ? HugePage : SmallAlignment;

        // Large zeroed allocations are fresh pages of the system: they take memory, and time, only when they are touched. A cache's pool relies on that.
        allocation = NativeMemory.AllocZeroed(checked(bytes + alignment));
        pointer = (T*)(((nuint)allocation + alignment - 1) & ~(alignment - 1));
        Length = length;
        if (hugePages)
        {
            Packed.PackedMemory.PreferHugePages(pointer, (long)bytes);
        }
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
