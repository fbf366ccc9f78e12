using System.Runtime.InteropServices;
using Antiphon.Kernels.Jit;
using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tuning;

namespace Antiphon.Kernels.MultiScale;

/// <summary>A matrix in the layout of <see cref="CodeLayout"/>, multiplied as integers. <see cref="SplitArithmetic.Dot"/> defines the result.</summary>
internal sealed unsafe class CodeMatrix : StripMatrix<CodeMatrix, ProductPlan, CodeMatrix.MultiplyWork>
{
    // A chunk is never less than this: starting a kernel, and fetching what it reads first, must not count.
    private const long SmallestChunk = 32 << 10;

    // Packed strips that groups of tokens share.
    private const long StripPanel = 320 << 10;

    private readonly MultiScaleKernels kernels;
    private readonly CodeLayout layout;
    private readonly MatrixTuning? tuning;

    /// <summary>A view of packed rows.</summary>
    /// <param name="kernels">The kernels.</param>
    /// <param name="layout">The layout.</param>
    /// <param name="rows">Rows of the view.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="strips">The strips of the whole matrix.</param>
    /// <param name="firstRow">The view's first row in it.</param>
    public CodeMatrix(MultiScaleKernels kernels, CodeLayout layout, int rows, int columns, PackedStrips strips, long firstRow)
        : base(layout.Format, rows, columns, strips, firstRow)
    {
        this.kernels = kernels;
        this.layout = layout;
        tuning = kernels.Tuning?.Matrix($"{(kernels.Passes == 2 ? "int8" : "w8a8")} {layout.Format} {rows} x {columns}", ProductPlan.Classes);
    }

    /// <inheritdoc/>
    public override void DecodeRow(int row, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows);
        destination = destination[..Columns];
        long at = FirstRow + row;
        byte* strip = Strips.Packed + (at / CodeLayout.StripRows * layout.StripBytes(Columns));
        int lane = (int)(at % CodeLayout.StripRows);
        for (int first = 0; first < Columns; first += layout.BlockColumns)
        {
            int block = first / layout.BlockColumns;
            float scale = layout.Scale(strip, lane, block);
            (float unit, int multiple) = layout.Minimum(strip, lane, block);
            for (int column = first; column < Math.Min(first + layout.BlockColumns, Columns); column++)
            {
                destination[column] = MathF.FusedMultiplyAdd(layout.Value(strip, Columns, lane, column), scale, unit * multiple);
            }
        }

        GC.KeepAlive(Strips);
    }

    /// <inheritdoc/>
    internal override IInputForm? BeginInput(Activations x, ComputeTeam team)
    {
        // Whatever plan is chosen later, the plans for a number of tokens mostly read the same order; where not, the input is split once more.
        ProductPlan plan = ProductPlan.For(kernels, layout, ProductPlan.Class(x.Rows))[0];
        x.Split.Begin(x, plan.Order(kernels.Passes), kernels.Passes, Digits(plan));
        return x.Split;
    }

    /// <summary>Which digits of the activations' sums a plan's kernels read.</summary>
    private int Digits(ProductPlan plan) => layout.HasSuperMinimum && plan.Kind != ProductKind.Lanes ? layout.SubBlocks : 0;

    /// <inheritdoc/>
    protected override CodeMatrix View(long firstRow, int rows) => new(kernels, layout, rows, Columns, Strips, firstRow);

    /// <inheritdoc/>
    protected override bool Shares(CodeMatrix other) => other.kernels == kernels && other.layout.IsWords == layout.IsWords;

    /// <inheritdoc/>
    protected override ProductPlan Plan(int tokens, int together, out TimedCall call)
    {
        call = default;
        int index = ProductPlan.Class(tokens);
        ProductPlan[] plans = ProductPlan.For(kernels, layout, index);
        return tuning is null || plans.Length == 1 ? plans[0] : tuning.Take(plans, index, ProductPlan.ClassName, together, out call);
    }

    /// <inheritdoc/>
    protected override MultiplyWork Work(ProductPlan plan, Activations x, in MatrixOutput output, ComputeTeam team)
    {
        x.Split.Prepare(x, plan.Order(kernels.Passes), kernels.Passes, Digits(plan), team);
        MultiplyWork work = new()
        {
            Kind = plan.Kind,
            PanelSize = plan.Panel,
            Kernels = kernels,
            Layout = layout,
            Team = team,
            Input = x.Split,
            Tokens = x.Rows,
            Columns = Columns,
            StripBytes = layout.StripBytes(Columns),
            Strips = StripCount,
            Skip = Skip,
            Product = output,
        };
        work.Weights = Strips.Packed + (FirstStrip * work.StripBytes);

        // Here rather than in the chunks, which would wait for each other.
        switch (plan.Kind)
        {
            case ProductKind.Tiles:
                work.Unpack = layout.IsPlain ? null : kernels.Unpack(layout);
                work.LastKernel = kernels.Tile(layout, work.LastTokens);
                work.Kernel = work.Groups == 1 ? work.LastKernel : kernels.Tile(layout, SplitForm.GroupTokens);
                break;
            case ProductKind.Panels:
                work.Unpack = kernels.Unpack(layout);
                work.LastKernel = kernels.Panel(layout, BlockProducts.MaxStrips, work.LastTokens);
                work.Kernel = work.Groups == 1 ? work.LastKernel : kernels.Panel(layout, BlockProducts.MaxStrips, SplitForm.GroupTokens);
                break;
            case ProductKind.Strips or ProductKind.WordStrips:
                work.LastKernel = work.StripKernelOf(BlockProducts.MaxStrips, work.LastTokens);
                work.Kernel = work.Groups == 1 ? work.LastKernel : work.StripKernelOf(BlockProducts.MaxStrips, SplitForm.GroupTokens);
                break;
            case ProductKind.Dot:
                work.Kernel = kernels.Dot(layout, work.Tokens);
                break;
            case ProductKind.PairStrips or ProductKind.PairPanels:
                work.PreparePairs();
                break;
            default:
                break;
        }

        return work;
    }

    /// <summary>One product, cut into ranges of strips.</summary>
    [StructLayout(LayoutKind.Auto)]
    internal struct MultiplyWork : IStripWork
    {
        public ProductKind Kind;
        public int PanelSize;
        public MultiScaleKernels Kernels;
        public CodeLayout Layout;
        public GeneratedCode? Kernel;
        public GeneratedCode? LastKernel;
        public GeneratedCode? Unpack;
        public ComputeTeam Team;
        public SplitInput Input;
        public int Columns;
        public long StripBytes;
        public byte* Weights;

        public MatrixOutput Product { get; init; }

        public int Tokens { get; init; }

        public int Strips { get; init; }

        public int Skip { get; init; }

        public readonly int Least => (int)Math.Max(1, SmallestChunk / StripBytes);

        public readonly int Groups => (Tokens + SplitForm.GroupTokens - 1) / SplitForm.GroupTokens;

        public readonly int LastTokens => Tokens - (SplitForm.GroupTokens * (Groups - 1));

        private readonly long PartBytes => (long)Tokens * CodeLayout.StripRows * sizeof(float);

        // Fewer strips would read the activations too often.
        public readonly int Together => Kind switch { ProductKind.Strips or ProductKind.WordStrips => BlockProducts.MaxStrips, ProductKind.Panels or ProductKind.PairPanels => Panel, _ => 1 };

        private readonly long ScratchBytes => Kind switch
        {
            ProductKind.Tiles => TileKernel.ScratchBytes + (Unpack is null ? 0 : Panel * UnpackedBytes),
            ProductKind.Panels => PanelKernel.ScratchBytes + (Panel * UnpackedBytes),
            ProductKind.Strips or ProductKind.WordStrips => StripKernel.ScratchBytes,
            ProductKind.Dot => DotKernel.ScratchBytes,
            ProductKind.PairStrips => PairStripKernel.ScratchBytes,
            ProductKind.PairPanels => PairPanelKernel.ScratchBytes + (Panel * UnpackedBytes),
            _ => new LaneStrip(Layout, Columns).ByteCount,
        };

        // One group uses unpacked strips once: they need not leave the first-level cache.
        private readonly int Panel => Kind switch
        {
            ProductKind.Panels => (int)Math.Clamp(((long)PanelSize << 10) / UnpackedBytes / BlockProducts.MaxStrips, 1, 8) * BlockProducts.MaxStrips,
            ProductKind.PairPanels => (int)Math.Clamp(((long)PanelSize << 10) / UnpackedBytes, 1, 16),
            _ => Groups > 1 ? PanelSize : 1,
        };

        private readonly long UnpackedBytes => Kind == ProductKind.PairPanels
            ? (new LaneStrip(Layout, Columns).ByteCount + 63) & ~63L
            : new UnpackedStrip(Layout, Columns, Kernels.Unpacked).ByteCount;

        /// <summary>Tokens that the kernel for pairs multiplies at a time.</summary>
        private readonly int PairTokens => Kind == ProductKind.PairStrips ? PairStripKernel.MaxTokens : PairPanelKernel.MaxTokens;

        public readonly float* Room(int worker) => (float*)(Team.Scratch(worker, ScratchBytes + PartBytes) + ScratchBytes);

        public readonly void Run(int first, int strips, float* output, int stride, int worker)
        {
            byte* scratch = Team.Scratch(worker, ScratchBytes + PartBytes);
            byte* weights = Weights + (first * StripBytes);

            // What follows a chunk is another worker's; what follows a matrix is probably read next.
            byte* aheadEnd = first + strips == Strips || Team.Size == 1 ? (byte*)nint.MaxValue : weights + (strips * StripBytes);
            switch (Kind)
            {
                case ProductKind.Tiles:
                    RunTiles(weights, strips, aheadEnd, output, stride, scratch);
                    break;
                case ProductKind.Panels:
                    RunPanels(weights, strips, aheadEnd, output, stride, scratch);
                    break;
                case ProductKind.Strips or ProductKind.WordStrips:
                    RunStrips(weights, strips, output, stride, scratch);
                    break;
                case ProductKind.PairStrips:
                    RunPairStrips(weights, strips, aheadEnd, output, stride, scratch);
                    break;
                case ProductKind.PairPanels:
                    RunPairPanels(weights, strips, aheadEnd, output, stride, scratch);
                    break;
                case ProductKind.Dot:
                    CodeArguments arguments = Arguments(0, weights, strips, output, stride);
                    arguments.AheadEnd = aheadEnd;
                    arguments.Scratch = scratch;
                    Kernel!.Run(&arguments);
                    break;
                default:
                    RunLanes(weights, strips, output, stride, scratch);
                    break;
            }
        }

        private readonly SplitForm Form(int group) => new(Columns, group == Groups - 1 ? LastTokens : SplitForm.GroupTokens);

        private readonly void RunLanes(byte* weights, int strips, float* output, int stride, byte* scratch)
        {
            for (int strip = 0; strip < strips; strip++, weights += StripBytes, output += CodeLayout.StripRows)
            {
                LaneStrip.Unpack(Layout, Columns, weights, scratch);
                for (int group = 0; group < Groups; group++)
                {
                    float* to = output + ((long)group * SplitForm.GroupTokens * stride);
                    if (Kernels.Tier == KernelTier.Portable)
                    {
                        DotLanes<PortablePairs>.Multiply(Layout, Columns, scratch, Input.Group(group), Form(group), to, stride);
                    }
                    else
                    {
                        DotLanes<Avx2Pairs>.Multiply(Layout, Columns, scratch, Input.Group(group), Form(group), to, stride);
                    }
                }
            }
        }

        /// <summary>Makes the kernels for pairs.</summary>
        public readonly void PreparePairs()
        {
            for (int group = Math.Max(0, Groups - 2); group < Groups; group++)
            {
                int tokens = Form(group).Tokens;
                int parts = TokenGroups.CountOf(tokens, PairTokens);
                for (int part = 0; part < parts; part++)
                {
                    Pairs(TokenGroups.StartOf(part + 1, parts, tokens) - TokenGroups.StartOf(part, parts, tokens));
                }
            }
        }

        /// <summary>All strips at once where one kernel takes all tokens, else one at a time, which the others then meet in the cache.</summary>
        private readonly void RunPairStrips(byte* weights, int strips, byte* aheadEnd, float* output, int stride, byte* scratch)
        {
            int count = Tokens <= PairTokens ? strips : 1;
            for (int strip = 0; strip < strips; strip += count, weights += count * StripBytes, output += count * CodeLayout.StripRows)
            {
                RunPairs(weights, count, StripBytes, null, aheadEnd, output, stride, scratch);
            }
        }

        /// <summary>As <see cref="RunPanels"/>.</summary>
        private readonly void RunPairPanels(byte* weights, int strips, byte* aheadEnd, float* output, int stride, byte* scratch)
        {
            byte* unpacked = scratch + PairPanelKernel.ScratchBytes;
            for (int strip = 0; strip < strips; strip += Panel, output += Panel * CodeLayout.StripRows)
            {
                int count = Math.Min(Panel, strips - strip);
                for (int i = 0; i < count; i++, weights += StripBytes)
                {
                    LaneStrip.Unpack(Layout, Columns, weights, unpacked + (i * UnpackedBytes));
                }

                byte* end = (byte*)Math.Min((nuint)aheadEnd, (nuint)(weights + (Panel * StripBytes)));
                RunPairs(unpacked, count, UnpackedBytes, weights, end, output, stride, scratch);
            }
        }

        /// <summary>Some strips times all tokens, a few tokens at a time.</summary>
        private readonly void RunPairs(byte* weights, int strips, long stripBytes, byte* ahead, byte* aheadEnd, float* output, int stride, byte* scratch)
        {
            for (int group = 0; group < Groups; group++)
            {
                SplitForm form = Form(group);
                int parts = TokenGroups.CountOf(form.Tokens, PairTokens);
                for (int part = 0; part < parts; part++)
                {
                    int first = TokenGroups.StartOf(part, parts, form.Tokens);
                    CodeArguments arguments = Arguments(group, weights, strips, output + ((((long)group * SplitForm.GroupTokens) + first) * stride), stride);
                    arguments.StripBytes = (nint)stripBytes;
                    arguments.Scratch = scratch;
                    arguments.Ahead = ahead;
                    arguments.AheadEnd = aheadEnd;
                    arguments.InputStep = form.StepBytes;
                    arguments.SumsStep = arguments.InputStep / 16 * Layout.SubBlocks;
                    arguments.DigitsStep = arguments.InputStep / 2 * Layout.SubBlocks;
                    arguments.Input += 64 * first;
                    arguments.Sums += 4 * Layout.SubBlocks * first;
                    arguments.Digits += 32 * Layout.SubBlocks * first;
                    arguments.Factors += 8 * first;
                    Pairs(TokenGroups.StartOf(part + 1, parts, form.Tokens) - first).Run(&arguments);
                    ahead = arguments.Ahead;
                }
            }
        }

        private readonly GeneratedCode Pairs(int tokens) => Kind == ProductKind.PairStrips ? Kernels.PairStrip(Layout, tokens) : Kernels.PairPanel(Layout, tokens);

        public readonly GeneratedCode StripKernelOf(int strips, int tokens) => Kernels.Strip(Layout, strips, tokens, words: Kind == ProductKind.WordStrips);

        /// <summary>All strips at once for one group; else as many as further groups still meet in the cache.</summary>
        private readonly void RunStrips(byte* weights, int strips, float* output, int stride, byte* scratch)
        {
            int count;
            for (int strip = 0; strip < strips; strip += count, weights += count * StripBytes, output += count * CodeLayout.StripRows)
            {
                count = BlockProducts.Together(strips - strip, out int together);
                count = Groups == 1 ? count : Math.Min(count, together * (int)Math.Max(1, StripPanel / (together * StripBytes)));
                for (int group = 0; group < Groups; group++)
                {
                    bool last = group == Groups - 1;
                    CodeArguments arguments = Arguments(group, weights, count, output + ((long)group * SplitForm.GroupTokens * stride), stride);
                    arguments.Scratch = scratch;
                    GeneratedCode kernel = together == BlockProducts.MaxStrips ? (last ? LastKernel : Kernel)! : StripKernelOf(together, Form(group).Tokens);
                    kernel.Run(&arguments);
                }
            }
        }

        /// <summary>Some strips are unpacked at a time, and then multiplied with all tokens.</summary>
        private readonly void RunPanels(byte* weights, int strips, byte* aheadEnd, float* output, int stride, byte* scratch)
        {
            byte* unpacked = scratch + PanelKernel.ScratchBytes;
            for (int strip = 0; strip < strips; strip += Panel, output += Panel * CodeLayout.StripRows)
            {
                int count = Math.Min(Panel, strips - strip);
                CodeArguments arguments = Arguments(0, weights, count, (float*)unpacked, 0);
                arguments.OutputStride = (nint)UnpackedBytes;
                Unpack!.Run(&arguments);
                weights += count * StripBytes;
                byte* ahead = weights;
                for (int group = 0; group < Groups; group++)
                {
                    bool last = group == Groups - 1;
                    arguments = Arguments(group, unpacked, count, output + ((long)group * SplitForm.GroupTokens * stride), stride);
                    arguments.StripBytes = (nint)UnpackedBytes;
                    arguments.Scratch = scratch;
                    arguments.Ahead = ahead;
                    arguments.AheadEnd = (byte*)Math.Min((nuint)aheadEnd, (nuint)(weights + (Panel * StripBytes)));
                    for (int left = count; left > 0;)
                    {
                        arguments.Strips = BlockProducts.Together(left, out int together);
                        left -= (int)arguments.Strips;
                        GeneratedCode kernel = together == BlockProducts.MaxStrips ? (last ? LastKernel : Kernel)! : Kernels.Panel(Layout, together, Form(group).Tokens);
                        kernel.Run(&arguments);
                    }

                    ahead = arguments.Ahead;
                }
            }
        }

        private readonly void RunTiles(byte* weights, int strips, byte* aheadEnd, float* output, int stride, byte* scratch)
        {
            byte* unpacked = scratch + TileKernel.ScratchBytes;
            int panel = Unpack is null && Groups == 1 ? strips : Panel;
            for (int strip = 0; strip < strips; strip += panel, output += panel * CodeLayout.StripRows)
            {
                int count = Math.Min(panel, strips - strip);
                byte* next = weights + (count * StripBytes);
                CodeArguments arguments;
                if (Unpack is not null)
                {
                    arguments = Arguments(0, weights, count, (float*)unpacked, 0);
                    arguments.OutputStride = (nint)UnpackedBytes;
                    Unpack.Run(&arguments);
                }

                for (int group = 0; group < Groups; group++)
                {
                    int tokens = group == Groups - 1 ? LastTokens : SplitForm.GroupTokens;
                    arguments = Arguments(group, Unpack is null ? weights : unpacked, count, output + ((long)group * SplitForm.GroupTokens * stride), stride);
                    if (Unpack is not null)
                    {
                        arguments.StripBytes = (nint)UnpackedBytes;
                    }

                    arguments.Scratch = scratch;
                    arguments.Ahead = Unpack is null && Groups == 1 ? weights + TileKernel.PrefetchDistance : next;
                    arguments.AheadEnd = group == 0 ? aheadEnd : null;
                    TileConfig config = TileKernel.Config(Layout, tokens, Kernels.Passes);
                    arguments.Config = &config;
                    (group == Groups - 1 ? LastKernel : Kernel)!.Run(&arguments);
                }

                weights = next;
            }
        }

        private readonly CodeArguments Arguments(int group, byte* weights, int strips, float* output, int stride)
        {
            SplitForm form = Form(group);
            byte* input = Input.Group(group);
            return new()
            {
                Weights = weights,
                CodesAt = (nint)Layout.CodesAt(Columns),
                StripBytes = (nint)StripBytes,
                Strips = strips,
                Steps = CodeLayout.Steps(Columns),
                Input = input,
                Sums = input + (Layout.SubBlocks == 1 ? form.Sums32At : form.Sums16At),
                Digits = input + (Layout.SubBlocks == 1 ? form.Digits32At : form.Digits16At),
                Factors = input + form.FactorsAt,
                Output = (byte*)output,
                OutputStride = sizeof(float) * (nint)stride,
            };
        }
    }
}
