using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>Decoders of formats without blocks, which may have any number of columns.</summary>
internal static unsafe class PlainDecoders<T>
    where T : unmanaged, ILanes<T>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void F32(byte* source, int count, float* values)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            T.Load((float*)source + i).Store(values + i);
        }

        if (i < count)
        {
            T.Zero.Store(values + i);
            for (; i < count; i++)
            {
                values[i] = ((float*)source)[i];
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void F16(byte* source, int count, float* values)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            T.LoadHalf((ushort*)source + i).Store(values + i);
        }

        if (i < count)
        {
            T.LoadHalf(Rest((ushort*)source + i, count - i, stackalloc ushort[16])).Store(values + i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void BF16(byte* source, int count, float* values)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            T.LoadBFloat16((ushort*)source + i).Store(values + i);
        }

        if (i < count)
        {
            T.LoadBFloat16(Rest((ushort*)source + i, count - i, stackalloc ushort[16])).Store(values + i);
        }
    }

    private static ushort* Rest(ushort* source, int count, Span<ushort> room)
    {
        room.Clear();
        new ReadOnlySpan<ushort>(source, count).CopyTo(room);
        return (ushort*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref room[0]);
    }
}
