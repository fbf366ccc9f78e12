using System.Diagnostics;
using Antiphon.Kernels.Jit;
using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tuning;

namespace Antiphon.Kernels.MultiScale;

/// <summary>
/// Products of quantised weights with activations split into integers (multi-scale dequantisation): weights stay the integers they are, a row of
/// activations becomes integers of 16 bits that are multiplied in two passes of 8, and all products are exact in 32 bits. Matrices made by it keep
/// it alive; it owns the generated code.
/// </summary>
/// <remarks>
/// Every result is defined by portable C#, and is the same on every tier, for every batch and for every team. Where the tier, the processor or the system does not
/// allow generated code, kernels in C# take its place.
/// </remarks>
public sealed class MultiScaleKernels : IDisposable
{
    private readonly Lock gate = new();
    private readonly PackedArena arena = new();
    private readonly GeneratedCode?[] dot;
    private readonly GeneratedCode?[] tile;
    private readonly GeneratedCode?[] pair;
    private readonly GeneratedCode?[] panel;
    private readonly GeneratedCode?[] unpack;
    private long generationTicks;

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
        pair = new GeneratedCode?[CodeLayout.Layouts.Length * BlockProducts.MaxStrips * PairKernel.MaxTokens];
        panel = new GeneratedCode?[CodeLayout.Layouts.Length * BlockProducts.MaxStrips * BlockProducts.MaxTokens];
        unpack = new GeneratedCode?[CodeLayout.Layouts.Length];
        if (Tier < KernelTier.Avx512 || !CpuFeatures.Current.HasAvx512Vnni)
        {
            return;
        }

        try
        {
            // If the system denies executable memory, this is where it shows: one return instruction, since the assembler takes a while to start.
            new ExecutableMemory([0xC3]).Dispose();
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
    public TimeSpan GenerationTime => Stopwatch.GetElapsedTime(0, Volatile.Read(ref generationTicks));

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

                AddPairs("multiply integers", format, PairKernel.MaxTokens, "", pair, i);
                AddPairs("multiply unpacked integers", format, BlockProducts.MaxTokens, " at a time", panel, i);
                Add("unpack integers", format, "any", unpack[i]);
            }

            return list;

            void AddPairs(string operation, TensorFormat format, int maxTokens, string often, GeneratedCode?[] kernels, int layout)
            {
                for (int at = 0; at < BlockProducts.MaxStrips * maxTokens; at++)
                {
                    Add(operation, format, $"{16 * ((at / maxTokens) + 1)} rows, {(at % maxTokens) + 1} tokens{often}", kernels[(layout * BlockProducts.MaxStrips * maxTokens) + at]);
                }
            }

            void Add(string operation, TensorFormat? format, string shape, GeneratedCode? code)
            {
                if (code is not null)
                {
                    list.Add(new GeneratedKernel(operation, format, shape, Tier, code.Length));
                }
            }
        }
    }

    /// <summary>Whether a format's weights are integer codes. Others keep to <see cref="WeightMatrix.Create"/>.</summary>
    public static bool Supports(TensorFormat format) => CodeLayout.Find(format) is not null;

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
        CodeLayout layout = CodeLayout.Find(format) ?? throw new NotSupportedException($"{format} has no integer codes: use WeightMatrix.Create");
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfLessThan(columns, 1);
        ArgumentNullException.ThrowIfNull(team);
        long needed = checked(format.ByteCount(columns) * rows);
        if (needed > length)
        {
            throw new ArgumentException($"a {format} matrix of {rows} x {columns} needs {needed} bytes, there are {length}", nameof(length));
        }

        long strips = ((long)rows + CodeLayout.StripRows - 1) / CodeLayout.StripRows;
        byte* memory = arena.Take(checked(strips * layout.StripBytes(columns)), out PackedMemory owner);
        CodePacker.Pack(layout, rows, columns, data, memory, team);
        return new CodeMatrix(this, layout, rows, columns, memory, owner, 0);
    }

    /// <summary>Generates now what matrices of some formats will need for single tokens and prompts, rather than at their first products.</summary>
    /// <param name="formats">The formats; those without integer codes are passed over.</param>
    public void Prepare(IEnumerable<TensorFormat> formats)
    {
        foreach (CodeLayout layout in formats.Distinct().Select(CodeLayout.Find).OfType<CodeLayout>().Where(_ => IsGenerated))
        {
            Dot(layout, 1);
            if (HasTiles)
            {
                Tile(layout, SplitForm.GroupTokens);
            }
            else
            {
                Panel(layout, BlockProducts.MaxStrips, BlockProducts.MaxTokens);
            }

            if (!HasTiles || !layout.IsPlain)
            {
                Unpack(layout);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (gate)
        {
            foreach (GeneratedCode? code in (ReadOnlySpan<GeneratedCode?>)[.. dot, .. tile, .. pair, .. panel, .. unpack])
            {
                code?.Dispose();
            }
        }
    }

    /// <summary>Chooses among kernels with the same bits, or null.</summary>
    internal KernelTuning? Tuning { get; }

    /// <summary>Whether groups of tokens are multiplied in AMX tiles.</summary>
    internal bool HasTiles { get; }

    internal GeneratedCode Tile(CodeLayout layout, int tokens) => Get(
        ref tile[(CodeLayout.Layouts.IndexOf(layout) * SplitForm.GroupTokens) + tokens - 1],
        (layout, tokens, Passes),
        static of => TileKernel.Generate(of.layout, of.tokens, of.Passes));

    internal GeneratedCode Unpack(CodeLayout layout) => Get(
        ref unpack[CodeLayout.Layouts.IndexOf(layout)],
        (layout, starts: !HasTiles),
        static of => UnpackKernel.Generate(of.layout, of.starts));

    internal GeneratedCode Pair(CodeLayout layout, int strips, int tokens) => Get(
        ref pair[(((CodeLayout.Layouts.IndexOf(layout) * BlockProducts.MaxStrips) + strips - 1) * PairKernel.MaxTokens) + tokens - 1],
        (layout, strips, tokens, Passes),
        static of => PairKernel.Generate(of.layout, of.strips, of.tokens, of.Passes));

    internal GeneratedCode Panel(CodeLayout layout, int strips, int tokens) => Get(
        ref panel[(((CodeLayout.Layouts.IndexOf(layout) * BlockProducts.MaxStrips) + strips - 1) * BlockProducts.MaxTokens) + tokens - 1],
        (layout, strips, tokens, Passes),
        static of => PanelKernel.Generate(of.layout, of.strips, of.tokens, of.Passes));

    internal GeneratedCode Dot(CodeLayout layout, int tokens) => Get(
        ref dot[(CodeLayout.Layouts.IndexOf(layout) * SplitForm.GroupTokens) + tokens - 1],
        (layout, tokens, Passes),
        static of => DotKernel.Generate(of.layout, of.tokens, of.Passes));

    private GeneratedCode Get<TKey>(ref GeneratedCode? place, TKey key, Func<TKey, GeneratedCode> generate)
    {
        if (Volatile.Read(ref place) is { } existing)
        {
            return existing;
        }

        lock (gate)
        {
            if (place is null)
            {
                long start = Stopwatch.GetTimestamp();
                Volatile.Write(ref place, generate(key));
                generationTicks += Stopwatch.GetTimestamp() - start;
            }

            return place;
        }
    }
}
