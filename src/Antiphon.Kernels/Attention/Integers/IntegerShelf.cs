using Antiphon.Kernels.Jit;

namespace Antiphon.Kernels.Integers;

/// <summary>The generated kernels of attention over integers, one set for each pair of sizes, made on first use.</summary>
internal sealed class IntegerShelf : IDisposable
{
    private readonly List<IntegerKernels> kernels = [];
    private readonly IntegerForm form;

    private IntegerShelf(IntegerForm form) => this.form = form;

    /// <summary>A shelf; null on the portable tier, or where code may not be generated.</summary>
    /// <param name="tier">The tier.</param>
    /// <param name="form">For which instructions; null: the best that the tier and the processor have.</param>
    public static IntegerShelf? Create(KernelTier tier, IntegerForm? form)
    {
        if (tier == KernelTier.Portable)
        {
            return null;
        }

        try
        {
            ExecutableMemory.Probe();
            return new IntegerShelf(form ?? Best(tier));
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

        kernels.Add(new IntegerKernels(shape.KeySize, shape.ValueSize, form));
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

    private static IntegerForm Best(KernelTier tier) =>
        tier >= KernelTier.Avx512 && CpuFeatures.Current.HasAvx512Vnni ? IntegerForm.Avx512
        : CpuFeatures.Current.HasAvxVnni ? IntegerForm.Avx2Fused
        : IntegerForm.Avx2;
}
