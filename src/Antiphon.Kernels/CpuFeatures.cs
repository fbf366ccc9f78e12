using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using System.Text;

namespace Antiphon.Kernels;

/// <summary>What the processor under this process offers to kernels. Read once.</summary>
public sealed unsafe partial class CpuFeatures
{
    /// <summary>The environment variable that forces a tier: portable, avx2, avx512 or amx.</summary>
    public const string TierVariable = "ANTIPHON_ISA";

    private static readonly Lazy<CpuFeatures> Read = new(() => new CpuFeatures());
    private static readonly Lazy<KernelTier> Chosen =
        new(() => ChooseTier(Environment.GetEnvironmentVariable(TierVariable), Current.BestTier));

    private CpuFeatures()
    {
        Name = ReadName();
        Cores = Environment.ProcessorCount;
        bool avx2 = Avx2.IsSupported && Fma.IsSupported;
        bool avx512 = avx2 && Avx512F.IsSupported && Avx512BW.IsSupported && Avx512DQ.IsSupported && Avx512F.VL.IsSupported
            && Avx512BW.VL.IsSupported && Avx512DQ.VL.IsSupported;
        if (avx2)
        {
            (int _, int _, int leaf7C, int leaf7D) = X86Base.CpuId(7, 0);
            int leaf71A = X86Base.CpuId(7, 1).Eax;
            HasAvxVnni = Bit(leaf71A, 4);
            HasHalfConversion = Bit(X86Base.CpuId(1, 0).Ecx, 29);
            HasAvx512Vnni = avx512 && Bit(leaf7C, 11);
            HasAvx512Vbmi = avx512 && Bit(leaf7C, 1);
            HasAvx512BitMatrices = avx512 && Bit(leaf7C, 8);
            HasAvx512BFloat16 = avx512 && Bit(leaf71A, 5);
            HasAmx = avx512 && Bit(leaf7D, 24) && Bit(leaf7D, 22) && Bit(leaf7D, 25) && SystemSavesTiles();
        }

        LeavesOutAvx2 = !avx2 && X86Base.IsSupported && Bit(X86Base.CpuId(7, 0).Ebx, 5);
        (Level1Bytes, Level2Bytes, Level3Bytes) = ReadCaches();
        BestTier = HasAmx ? KernelTier.Amx : avx512 ? KernelTier.Avx512 : avx2 ? KernelTier.Avx2 : KernelTier.Portable;
    }

    /// <summary>The processor of this machine.</summary>
    public static CpuFeatures Current => Read.Value;

    /// <summary>The tier that kernels use where nothing else is asked for: the best, or what <see cref="TierVariable"/> says.</summary>
    /// <exception cref="ArgumentException">The variable names no tier, or one that this machine does not have.</exception>
    public static KernelTier DefaultTier => Chosen.Value;

    /// <summary>The widest tier that this machine runs.</summary>
    public KernelTier BestTier { get; }

    /// <summary>
    /// Whether the processor has AVX2 but .NET does not use it: the application was compiled ahead of time for older processors (<c>IlcInstructionSet</c>), or the runtime is set so.
    /// </summary>
    public bool LeavesOutAvx2 { get; }

    /// <summary>The processor's own name, or its architecture.</summary>
    public string Name { get; }

    /// <summary>Hardware threads this process may use: affinity mask and control group quota (rounded up) are respected.</summary>
    public int Cores { get; }

    /// <summary>Conversion of half-precision numbers (F16C).</summary>
    public bool HasHalfConversion { get; }

    /// <summary>Int8 dot products on 256-bit vectors (AVX-VNNI).</summary>
    public bool HasAvxVnni { get; }

    /// <summary>Int8 dot products on 512-bit vectors.</summary>
    public bool HasAvx512Vnni { get; }

    /// <summary>Byte permutations of 512-bit vectors.</summary>
    public bool HasAvx512Vbmi { get; }

    /// <summary>Products of bytes with matrices of bits on 512-bit vectors (GFNI).</summary>
    internal bool HasAvx512BitMatrices { get; }

    /// <summary>Bfloat16 dot products on 512-bit vectors.</summary>
    public bool HasAvx512BFloat16 { get; }

    /// <summary>AMX tiles for int8 and bfloat16, in the processor and in the operating system.</summary>
    public bool HasAmx { get; }

    /// <summary>Bytes of first-level data cache of a core; a guess of 32 KiB where unknown.</summary>
    public int Level1Bytes { get; }

    /// <summary>Bytes of second-level cache of a core; a guess of 512 KiB where unknown.</summary>
    public int Level2Bytes { get; }

    /// <summary>Bytes of third-level cache, shared between cores; 0 where unknown.</summary>
    public long Level3Bytes { get; }

    /// <summary>The tiers that this machine runs, lowest first.</summary>
    public IEnumerable<KernelTier> Tiers => Enum.GetValues<KernelTier>().Where(tier => tier <= BestTier);

    /// <summary>The tier to use, given the value of <see cref="TierVariable"/>.</summary>
    /// <param name="value">The variable's value; null or empty: the best tier.</param>
    /// <param name="best">The machine's best tier.</param>
    /// <exception cref="ArgumentException">The value names no tier, or one that this machine does not have.</exception>
    public static KernelTier ChooseTier(string? value, KernelTier best)
    {
        if (string.IsNullOrEmpty(value))
        {
            return best;
        }

        KernelTier tier = value switch
        {
            "portable" => KernelTier.Portable,
            "avx2" => KernelTier.Avx2,
            "avx512" => KernelTier.Avx512,
            "amx" => KernelTier.Amx,
            _ => throw new ArgumentException($"{TierVariable}={value} names no instruction set: use portable, avx2, avx512 or amx, or unset it"),
        };
        return tier <= best
            ? tier
            : throw new ArgumentException($"{TierVariable}={value}: this machine has no {value}; its best is {best.ToString().ToLowerInvariant()}");
    }

    /// <summary>The given tier, or the default one for null.</summary>
    /// <exception cref="ArgumentException">This machine does not have the tier.</exception>
    public static KernelTier Resolve(KernelTier? tier)
    {
        if (tier is not { } wanted)
        {
            return DefaultTier;
        }

        return wanted <= Current.BestTier
            ? wanted
            : throw new ArgumentException($"this machine has no {wanted}; its best is {Current.BestTier}", nameof(tier));
    }

    private static bool Bit(int word, int bit) => ((word >> bit) & 1) != 0;

    private static string ReadName()
    {
        if (!X86Base.IsSupported || (uint)X86Base.CpuId(unchecked((int)0x80000000), 0).Eax < 0x80000004)
        {
            return RuntimeInformation.ProcessArchitecture.ToString();
        }

        Span<int> words = stackalloc int[12];
        for (int i = 0; i < 3; i++)
        {
            (words[4 * i], words[(4 * i) + 1], words[(4 * i) + 2], words[(4 * i) + 3]) = X86Base.CpuId(unchecked((int)(0x80000002 + (uint)i)), 0);
        }

        return Encoding.ASCII.GetString(MemoryMarshal.AsBytes(words)).Trim('\0', ' ');
    }

    private static (int Level1, int Level2, long Level3) ReadCaches()
    {
        int level1 = 32 * 1024;
        int level2 = 512 * 1024;
        long level3 = 0;
        if (X86Base.IsSupported)
        {
            // Intel describes its caches in leaf 4, AMD in the same form in leaf 0x8000001D.
            (int _, int b, int c, int d) = X86Base.CpuId(0, 0);
            bool amd = b == 0x68747541 && d == 0x69746e65 && c == 0x444d4163;
            int leaf = amd ? unchecked((int)0x8000001D) : 4;
            for (int i = 0; i < 16; i++)
            {
                (int eax, int ebx, int ecx, int _) = X86Base.CpuId(leaf, i);
                int type = eax & 31;
                if (type == 0)
                {
                    break;
                }

                uint shape = (uint)ebx;
                long bytes = ((long)(shape >> 22) + 1) * (((shape >> 12) & 1023) + 1) * ((shape & 4095) + 1) * ((long)(uint)ecx + 1);
                switch ((eax >> 5) & 7)
                {
                    case 1 when type != 2:
                        level1 = (int)bytes;
                        break;
                    case 2:
                        level2 = (int)bytes;
                        break;
                    case 3:
                        level3 = bytes;
                        break;
                }
            }
        }

        return (level1, level2, level3);
    }

    // arch_prctl(ARCH_GET_XCOMP_SUPP): bit 18 says that the kernel saves tile data when it switches threads.
    private static bool SystemSavesTiles()
    {
        ulong supported = 0;
        return OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64
            && SystemCall(158, 0x1021, (nint)(&supported)) == 0 && (supported & (1UL << 18)) != 0;
    }

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint SystemCall(nint number, nint first, nint second);
}
