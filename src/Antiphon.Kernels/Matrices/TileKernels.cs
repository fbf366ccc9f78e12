using Antiphon.Kernels.Jit;
using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels;

/// <summary>The generated kernels for tiles of a tier, made for the process on first use, where the system allows it.</summary>
internal sealed class TileKernels
{
    /// <summary>Most tokens, in several groups, that a kernel takes.</summary>
    public const int MostTogether = 32;

    /// <summary>
    /// Rows of <see cref="TileWeights.BF16Shared"/> that groups pass over one after the other: their inputs come from the second-level cache so much more rarely
    /// than with each tile. Chunks are multiples of it: whole tiles of three rows, and whole blocks of maxima.
    /// </summary>
    public const int SharedRows = 48;

    private static readonly Lazy<TileKernels> Narrow = new(() => new TileKernels(KernelTier.Avx2));
    private static readonly Lazy<TileKernels> Wide = new(() => new TileKernels(KernelTier.Avx512));

    private readonly CodeShelf shelf = new();
    private readonly KernelTier tier;
    private readonly bool isAllowed;
    private readonly GeneratedCode?[][] codes = [.. Enum.GetValues<TileWeights>().Select(_ => new GeneratedCode?[MostTogether + 1])];

    private TileKernels(KernelTier tier)
    {
        this.tier = tier;
        MostTokens = TileKernel.MostTokens(tier, TileWeights.Panel);
        try
        {
            // If the system denies executable memory, this is where it shows.
            Get(1, TileWeights.Panel);
            isAllowed = true;
        }
        catch (CodeGenerationException)
        {
        }
    }

    /// <summary>Most tokens in a group, unless a whole batch is <see cref="TileWeights.BF16Shared"/>.</summary>
    public int MostTokens { get; }

    /// <summary>Most tokens in a group of such a batch.</summary>
    public int MostSharing => TileKernel.MostTokens(tier, TileWeights.BF16Shared);

    private bool CanShare => TileDecoder.DecodesCheaply(TileWeights.BF16, tier == KernelTier.Avx2);

    /// <summary>The kernels that a tier uses, or null where it uses none or none may be generated.</summary>
    public static TileKernels? For(KernelTier tier) => tier switch
    {
        KernelTier.Portable => null,
        KernelTier.Avx2 => Narrow.Value,
        _ => Wide.Value,
    } is { isAllowed: true } kernels ? kernels : null;

    /// <summary>The form in which kernels read rows of a format as they are stored; <see cref="TileWeights.Panel"/> where they cannot.</summary>
    public static TileWeights Form(TensorFormat format) => format switch
    {
        TensorFormat.F32 => TileWeights.F32,
        TensorFormat.F16 when CpuFeatures.Current.HasHalfConversion => TileWeights.F16,
        TensorFormat.BF16 => TileWeights.BF16,
        TensorFormat.Q8_0 => TileWeights.Q8_0,
        TensorFormat.Q4_0 => TileWeights.Q4_0,
        TensorFormat.Q4_K => TileWeights.Q4_K,
        TensorFormat.Q6_K => TileWeights.Q6_K,
        _ => TileWeights.Panel,
    };

    /// <summary>
    /// Whether weights are best read as <see cref="TileWeights.BF16Shared"/> by so many tokens: where that takes fewer groups, and more than one. A chunk must
    /// have as many rows as a tile.
    /// </summary>
    public bool Shares(in RowMajorWeights weights, int tokens)
    {
        int groups = TokenGroups.CountOf(tokens, MostSharing);
        return weights.Format == TensorFormat.BF16 && CanShare && tokens <= MostTogether && groups > 1 && groups < TokenGroups.CountOf(tokens, MostTokens)
            && weights.Columns % TokenGroups.Lanes == 0
            && (weights.Rows % SharedRows == 0 || weights.Rows % SharedRows >= TileKernel.RowsOf(TileWeights.BF16Shared));
    }

    /// <summary>All kernels of a tier, generated now; none where none may be.</summary>
    public static IEnumerable<GeneratedKernel> List(KernelTier tier) => For(tier) is not { } kernels
        ? []
        : Enum.GetValues<TileWeights>().Where(form => form != TileWeights.BF16Shared || kernels.CanShare).SelectMany(form =>
            Enumerable.Range(1, TileKernel.MostTokens(tier, form)).Select(tokens => new GeneratedKernel(
                "float32 products",
                form switch
                {
                    TileWeights.Panel => null,
                    TileWeights.BF16Shared => TensorFormat.BF16,
                    _ => Enum.Parse<TensorFormat>(form.ToString()),
                },
                $"{TileKernel.RowsOf(form)} rows x {tokens} tokens",
                kernels.tier,
                kernels.Get(tokens, form).Length)));

    /// <summary>Runs the kernel for a number of tokens.</summary>
    public unsafe void Run(int tokens, TileWeights form, TileArguments* arguments) => Get(tokens, form).Run(arguments);

    private GeneratedCode Get(int tokens, TileWeights form) => shelf.Get(
        ref codes[(int)form][tokens],
        (tokens, tier, form),
        static of => TileKernel.Generate(of.tokens, of.tier, of.form));
}
