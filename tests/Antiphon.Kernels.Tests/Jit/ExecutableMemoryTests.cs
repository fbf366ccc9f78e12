using System.Globalization;
using Antiphon.Kernels.Jit;
using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.Tests.Jit;

/// <summary>These change the environment, so nothing runs beside them.</summary>
[CollectionDefinition(nameof(ExecutableMemoryTests), DisableParallelization = true)]
public sealed class ExecutableMemoryCollection;

[Collection(nameof(ExecutableMemoryTests))]
public sealed unsafe class ExecutableMemoryTests
{
    [Fact]
    public void Code_runs_and_is_not_writable()
    {
        if (System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture != System.Runtime.InteropServices.Architecture.X64)
        {
            Assert.Skip("the test's code is for x64");
        }

        // mov eax, 42; ret
        using ExecutableMemory memory = new([0xB8, 42, 0, 0, 0, 0xC3]);
        Assert.Equal(42, ((delegate* unmanaged<int>)memory.Address)());
        if (OperatingSystem.IsLinux())
        {
            Assert.StartsWith("r-x", Protection(memory.Address), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Pages_go_back_with_their_owner()
    {
        if (!OperatingSystem.IsLinux())
        {
            Assert.Skip("/proc is Linux's");
        }

        ExecutableMemory memory = new(new byte[1 << 20]);
        nint address = memory.Address;
        Assert.NotEmpty(Protection(address));
        memory.Dispose();
        Assert.DoesNotContain("x", Protection(address), StringComparison.Ordinal);
    }

    [Fact]
    public void Denied_memory_is_a_reason_not_a_crash()
    {
        Environment.SetEnvironmentVariable(ExecutableMemory.DenyVariable, "1");
        try
        {
            Assert.Throws<CodeGenerationException>(() => new ExecutableMemory([0xC3]));
            Assert.False(PackedKernels.TryCreate(CpuFeatures.Current.BestTier, out PackedKernels? kernels, out string? reason));
            Assert.Null(kernels);
            Assert.NotEmpty(reason);
        }
        finally
        {
            Environment.SetEnvironmentVariable(ExecutableMemory.DenyVariable, null);
        }
    }

    [Fact]
    public void Generating_what_a_model_needs_is_quick()
    {
        // Once the assembler itself is compiled; the best of three, since other processes run too.
        TimeSpan best = TimeSpan.MaxValue;
        for (int i = 0; i < 4; i++)
        {
            if (!PackedKernels.TryCreate(CpuFeatures.Current.BestTier, out PackedKernels? kernels, out string? reason))
            {
                Assert.Skip(reason);
            }

            using (kernels)
            {
                kernels.Prepare([TensorFormat.Q4_K, TensorFormat.Q6_K, TensorFormat.Q8_0, TensorFormat.BF16]);
                best = kernels.GenerationTime < best ? kernels.GenerationTime : best;
            }
        }

        Assert.InRange(best.TotalMilliseconds, 0, 150);
    }

    [Fact]
    public void Lower_tiers_have_no_generated_kernels()
    {
        Assert.False(PackedKernels.TryCreate(KernelTier.Portable, out _, out string? reason));
        Assert.Contains("portable", reason, StringComparison.Ordinal);
    }

    private static string Protection(nint address)
    {
        foreach (string line in File.ReadLines("/proc/self/maps"))
        {
            string[] range = line[..line.IndexOf(' ', StringComparison.Ordinal)].Split('-');
            if (nint.Parse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture) <= address
                && address < nint.Parse(range[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture))
            {
                return line.Split(' ')[1];
            }
        }

        return string.Empty;
    }
}
