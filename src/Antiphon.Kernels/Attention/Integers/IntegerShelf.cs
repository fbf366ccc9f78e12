using Antiphon.Kernels.Jit;

namespace Antiphon.Kernels.Integers;

/// <summary>The generated kernels of attention over integers, one set for each pair of sizes, made on first use.</summary>
internal sealed class IntegerShelf : IDisposable
{
    private readonly List<IntegerKernels> kernels = [];

    private IntegerShelf()
    {
    }

    /// <summary>A shelf; null where the tier or the processor has no instruction for pairs of integers, or code may not be generated.</summary>
    public static IntegerShelf? Create(KernelTier tier)
    {
        if (tier < KernelTier.Avx512 || !CpuFeatures.Current.HasAvx512Vnni)
        {
            return null;
        }

        try
        {
            // Whether code may be generated shows when it is tried.
            new KernelAssembler().Finish().Dispose();
            return new IntegerShelf();
        }
        catch (CodeGenerationException)
        {
            return null;
        }
    }

    /// <summary>The kernels for the sizes of an attention.</summary>
    /// <exception cref="CodeGenerationException">The system denies executable memory.</exception>
    public IntegerKernels Find(in AttentionShape shape)
    {
        foreach (IntegerKernels own in kernels)
        {
            if (own.KeySize == shape.KeySize && own.ValueSize == shape.ValueSize)
            {
                return own;
            }
        }

        kernels.Add(new IntegerKernels(shape.KeySize, shape.ValueSize));
        return kernels[^1];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (IntegerKernels own in kernels)
        {
            own.Dispose();
        }
    }
}
