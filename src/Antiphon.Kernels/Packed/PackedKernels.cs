using System.Diagnostics.CodeAnalysis;
using Antiphon.Kernels.Jit;
using Antiphon.Kernels.Tuning;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// The matrix kernels generated for this machine: the fast path, with activations and weights rounded to bfloat16 and sums in float32.
/// Kernels are generated when they are first needed. Matrices made by it keep it alive; it owns the code.
/// </summary>
/// <remarks>
/// Only for processors with AMX tiles or AVX-512 bfloat16 dot products; elsewhere, and where the system denies executable memory,
/// <see cref="TryCreate"/> says why not, and <see cref="WeightMatrix.Create"/> is the way. An output depends on its weight row and its activation row alone.
/// </remarks>
public sealed class PackedKernels : IDisposable
{
    private readonly CodeShelf shelf = new();
    private readonly PackedArena arena = new();
    private readonly GeneratedCode?[] stream;
    private readonly GeneratedCode?[] expand;
    private readonly GeneratedCode?[] panel = new GeneratedCode?[4];
    private readonly GeneratedCode?[] vector;

    private PackedKernels(KernelTier tier, KernelTuning? tuning)
    {
        Tier = tier;
        Tuning = tuning;
        int formats = PackedFormat.Formats.Length;
        stream = new GeneratedCode?[formats * AmxStreamKernel.MaxGroups];
        expand = new GeneratedCode?[formats];
        vector = new GeneratedCode?[formats];
        if (tier == KernelTier.Amx)
        {
            AmxTiles.RequestPermission();
        }

        // Made at once: if the system denies executable memory, this is where it shows.
        InputRows = shelf.Make(0, static _ => InputKernels.GenerateRows());
        InputTiles = shelf.Make(0, static _ => InputKernels.GenerateTiles());
    }

    /// <summary>The instruction set that the kernels use: <see cref="KernelTier.Amx"/> or <see cref="KernelTier.Avx512"/>.</summary>
    public KernelTier Tier { get; }

    /// <summary>Time spent on generating code so far.</summary>
    public TimeSpan GenerationTime => shelf.GenerationTime;

    /// <summary>Chooses among kernels with the same bits, or null.</summary>
    internal KernelTuning? Tuning { get; }

    internal GeneratedCode InputRows { get; }

    internal GeneratedCode InputTiles { get; }

    /// <summary>The kernels for a tier, or the reason why there are none.</summary>
    /// <param name="tier">The tier; null: <see cref="CpuFeatures.DefaultTier"/>.</param>
    /// <param name="kernels">The kernels.</param>
    /// <param name="reason">Why there are none, in words for the user.</param>
    /// <param name="tuning">Chooses among kernels with the same bits; null: those that are usually fastest.</param>
    public static bool TryCreate(KernelTier? tier, [NotNullWhen(true)] out PackedKernels? kernels, [NotNullWhen(false)] out string? reason, KernelTuning? tuning = null)
    {
        kernels = null;
        reason = null;
        KernelTier chosen = CpuFeatures.Resolve(tier);
        CpuFeatures features = CpuFeatures.Current;
        if (chosen < KernelTier.Avx512)
        {
            reason = $"no kernels are generated for the {chosen.ToString().ToLowerInvariant()} tier";
        }
        else if (!features.HasAvx512BFloat16 || !features.HasAvx512Vbmi)
        {
            reason = "this processor's AVX-512 has no bfloat16 dot products or no byte permutations";
        }
        else
        {
            try
            {
                kernels = new PackedKernels(chosen, tuning);
                return true;
            }
            catch (CodeGenerationException exception)
            {
                reason = exception.Message;
            }
        }

        return false;
    }

    /// <summary>Whether matrices of a format can be packed. Others keep to <see cref="WeightMatrix.Create"/>.</summary>
    public static bool Supports(TensorFormat format) => PackedFormat.Find(format) is not null;

    /// <summary>Packs a matrix. The source is not needed afterwards.</summary>
    /// <param name="format">A format that <see cref="Supports"/> names.</param>
    /// <param name="rows">Number of output features.</param>
    /// <param name="columns">Number of input features; whole blocks, at least one.</param>
    /// <param name="data">The first block in file layout.</param>
    /// <param name="length">Bytes from <paramref name="data"/> on that may be read.</param>
    /// <param name="team">Who packs.</param>
    /// <exception cref="NotSupportedException">The format has no packed form.</exception>
    /// <exception cref="ArgumentException">The sizes do not fit the format or the memory.</exception>
    /// <exception cref="InsufficientMemoryException">There is no memory for the packed matrix.</exception>
    public unsafe WeightMatrix Pack(TensorFormat format, int rows, int columns, byte* data, long length, ComputeTeam team)
    {
        ArgumentNullException.ThrowIfNull(team);
        PackedFormat layout = Check(format, rows, columns, length);
        PackedStrips strips = arena.Take(ByteCount(layout, rows, columns));
        TilePacker.Pack(layout, rows, columns, data, strips.Place, team);
        return new PackedMatrix(this, layout, rows, columns, strips, 0);
    }

    /// <summary>As <see cref="Pack(TensorFormat, int, int, byte*, long, ComputeTeam)"/>, but the weights are packed later; whoever needs them waits until they are.</summary>
    /// <param name="format">A format that <see cref="Supports"/> names.</param>
    /// <param name="rows">Number of output features.</param>
    /// <param name="columns">Number of input features; whole blocks, at least one.</param>
    /// <param name="data">The first block in file layout, valid until they are packed or the queue is disposed.</param>
    /// <param name="length">Bytes from <paramref name="data"/> on that may be read.</param>
    /// <param name="queue">Who packs.</param>
    /// <param name="packed">Called when they are packed and <paramref name="data"/> is not needed any more.</param>
    public unsafe WeightMatrix Pack(TensorFormat format, int rows, int columns, byte* data, long length, PackingQueue queue, Action packed)
    {
        ArgumentNullException.ThrowIfNull(queue);
        PackedFormat layout = Check(format, rows, columns, length);
        long bytes = ByteCount(layout, rows, columns);
        PackedStrips strips = arena.Take(bytes);
        queue.Add(strips, bytes, team =>
        {
            TilePacker.Pack(layout, rows, columns, data, strips.Place, team);
            packed();
        });
        return new PackedMatrix(this, layout, rows, columns, strips, 0);
    }

    /// <summary>Generates now what matrices of some formats will need, rather than at their first products.</summary>
    /// <param name="formats">The formats; those without a packed form are passed over.</param>
    public void Prepare(IEnumerable<TensorFormat> formats)
    {
        foreach (PackedFormat format in formats.Distinct().Select(PackedFormat.Find).OfType<PackedFormat>())
        {
            if (Tier != KernelTier.Amx)
            {
                Vector(format);
                continue;
            }

            // Batches of more than 16 tokens and fewer than a long prompt's, and single strips, can wait for their first time: a few milliseconds.
            Stream(format, 1);
            if (format.Codes != PackedCodes.Values)
            {
                Expand(format);
            }

            Panel(2, 1);
            Panel(2, 2);
        }
    }

    /// <summary>What has been generated so far, for people: operation, format, shape class and bytes of code.</summary>
    public IReadOnlyList<GeneratedKernel> Generated
    {
        get
        {
            List<GeneratedKernel> list = [];
            Add("input", null, "rows", InputRows);
            Add("input", null, "tiles", InputTiles);
            for (int i = 0; i < PackedFormat.Formats.Length; i++)
            {
                TensorFormat format = PackedFormat.Formats[i].Format;
                Add("multiply", format, "any number of tokens", vector[i]);
                Add("expand", format, "any", expand[i]);
                for (int groups = 1; groups <= AmxStreamKernel.MaxGroups; groups++)
                {
                    Add("multiply", format, $"{(16 * groups) - 15} to {16 * groups} tokens", stream[(i * AmxStreamKernel.MaxGroups) + groups - 1]);
                }
            }

            for (int i = 0; i < panel.Length; i++)
            {
                Add("multiply expanded", null, $"{(i / 2 * 16) + 16} rows, {(i % 2 * 16) + 16} tokens at a time", panel[i]);
            }

            return list;

            void Add(string operation, TensorFormat? format, string shape, GeneratedCode? code)
            {
                if (code is not null)
                {
                    list.Add(new GeneratedKernel(operation, format, shape, Tier, code.Length));
                }
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => shelf.Free([.. stream, .. expand, .. panel, .. vector, InputRows, InputTiles]);

    internal GeneratedCode Stream(PackedFormat format, int groups) =>
        shelf.Get(ref stream[(Index(format) * AmxStreamKernel.MaxGroups) + groups - 1], (format, groups), static of => AmxStreamKernel.Generate(of.format, of.groups));

    internal GeneratedCode Expand(PackedFormat format) => shelf.Get(ref expand[Index(format)], format, ExpandKernel.Generate);

    internal GeneratedCode Panel(int strips, int groups) =>
        shelf.Get(ref panel[(2 * strips) + groups - 3], (strips, groups), static of => AmxPanelKernel.Generate(of.strips, of.groups));

    internal GeneratedCode Vector(PackedFormat format) => shelf.Get(ref vector[Index(format)], format, Avx512Kernel.Generate);

    private static PackedFormat Check(TensorFormat format, int rows, int columns, long length)
    {
        PackedFormat layout = PackedFormat.Find(format) ?? throw new NotSupportedException($"{format} has no packed form: use WeightMatrix.Create");
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        long needed = checked(format.ByteCount(columns) * rows);
        return needed <= length ? layout
            : throw new ArgumentException($"a {format} matrix of {rows} x {columns} needs {needed} bytes, there are {length}", nameof(length));
    }

    private static long ByteCount(PackedFormat layout, int rows, int columns) =>
        checked(((long)rows + PackedFormat.StripRows - 1) / PackedFormat.StripRows * layout.StripBytes(columns));

    private static int Index(PackedFormat format) => PackedFormat.Formats.IndexOf(format);
}

/// <summary>A kernel that was generated.</summary>
/// <param name="Operation">What it does.</param>
/// <param name="Format">The weights' format; null: any.</param>
/// <param name="Shape">The shapes it is for.</param>
/// <param name="Tier">The instruction set it uses.</param>
/// <param name="CodeBytes">Size of its code.</param>
public sealed record GeneratedKernel(string Operation, TensorFormat? Format, string Shape, KernelTier Tier, int CodeBytes);
