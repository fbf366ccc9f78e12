using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels;

/// <summary>Reads a buffer once, as fast as memory gives it.</summary>
internal readonly unsafe struct ReadPass(float* data, KernelTier tier) : IParallelWork
{
    public const int ChunkBytes = 1 << 20;

    private const int Ahead = 4096 / sizeof(float);

    private readonly float* data = data;
    private readonly KernelTier tier = tier;

    public void Execute(int chunk, int worker)
    {
        float* start = data + ((long)chunk * (ChunkBytes / sizeof(float)));
        float sum = tier switch
        {
            KernelTier.Portable => Read<LanesPortable>(start),
            KernelTier.Avx2 => Read<Lanes256>(start),
            _ => Read<Lanes512>(start),
        };
        Volatile.Write(ref Unsafe.AsRef(in sum), sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Read<T>(float* source)
        where T : unmanaged, ILanes<T>
    {
        T a = T.Zero, b = T.Zero, c = T.Zero, d = T.Zero;
        for (int i = 0; i < ChunkBytes / sizeof(float); i += 64)
        {
            // Streaming kernels ask for their weights ahead of time: without this they would read faster than the limit.
            if (Sse.IsSupported)
            {
                Sse.Prefetch0(source + i + Ahead);
                Sse.Prefetch0(source + i + Ahead + 16);
                Sse.Prefetch0(source + i + Ahead + 32);
                Sse.Prefetch0(source + i + Ahead + 48);
            }

            a += T.Load(source + i);
            b += T.Load(source + i + 16);
            c += T.Load(source + i + 32);
            d += T.Load(source + i + 48);
        }

        return (a + b + (c + d)).Sum();
    }
}
