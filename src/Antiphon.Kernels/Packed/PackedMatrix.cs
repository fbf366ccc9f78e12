using System.Runtime.InteropServices;
using Antiphon.Kernels.Jit;
using Antiphon.Kernels.Tuning;

namespace Antiphon.Kernels.Packed;

/// <summary>A matrix in the layout of <see cref="PackedFormat"/>, multiplied by generated kernels.</summary>
/// <remarks>
/// The result is defined by <see cref="PackedFormat.Decode"/>, <see cref="PackedFormat.Round"/> of weights, <see cref="BFloat16.Round"/> of activations, and the tier's dot product in
/// <see cref="TileArithmetic"/>; NaN and infinity stay NaN and infinity, though which NaN is not defined.
/// </remarks>
internal sealed unsafe class PackedMatrix : StripMatrix<PackedMatrix, PackedPlan, PackedMatrix.MultiplyWork>
{
    // Longest chain that a panel takes whole; a longer one is cut, so that the panel keeps enough strips.
    private const int MostPanelSteps = 128;
    private const int PanelPartSteps = 96;

    // A chunk is never less than this: starting a kernel, and fetching what it reads first, must not count. Of a panel so many strips: all activations pass by.
    private const long SmallestChunk = 32 << 10;
    private const int SmallestPanel = 4;

    private readonly PackedKernels kernels;
    private readonly PackedFormat format;
    private readonly MatrixTuning? tuning;

    /// <summary>A view of packed rows.</summary>
    /// <param name="kernels">The kernels.</param>
    /// <param name="format">The layout.</param>
    /// <param name="rows">Rows of the view.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="strips">The strips of the whole matrix.</param>
    /// <param name="firstRow">The view's first row in it.</param>
    public PackedMatrix(PackedKernels kernels, PackedFormat format, int rows, int columns, PackedStrips strips, long firstRow)
        : base(format.Format, rows, columns, strips, firstRow)
    {
        this.kernels = kernels;
        this.format = format;
        tuning = kernels.Tuning?.Matrix($"bfloat16 {format.Format} {rows} x {columns}", PackedPlan.Classes);
    }

    /// <inheritdoc/>
    public override void DecodeRow(int row, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows);
        destination = destination[..Columns];
        long at = FirstRow + row;
        byte* strip = Strips.Packed + (at / PackedFormat.StripRows * format.StripBytes(Columns));
        Span<float> values = stackalloc float[PackedFormat.TileColumns];
        for (int step = 0; destination.Length > 0; step++)
        {
            format.Decode(strip, step, (int)(at % PackedFormat.StripRows), values);
            int count = Math.Min(values.Length, destination.Length);
            values[..count].CopyTo(destination);
            destination = destination[count..];
        }

        GC.KeepAlive(Strips);
    }

    /// <inheritdoc/>
    internal override IInputForm? BeginInput(Activations x, ComputeTeam team)
    {
        // Groups that are converted as a whole would keep few of the team busy with the rows.
        if (kernels.Tier == KernelTier.Amx && x.Rows < 2 * team.Size * IInputForm.GroupRows)
        {
            return null;
        }

        x.Packed.Begin(x, kernels, team);
        return x.Packed;
    }

    /// <inheritdoc/>
    protected override PackedMatrix View(long firstRow, int rows) => new(kernels, format, rows, Columns, Strips, firstRow);

    /// <inheritdoc/>
    protected override bool Shares(PackedMatrix other) => other.kernels == kernels;

    /// <inheritdoc/>
    protected override PackedPlan Plan(int tokens, int together, out TimedCall call)
    {
        call = default;
        PackedPlan[] plans = PackedPlan.For(kernels.Tier, tokens);
        return tuning is null || plans.Length == 1 ? plans[0] : tuning.Take(plans, PackedPlan.Class(tokens), PackedPlan.ClassName, together, out call);
    }

    /// <inheritdoc/>
    protected override MultiplyWork Work(PackedPlan plan, Activations x, in MatrixOutput output, ComputeTeam team)
    {
        x.Packed.Prepare(x, kernels, team);
        MultiplyWork work = new()
        {
            Kernels = kernels,
            Format = format,
            Team = team,
            Tokens = x.Rows,
            Steps = PackedFormat.Steps(Columns),
            StripBytes = format.StripBytes(Columns),
            Strips = StripCount,
            Skip = Skip,
            Input = x.Packed.Pointer,
            Product = output,
        };
        work.Weights = Strips.Packed + (FirstStrip * work.StripBytes);
        if (kernels.Tier != KernelTier.Amx)
        {
            work.Kernel = kernels.Vector(format);
        }
        else if (plan.CacheEighths == 0)
        {
            work.Kernel = kernels.Stream(format, (x.Rows + 15) / 16);
        }
        else
        {
            work.PanelEighths = plan.CacheEighths;
            work.Kernel = format.Codes == PackedCodes.Values ? null : kernels.Expand(format);
            int parts = work.Steps <= MostPanelSteps ? 1 : (work.Steps + PanelPartSteps - 1) / PanelPartSteps;
            work.PanelSteps = parts == 1 ? work.Steps : ((work.Steps / parts) + PackedFormat.SuperTiles) / PackedFormat.SuperTiles * PackedFormat.SuperTiles;
        }

        return work;
    }

    /// <summary>One product, cut into ranges of strips.</summary>
    [StructLayout(LayoutKind.Auto)]
    internal struct MultiplyWork : IStripWork
    {
        public PackedKernels Kernels;
        public PackedFormat Format;
        public GeneratedCode? Kernel;
        public ComputeTeam Team;
        public int PanelEighths;
        public int Steps;
        public int PanelSteps;
        public long StripBytes;
        public byte* Weights;
        public byte* Input;

        public MatrixOutput Product { get; init; }

        public int Tokens { get; init; }

        public int Strips { get; init; }

        public int Skip { get; init; }

        private readonly bool Panel => PanelEighths > 0;

        public readonly int Least => Panel ? SmallestPanel : (int)Math.Max(1, SmallestChunk / StripBytes);

        // Two strips share the activations.
        public readonly int Together => Panel ? 2 : 1;

        // All activations pass by a panel, so the more strips it has the less often they come from memory; a part of the cache is left to them and the outputs.
        private readonly int PanelStrips => (int)Math.Max(2, CpuFeatures.Current.Level2Bytes * (long)PanelEighths / 8 / (PanelSteps * 1024) & ~1L);

        private readonly int Groups => (Tokens + 15) / 16;

        private readonly int LastTokens => Tokens - (16 * (Groups - 1));

        public readonly float* Room(int worker) => (float*)(Team.Scratch(worker, ScratchBytes(1) + PartBytes) + ScratchBytes(1));

        private readonly long PartBytes => (long)Tokens * PackedFormat.StripRows * sizeof(float);

        private readonly long ScratchBytes(int strips) =>
            Kernels.Tier != KernelTier.Amx ? Avx512Kernel.ScratchBytes(Tokens)
            : Panel ? PanelAt + SumBytes(strips) + (strips * PanelStripBytes)
            : AmxStreamKernel.ScratchBytes;

        private static int PanelAt => Math.Max(AmxPanelKernel.ScratchBytes, TileExpander.ScratchBytes);

        private readonly long SumBytes(int strips) => PanelSteps == Steps ? 0 : (long)strips * Groups * AmxPanelKernel.SumBytes;

        private readonly long PanelStripBytes => Format.Codes == PackedCodes.Values ? 0 : PanelSteps * 1024L;

        public readonly void Run(int first, int strips, float* output, int stride, int worker)
        {
            int most = Panel ? PanelStrips : strips;
            for (int end = first + strips; first < end; first += most, output += (long)most * PackedFormat.StripRows)
            {
                RunSome(first, Math.Min(most, end - first), output, stride, worker);
            }
        }

        private readonly void RunSome(int first, int strips, float* output, int stride, int worker)
        {
            TileArguments arguments = new()
            {
                Weights = Weights + (first * StripBytes),
                Tiles = (nint)strips * Steps,
                Steps = Steps,
                Input = Input,
                GroupBytes = Steps * 1024,
                LastStride = 4 * LastTokens,
                Tokens = LastTokens,
                Output = (byte*)output,
                OutputStride = 4 * (nint)stride,
                Scratch = Team.Scratch(worker, ScratchBytes(strips) + PartBytes),
            };
            if (Kernels.Tier != KernelTier.Amx)
            {
                arguments.GroupBytes = Steps * 64;
                arguments.Tokens = Tokens;
                arguments.Counter0 = strips;
                Kernel!.Run(&arguments);
            }
            else if (!Panel)
            {
                TileConfig config = AmxStreamKernel.Config(Groups, LastTokens);
                arguments.Config = &config;
                Kernel!.Run(&arguments);
            }
            else
            {
                RunPanel(arguments, strips);
            }
        }

        private readonly void RunPanel(TileArguments arguments, int strips)
        {
            byte* weights = arguments.Weights;
            byte* sums = arguments.Scratch + PanelAt;
            byte* panel = sums + SumBytes(strips);
            byte* output = arguments.Output;
            for (int step = 0; step < Steps; step += PanelSteps)
            {
                arguments.Steps = Math.Min(PanelSteps, Steps - step);
                arguments.Resume = step > 0 ? 1 : 0;
                arguments.Keep = step + PanelSteps < Steps ? 1 : 0;
                if (Kernel is null)
                {
                    panel = weights + (step * 1024L);
                    arguments.StripBytes = (nint)StripBytes;
                }
                else
                {
                    arguments.StripBytes = (nint)PanelStripBytes;
                    for (int strip = 0; strip < strips; strip++)
                    {
                        arguments.Weights = weights + (strip * StripBytes) + Format.TileOffset(step) - Format.HeaderBytes;
                        arguments.Tiles = arguments.Steps;
                        arguments.Output = panel + (strip * PanelStripBytes);
                        Kernel.Run(&arguments);
                    }
                }

                // A few hundred tokens at a time would not fit the cache beside the panel: all strips for 32 tokens, then the next 32.
                for (int group = 0; group < Groups; group += 2)
                {
                    int groups = Math.Min(2, Groups - group);
                    int tokens = group + groups == Groups ? LastTokens : 16;
                    TileConfig config = AmxPanelKernel.Config(groups, tokens);
                    byte* next = group + groups < Groups ? InputAt(group + 2, step) : InputAt(0, arguments.Keep != 0 ? step + PanelSteps : 0);
                    arguments.Input = InputAt(group, step);
                    arguments.SecondInput = InputAt(group + groups - 1, step);
                    arguments.NextInput = (nint)(next - arguments.Input);
                    arguments.LastStride = 4 * tokens;
                    arguments.Tokens = tokens;
                    arguments.Config = &config;
                    byte* groupOutput = output + (16L * group * arguments.OutputStride);
                    byte* groupSums = sums + ((long)group * strips * AmxPanelKernel.SumBytes);
                    if (strips >= 2)
                    {
                        arguments.Weights = panel;
                        arguments.Output = groupOutput;
                        arguments.Sums = groupSums;
                        arguments.Counter0 = strips / 2;
                        Kernels.Panel(2, groups).Run(&arguments);
                    }

                    if (strips % 2 == 1)
                    {
                        arguments.Weights = panel + ((strips - 1) * arguments.StripBytes);
                        arguments.Output = groupOutput + (64L * (strips - 1));
                        arguments.Sums = groupSums + ((strips - 1L) * groups * AmxPanelKernel.SumBytes);
                        arguments.Counter0 = 1;
                        Kernels.Panel(1, groups).Run(&arguments);
                    }
                }
            }
        }

        /// <summary>Where a group's activations begin for a step; the next group's lie at once behind the last step's.</summary>
        private readonly byte* InputAt(int group, int step) => Input + (group * Steps * 1024L) + (step * 64L * (group == Groups - 1 ? LastTokens : 16));
    }
}
