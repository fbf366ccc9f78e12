using Antiphon.Kernels.Jit;
using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tuning;

namespace Antiphon.Kernels.MultiScale;

/// <summary>
/// Products of quantised weights with activations split into integers (multi-scale dequantisation): weights stay the integers they are (floats of 16 bits become some, see
/// <see cref="Rounds"/>), a row of activations becomes integers of 16 bits, multiplied in two passes of 8 or in one of pairs, and all products are exact in 32 bits. Matrices made by it keep
/// it alive; it owns the generated code.
/// </summary>
/// <remarks>
/// Every result is defined by portable C#, and is the same on every tier, for every batch and for every team. Where the tier, the processor or the system does not
/// allow generated code, kernels in C# take its place.
/// </remarks>
public sealed class MultiScaleKernels : IDisposable
{
    private readonly CodeShelf shelf = new();
    private readonly PackedArena arena = new();
    private readonly GeneratedCode?[] dot;
    private readonly GeneratedCode?[] tile;
    private readonly GeneratedCode?[] strip;
    private readonly GeneratedCode?[] wordStrip;
    private readonly GeneratedCode?[] panel;
    private readonly GeneratedCode?[] unpack;
    private readonly GeneratedCode?[] pairStrip;
    private readonly GeneratedCode?[] pairPanel;

    /// <summary>The kernels for a tier.</summary>
    /// <param name="tier">The tier; null: <see cref="CpuFeatures.DefaultTier"/>.</param>
    /// <param name="passes">2 for activations of 16 bits; 1 for 8 bits, which is faster for batches and much less accurate.</param>
    /// <param name="tuning">Chooses among kernels with the same bits; null: those that are usually fastest.</param>
    /// <exception cref="ArgumentException">The machine does not have the tier.</exception>
    public MultiScaleKernels(KernelTier? tier = null, int passes = 2, KernelTuning? tuning = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(passes, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(passes, 2);
        Tier = CpuFeatures.Resolve(tier);
        Passes = passes;
        Tuning = tuning;
        dot = new GeneratedCode?[CodeLayout.Layouts.Length * SplitForm.GroupTokens];
        tile = new GeneratedCode?[CodeLayout.Layouts.Length * SplitForm.GroupTokens];
        strip = new GeneratedCode?[CodeLayout.Layouts.Length * BlockProducts.MaxStrips * StripKernel.MaxTokens];
        wordStrip = new GeneratedCode?[strip.Length];
        panel = new GeneratedCode?[CodeLayout.Layouts.Length * BlockProducts.MaxStrips * PanelKernel.MaxTokens];
        unpack = new GeneratedCode?[CodeLayout.Layouts.Length];
        pairStrip = new GeneratedCode?[CodeLayout.Layouts.Length * PairStripKernel.MaxTokens];
        pairPanel = new GeneratedCode?[CodeLayout.Layouts.Length * PairPanelKernel.MaxTokens];
        HasPairs = Tier == KernelTier.Avx2 || (Tier == KernelTier.Avx512 && !CpuFeatures.Current.HasAvx512Vnni);
        if (Tier == KernelTier.Portable || !CpuFeatures.Current.HasHalfConversion)
        {
            return;
        }

        try
        {
            ExecutableMemory.Probe();
            IsGenerated = true;
            if (Tier == KernelTier.Amx)
            {
                AmxTiles.RequestPermission();
                HasTiles = true;
            }
        }
        catch (CodeGenerationException exception)
        {
            Reason = exception.Message;
        }
    }

    /// <summary>The tier.</summary>
    public KernelTier Tier { get; }

    /// <summary>Passes over the weights' codes: 2 for activations of 16 bits, 1 for 8.</summary>
    public int Passes { get; }

    /// <summary>Whether products are made by generated code.</summary>
    public bool IsGenerated { get; }

    /// <summary>Why the system does not allow generated code; null where it does, or where the tier has none.</summary>
    public string? Reason { get; }

    /// <summary>Time spent on generating code so far.</summary>
    public TimeSpan GenerationTime => shelf.GenerationTime;

    /// <summary>What has been generated so far, for people: operation, format, shape class and bytes of code.</summary>
    public IReadOnlyList<GeneratedKernel> Generated
    {
        get
        {
            List<GeneratedKernel> list = [];
            for (int i = 0; i < CodeLayout.Layouts.Length; i++)
            {
                TensorFormat format = CodeLayout.Layouts[i].Format;
                for (int tokens = 1; tokens <= SplitForm.GroupTokens; tokens++)
                {
                    string shape = tokens == 1 ? "1 token" : $"{tokens} tokens";
                    Add("multiply integers", format, shape, dot[(i * SplitForm.GroupTokens) + tokens - 1]);
                    Add("multiply integers", format, $"{shape}, AMX", tile[(i * SplitForm.GroupTokens) + tokens - 1]);
                }

                AddStrips("multiply integers", format, StripKernel.MaxTokens, "", strip, i);
                AddStrips("multiply words", format, StripKernel.MaxTokens, "", wordStrip, i);
                AddStrips("multiply unpacked integers", format, PanelKernel.MaxTokens, " at a time", panel, i);
                Add("unpack integers", format, "any", unpack[i]);
                AddPairs("multiply integers", format, pairStrip, i, PairStripKernel.MaxTokens);
                AddPairs("multiply unpacked integers", format, pairPanel, i, PairPanelKernel.MaxTokens);
            }

            return list;

            void AddStrips(string operation, TensorFormat format, int maxTokens, string often, GeneratedCode?[] kernels, int layout)
            {
                for (int at = 0; at < BlockProducts.MaxStrips * maxTokens; at++)
                {
                    Add(operation, format, $"{16 * ((at / maxTokens) + 1)} rows, {(at % maxTokens) + 1} tokens{often}", kernels[(layout * BlockProducts.MaxStrips * maxTokens) + at]);
                }
            }

            void AddPairs(string operation, TensorFormat format, GeneratedCode?[] kernels, int layout, int maxTokens)
            {
                for (int tokens = 1; tokens <= maxTokens; tokens++)
                {
                    Add(operation, format, $"16 rows, {tokens} tokens at a time", kernels[(layout * maxTokens) + tokens - 1]);
                }
            }

            void Add(string operation, TensorFormat? format, string shape, GeneratedCode? code)
            {
                if (code is not null)
                {
                    list.Add(new GeneratedKernel(operation, format, shape, HasPairs ? KernelTier.Avx2 : Tier, code.Length));
                }
            }
        }
    }

    /// <summary>Whether a format's weights are integer codes, or become some (<see cref="Rounds"/>). Others keep to <see cref="WeightMatrix.Create"/>.</summary>
    public static bool Supports(TensorFormat format) => CodeLayout.Find(format) is not null;

    /// <summary>
    /// Whether a format's weights are floats of 16 bits, which are rounded to integers of 12 with a power of two for each 32 columns of a row:
    /// an error of at most 2^-11 of the greatest of those 32.
    /// </summary>
    public static bool Rounds(TensorFormat format) => CodeLayout.Find(format) is { IsWords: true };

    /// <summary>Packs a matrix. The source is not needed afterwards.</summary>
    /// <param name="format">A format that <see cref="Supports"/> names.</param>
    /// <param name="rows">Number of output features.</param>
    /// <param name="columns">Number of input features; whole blocks, at least one.</param>
    /// <param name="data">The first block in file layout.</param>
    /// <param name="length">Bytes from <paramref name="data"/> on that may be read.</param>
    /// <param name="team">Who packs.</param>
    /// <exception cref="NotSupportedException">The format has no integer codes.</exception>
    /// <exception cref="ArgumentException">The sizes do not fit the format or the memory.</exception>
    /// <exception cref="InsufficientMemoryException">There is no memory for the packed matrix.</exception>
    public unsafe WeightMatrix Pack(TensorFormat format, int rows, int columns, byte* data, long length, ComputeTeam team)
    {
        ArgumentNullException.ThrowIfNull(team);
        CodeLayout layout = Check(format, rows, columns, length);
        PackedStrips strips = arena.Take(ByteCount(layout, rows, columns));
        CodePacker.Pack(layout, rows, columns, data, strips.Place, team);
        return new CodeMatrix(this, layout, rows, columns, strips, 0);
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
        CodeLayout layout = Check(format, rows, columns, length);
        long bytes = ByteCount(layout, rows, columns);
        PackedStrips strips = arena.Take(bytes);
        queue.Add(strips, bytes, team =>
        {
            CodePacker.Pack(layout, rows, columns, data, strips.Place, team);
            packed();
        });
        return new CodeMatrix(this, layout, rows, columns, strips, 0);
    }

    /// <summary>Generates now what matrices of some formats will need for single tokens and prompts, rather than at their first products.</summary>
    /// <param name="formats">The formats; those without integer codes are passed over.</param>
    public void Prepare(IEnumerable<TensorFormat> formats)
    {
        foreach (CodeLayout layout in formats.Distinct().Select(CodeLayout.Find).OfType<CodeLayout>().Where(_ => IsGenerated))
        {
            if (HasPairs)
            {
                PairStrip(layout, 1);
                PairPanel(layout, PairPanelKernel.MaxTokens);
                PairPanel(layout, PairPanelKernel.MaxTokens - 1);
                continue;
            }

            if (layout.IsWords)
            {
                Strip(layout, BlockProducts.MaxStrips, 1, words: true);
                Strip(layout, BlockProducts.MaxStrips, StripKernel.MaxTokens, words: true);
                continue;
            }

            if (HasTiles)
            {
                Dot(layout, 1);
                Tile(layout, SplitForm.GroupTokens);
            }
            else
            {
                Strip(layout, BlockProducts.MaxStrips, 1, words: false);
                Panel(layout, BlockProducts.MaxStrips, PanelKernel.MaxTokens);
            }

            if (!HasTiles || !layout.IsPlain)
            {
                Unpack(layout);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => shelf.Free([.. dot, .. tile, .. strip, .. wordStrip, .. panel, .. unpack, .. pairStrip, .. pairPanel]);

    /// <summary>Chooses among kernels with the same bits, or null.</summary>
    internal KernelTuning? Tuning { get; }

    /// <summary>Whether groups of tokens are multiplied in AMX tiles.</summary>
    internal bool HasTiles { get; }

    /// <summary>Whether generated code multiplies pairs of 16 bits in vectors of 256, for want of dot products of bytes in vectors of 512.</summary>
    internal bool HasPairs { get; }

    /// <summary>Whether such products are added to sums in one instruction (VPDPWSSD).</summary>
    internal bool FusesPairs { get; init; } = CpuFeatures.Current.HasAvxVnni;

    /// <summary>Whether codes are taken apart by matrices of bits: one instruction where shifts, masks and offsets take two or three.</summary>
    internal bool UsesBitMatrices { get; init; } = CpuFeatures.Current.HasAvx512BitMatrices;

    internal GeneratedCode Tile(CodeLayout layout, int tokens) => shelf.Get(
        ref tile[(CodeLayout.Layouts.IndexOf(layout) * SplitForm.GroupTokens) + tokens - 1],
        (layout, tokens, Passes),
        static of => TileKernel.Generate(of.layout, of.tokens, of.Passes));

    /// <summary>
    /// What values are unpacked to for prompts. Without AMX, words make the two passes of 16-bit activations one of pairs of them, with fewer instructions besides the products; a single pass
    /// of bytes multiplies twice as many.
    /// </summary>
    internal UnpackedValues Unpacked => HasTiles ? UnpackedValues.Bytes : Passes == 1 ? UnpackedValues.BytesWithStarts : UnpackedValues.Words;

    internal GeneratedCode Unpack(CodeLayout layout) => shelf.Get(
        ref unpack[CodeLayout.Layouts.IndexOf(layout)],
        (layout, Unpacked),
        static of => UnpackKernel.Generate(of.layout, of.Unpacked));

    internal GeneratedCode Strip(CodeLayout layout, int strips, int tokens, bool words) => shelf.Get(
        ref (words ? wordStrip : strip)[(((CodeLayout.Layouts.IndexOf(layout) * BlockProducts.MaxStrips) + strips - 1) * StripKernel.MaxTokens) + tokens - 1],
        (layout, strips, tokens, Passes, words, UsesBitMatrices),
        static of => StripKernel.Generate(of.layout, of.strips, of.tokens, of.Passes, of.words, of.UsesBitMatrices));

    internal GeneratedCode Panel(CodeLayout layout, int strips, int tokens) => shelf.Get(
        ref panel[(((CodeLayout.Layouts.IndexOf(layout) * BlockProducts.MaxStrips) + strips - 1) * PanelKernel.MaxTokens) + tokens - 1],
        (layout, strips, tokens, words: Unpacked == UnpackedValues.Words),
        static of => PanelKernel.Generate(of.layout, of.strips, of.tokens, of.words));

    internal GeneratedCode PairStrip(CodeLayout layout, int tokens) => shelf.Get(
        ref pairStrip[(CodeLayout.Layouts.IndexOf(layout) * PairStripKernel.MaxTokens) + tokens - 1],
        (layout, tokens, FusesPairs),
        static of => PairStripKernel.Generate(of.layout, of.tokens, of.FusesPairs));

    internal GeneratedCode PairPanel(CodeLayout layout, int tokens) => shelf.Get(
        ref pairPanel[(CodeLayout.Layouts.IndexOf(layout) * PairPanelKernel.MaxTokens) + tokens - 1],
        (layout, tokens, FusesPairs),
        static of => PairPanelKernel.Generate(of.layout, of.tokens, of.FusesPairs));

    internal GeneratedCode Dot(CodeLayout layout, int tokens) => shelf.Get(
        ref dot[(CodeLayout.Layouts.IndexOf(layout) * SplitForm.GroupTokens) + tokens - 1],
        (layout, tokens, Passes),
        static of => DotKernel.Generate(of.layout, of.tokens, of.Passes));

    private static CodeLayout Check(TensorFormat format, int rows, int columns, long length)
    {
        CodeLayout layout = CodeLayout.Find(format) ?? throw new NotSupportedException($"{format} has no integer codes: use WeightMatrix.Create");
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        long needed = checked(format.ByteCount(columns) * rows);
        return needed <= length ? layout
            : throw new ArgumentException($"a {format} matrix of {rows} x {columns} needs {needed} bytes, there are {length}", nameof(length));
    }

    private static long ByteCount(CodeLayout layout, int rows, int columns) =>
        checked(((long)rows + CodeLayout.StripRows - 1) / CodeLayout.StripRows * layout.StripBytes(columns));
}
