using Antiphon.Kernels.Jit;

namespace Antiphon.Kernels.Packed;

/// <summary>
/// Activations as bfloat16 in the layout of a tier's kernels, made once for all matrices with that input. AMX: groups of 16 tokens, in each for every
/// 32 columns 16 rows of pairs, one pair for each token; the last group has only its own tokens. AVX-512: a row for each token.
/// </summary>
internal sealed unsafe class PackedInput : IInputForm, IDisposable
{
    private const long LeastRoom = 1 << 20;

    private NativeBuffer<byte> buffer = new(0);
    private PackedKernels? packedFor;
    private GeneratedCode? kernel;
    private ComputeTeam? team;
    private bool tiles;
    private int steps;

    /// <summary>The first byte.</summary>
    public byte* Pointer => buffer.Pointer;

    /// <inheritdoc/>
    public bool SplitsGroups => !tiles;

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

        Begin(x, kernels, team);

        IInputForm.Convert(this, x, team);
    }

    /// <summary>Makes room for rows whose groups are then converted.</summary>
    public void Begin(Activations x, PackedKernels kernels, ComputeTeam team)
    {
        steps = PackedFormat.Steps(x.Columns);
        long needed = checked((long)steps * 64 * x.Rows);
        if (buffer.Length < needed)
        {
            buffer.Dispose();
            buffer = new NativeBuffer<byte>(Math.Max(2 * needed, LeastRoom), hugePages: true);
        }

        tiles = kernels.Tier == KernelTier.Amx;
        kernel = tiles ? kernels.InputTiles : kernels.InputRows;
        this.team = team;
        packedFor = kernels;
    }

    /// <inheritdoc/>
    public void Convert(Activations x, int row, int count, int worker)
    {
        for (int end = row + count; row < end; row += IInputForm.GroupRows)
        {
            ConvertGroup(x, row, Math.Min(IInputForm.GroupRows, end - row), worker);
        }
    }

    private void ConvertGroup(Activations x, int first, int tokens, int worker)
    {
        byte* destination = buffer.Pointer + ((long)first * steps * 64);
        int whole = x.Columns / 32;
        if (whole > 0)
        {
            Run(x, first, tokens, 0, whole, 0xFFFF, 0xFFFF, destination, worker);
        }

        int rest = x.Columns % 32;
        if (rest > 0)
        {
            int low = (1 << Math.Min(rest, 16)) - 1;
            int high = (1 << Math.Max(rest - 16, 0)) - 1;
            Run(x, first, tokens, whole, 1, low, high, destination + ((long)whole * 64 * (tiles ? tokens : 1)), worker);
        }
    }

    private void Run(Activations x, int first, int tokens, int step, int count, int low, int high, byte* destination, int worker)
    {
        InputArguments arguments = new()
        {
            Source = x.Row(first) + (32L * step),
            SourceStride = 4 * x.Stride,
            Tokens = tokens,
            Steps = count,
            Destination = destination,
            DestinationStride = tiles ? 4 * tokens : 64 * steps,
            LowMask = low,
            HighMask = high,
            TokenMask = (1 << tokens) - 1,
            Scratch = team!.Scratch(worker, 1024),
        };
        kernel!.Run(&arguments);
    }
}
