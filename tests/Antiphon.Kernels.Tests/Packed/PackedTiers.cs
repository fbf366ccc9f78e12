using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.Tests.Packed;

/// <summary>The tiers that kernels are generated for; those that this machine lacks are skipped visibly.</summary>
internal static class PackedTiers
{
    public static TheoryData<KernelTier> All => [KernelTier.Avx512, KernelTier.Amx];

    public static TheoryData<TensorFormat> Formats => [.. PackedFormat.Formats.ToArray().Select(format => format.Format)];

    public static TheoryData<KernelTier, TensorFormat> TiersAndFormats
    {
        get
        {
            TheoryData<KernelTier, TensorFormat> data = [];
            foreach (PackedFormat format in PackedFormat.Formats)
            {
                data.Add(KernelTier.Avx512, format.Format);
                data.Add(KernelTier.Amx, format.Format);
            }

            return data;
        }
    }

    public static PackedKernels Require(KernelTier tier)
    {
        if (tier > CpuFeatures.Current.BestTier)
        {
            Assert.Skip($"this machine has no {tier}");
        }

        if (!PackedKernels.TryCreate(tier, out PackedKernels? kernels, out string? reason))
        {
            Assert.Skip(reason);
        }

        return kernels;
    }
}
