using System.Buffers.Binary;

namespace Antiphon.Kernels.Jit;

/// <summary>A kernel made at run time: its code and the constants that it reads. Valid until disposed; never dispose it while it runs.</summary>
internal sealed unsafe class GeneratedCode : IDisposable
{
    private readonly ExecutableMemory memory;
    private readonly NativeBuffer<byte> constants;

    /// <summary>Makes position-independent code callable.</summary>
    /// <param name="code">The instructions.</param>
    /// <param name="placeholder">The 8-byte immediate, occurring once, that stands for the address of the constants.</param>
    /// <param name="pool">The constants.</param>
    /// <exception cref="CodeGenerationException">The system denies executable memory.</exception>
    public GeneratedCode(byte[] code, ulong placeholder, ReadOnlySpan<byte> pool)
    {
        constants = new NativeBuffer<byte>(pool.Length);
        pool.CopyTo(constants.Span(0, pool.Length));
        Span<byte> immediate = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(immediate, placeholder);
        int at = code.AsSpan().IndexOf(immediate);
        if (at >= 0)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(code.AsSpan(at), (ulong)constants.Pointer);
        }

        memory = new ExecutableMemory(code);
        Length = code.Length;
    }

    /// <summary>Bytes of code.</summary>
    public int Length { get; }

    /// <summary>Runs the kernel. The thread counts as outside managed code meanwhile, so a collection need not wait for it.</summary>
    /// <param name="arguments">The argument block, whose layout is the kernel's own.</param>
    /// <exception cref="ObjectDisposedException">The code is gone.</exception>
    public void Run(void* arguments)
    {
        ObjectDisposedException.ThrowIf(memory.IsClosed, this);
        ((delegate* unmanaged<void*, void>)memory.Address)(arguments);
        GC.KeepAlive(this);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        memory.Dispose();
        constants.Dispose();
    }
}
