namespace Antiphon.Kernels.Tests;

public sealed class CpuFeaturesTests
{
    [Theory]
    [InlineData(null, KernelTier.Avx512, KernelTier.Avx512)]
    [InlineData("", KernelTier.Portable, KernelTier.Portable)]
    [InlineData("portable", KernelTier.Amx, KernelTier.Portable)]
    [InlineData("avx2", KernelTier.Amx, KernelTier.Avx2)]
    [InlineData("avx512", KernelTier.Amx, KernelTier.Avx512)]
    [InlineData("amx", KernelTier.Amx, KernelTier.Amx)]
    public void The_variable_chooses_a_tier(string? value, KernelTier best, KernelTier expected) =>
        Assert.Equal(expected, CpuFeatures.ChooseTier(value, best));

    [Theory]
    [InlineData("amx", KernelTier.Avx512)]
    [InlineData("avx2", KernelTier.Portable)]
    [InlineData("AVX9", KernelTier.Amx)]
    public void A_tier_that_is_not_there_is_refused_by_name(string value, KernelTier best)
    {
        ArgumentException refusal = Assert.Throws<ArgumentException>(() => CpuFeatures.ChooseTier(value, best));
        Assert.Contains(value, refusal.Message, StringComparison.Ordinal);
        Assert.Contains(CpuFeatures.TierVariable, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_machine_is_described()
    {
        CpuFeatures cpu = CpuFeatures.Current;
        Assert.NotEmpty(cpu.Name);
        Assert.InRange(cpu.Cores, 1, 4096);
        Assert.InRange(cpu.Level1Bytes, 4096, 1 << 22);
        Assert.InRange(cpu.Level2Bytes, 1 << 16, 1 << 28);
        Assert.Contains(KernelTier.Portable, cpu.Tiers);
        TestContext.Current.SendDiagnosticMessage($"{cpu.Name}: {cpu.BestTier}, {cpu.Cores} cores, L1 {cpu.Level1Bytes}, L2 {cpu.Level2Bytes}, L3 {cpu.Level3Bytes}");
    }
}
