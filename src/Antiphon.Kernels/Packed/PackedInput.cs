using Antiphon.Kernels.Jit;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// Activations as bfloat16 in the layout of a tier's kernels, made once for all matrices with that input. AMX: groups of 16 tokens, in each for every
/// 32 columns 16 rows of pairs, one pair for each token; the last group has only its own tokens. AVX-512: a row for each token.
/// </summary>
internal sealed unsafe class PackedInput : IDisposable
{
    private const long LeastRoom = 1 << 20;

    private NativeBuffer<byte> buffer = new(0);
    private PackedKernels? packedFor;

    /// <summary>The first byte.</summary>
    public byte* Pointer => buffer.Pointer;

    /// <summary>Forgets the content.</summary>
    public void Forget() => packedFor = null;

    /// <inheritdoc/>
    public void Dispose() => buffer.Dispose();

    /// <summary>Packs the rows of <paramref name="x"/> if that has not been done since they were written.</summary>
    public void Prepare(Activations x, PackedKernels kernels, ComputeTeam team)
    {
        if (packedFor == kernels)
        {
            return;
        }

        int steps = PackedFormat.Steps(x.Columns);
        long needed = checked((long)steps * 64 * x.Rows);
        if (buffer.Length < needed)
        {
            buffer.Dispose();
            buffer = new NativeBuffer<byte>(Math.Max(2 * needed, LeastRoom), hugePages: true);
        }

        bool tiles = kernels.Tier == KernelTier.Amx;
        PackWork work = new()
        {
            X = x,
            Kernel = tiles ? kernels.InputTiles : kernels.InputRows,
            Team = team,
            Destination = buffer.Pointer,
            Steps = steps,
            Tiles = tiles,
        };

        // One group of tokens a chunk; a single token is not worth waking the team.
        team.Run(ref work, (x.Rows + 15) / 16);
        packedFor = kernels;
    }

    private struct PackWork : IParallelWork
    {
        public Activations X;
        public GeneratedCode Kernel;
        public ComputeTeam Team;
        public byte* Destination;
        public int Steps;
        public bool Tiles;

        public readonly void Execute(int chunk, int worker)
        {
            int first = chunk * 16;
            int tokens = Math.Min(16, X.Rows - first);
            byte* destination = Destination + ((long)first * Steps * 64);
            int whole = X.Columns / 32;
            if (whole > 0)
            {
                Run(first, tokens, 0, whole, 0xFFFF, 0xFFFF, destination, worker);
            }

            int rest = X.Columns % 32;
            if (rest > 0)
            {
                int low = (1 << Math.Min(rest, 16)) - 1;
                int high = (1 << Math.Max(rest - 16, 0)) - 1;
                Run(first, tokens, whole, 1, low, high, destination + ((long)whole * 64 * (Tiles ? tokens : 1)), worker);
            }
        }

        private readonly void Run(int first, int tokens, int step, int steps, int low, int high, byte* destination, int worker)
        {
            InputArguments arguments = new()
            {
                Source = X.Row(first) + (32L * step),
                SourceStride = 4 * X.Stride,
                Tokens = tokens,
                Steps = steps,
                Destination = destination,
                DestinationStride = Tiles ? 4 * tokens : 64 * Steps,
                LowMask = low,
                HighMask = high,
                TokenMask = (1 << tokens) - 1,
                Scratch = Team.Scratch(worker, 1024),
            };
            Kernel.Run(&arguments);
        }
    }
}
