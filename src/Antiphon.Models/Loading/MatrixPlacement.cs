using Antiphon.Kernels;
using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tuning;

namespace Antiphon.Models;

/// <summary>Decides in which layout a matrix is kept: that of its file, packed as bfloat16 kernels want it, or packed for products of integers.</summary>
internal sealed unsafe class MatrixPlacement : IDisposable
{
    private readonly PackedKernels? rounded;
    private readonly MultiScaleKernels? split;
    private readonly ComputeTeam team;
    private readonly ModelSource source;
    private readonly IProgress<double>? progress;
    private readonly KernelTuning? tuning;
    private readonly PackingQueue? queue;
    private readonly Task? ahead;
    private readonly long allBytes;
    private long placedBytes;

    private MatrixPlacement(PackedKernels? rounded, MultiScaleKernels? split, ComputeTeam team, ModelSource source, ModelLoadOptions options)
    {
        this.rounded = rounded;
        this.split = split;
        this.team = team;
        this.source = source;
        progress = options.Progress;
        tuning = options.Tuning;
        allBytes = source.Tensors.Sum(tensor => tensor.ByteCount);
        if (rounded is not null || split is not null)
        {
            queue = options.PackInBackground ? new PackingQueue(team.Size) : null;

            // While weights are packed, another thread reads on in the file and makes the code that the first step will need. One of its own: those of the pool read the vocabulary.
            ahead = Task.Factory.StartNew(
                () =>
                {
                    ReadAhead(source);
                    IEnumerable<TensorFormat> formats = source.Tensors.Where(tensor => tensor.Shape.Count > 1).Select(tensor => tensor.Format);
                    rounded?.Prepare(formats);
                    split?.Prepare(formats.Where(IsSplit));
                },
                CancellationToken.None,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default);
        }
    }

    /// <summary>What a precision means on this machine.</summary>
    /// <param name="options">The precision, and who chooses kernels.</param>
    /// <param name="team">Who packs.</param>
    /// <param name="store">Keeps the kernels.</param>
    /// <param name="source">The files.</param>
    public static MatrixPlacement Create(ModelLoadOptions options, ComputeTeam team, WeightStore store, ModelSource source)
    {
        MatrixPrecision precision = options.Precision;
        if (precision == MatrixPrecision.Fast && PackedKernels.TryCreate(null, out PackedKernels? kernels, out _, options.Tuning))
        {
            store.Keep(kernels);

            // Half precision loses less as integers than as bfloat16.
            return new MatrixPlacement(kernels, source.Tensors.Any(tensor => tensor.Format == TensorFormat.F16 && tensor.Shape.Count > 1) ? Integers() : null, team, source, options);
        }

        if (precision != MatrixPrecision.Exact)
        {
            // Fast without bfloat16 dot products: integers are the fastest way, if there are instructions for those.
            return new MatrixPlacement(null, Integers(), team, source, options);
        }

        return new MatrixPlacement(null, null, team, source, options);

        MultiScaleKernels? Integers()
        {
            var split = new MultiScaleKernels(passes: precision == MatrixPrecision.Int8OnePass ? 1 : 2, tuning: options.Tuning);
            if (precision == MatrixPrecision.Fast && !split.IsGenerated)
            {
                split.Dispose();
                return null;
            }

            store.Keep(split);
            return split;
        }
    }

    /// <summary>Whether matrices are multiplied as they are in their file.</summary>
    public bool IsExact => rounded is null && split is null;

    /// <summary>Packs behind the model's back; null: everything is packed, or nothing is to be.</summary>
    public PackingQueue? Queue => queue;

    /// <summary>All matrices have their place. Returns once they are packed, unless that happens in the background.</summary>
    public void Finish()
    {
        if (queue is null)
        {
            AwaitAhead();
        }
        else
        {
            queue.Close();
        }
    }

    /// <summary>Stops packing and waits for what runs beside it. To be called before anything that is needed for it is freed.</summary>
    public void Dispose()
    {
        queue?.Dispose();
        AwaitAhead();
    }

    /// <summary>Makes the matrix of a tensor.</summary>
    /// <param name="format">Its format.</param>
    /// <param name="rows">Output features.</param>
    /// <param name="columns">Input features.</param>
    /// <param name="data">Its first block, in a mapped file.</param>
    /// <param name="bytes">Its bytes.</param>
    /// <param name="exact">Whether it stays as it is: small differences would change what follows (routers), or it is changed next (adapters).</param>
    public WeightMatrix Place(TensorFormat format, int rows, int columns, byte* data, long bytes, bool exact)
    {
        WeightMatrix? packed = exact || columns == 0 ? null
            : rounded is not null && PackedKernels.Supports(format) ? queue is null
                ? rounded.Pack(format, rows, columns, data, bytes, team)
                : rounded.Pack(format, rows, columns, data, bytes, queue, () => Release(data, bytes))
            : IsSplit(format) ? queue is null
                ? split!.Pack(format, rows, columns, data, bytes, team)
                : split!.Pack(format, rows, columns, data, bytes, queue, () => Release(data, bytes))
            : null;
        if (packed is not null && queue is null)
        {
            Release(data, bytes);
        }

        placedBytes += bytes;
        progress?.Report(Math.Min(1, placedBytes / (double)Math.Max(1, allBytes)));
        return packed ?? WeightMatrix.Create(format, rows, columns, data, bytes, tuning: tuning);
    }

    /// <summary>Whether weights of a format are multiplied as integers. Floats are not where activations have 8 bits: with 16 they would be as fast.</summary>
    private bool IsSplit(TensorFormat format) =>
        split is not null && MultiScaleKernels.Supports(format) && !(rounded is not null && PackedKernels.Supports(format)) && (split.Passes == 2 || !MultiScaleKernels.Rounds(format));

    /// <summary>What has been packed need not stay in memory twice.</summary>
    private void Release(byte* data, long bytes)
    {
        if (source.IsFileMapping)
        {
            PackedMemory.ReleaseFilePages(data, bytes);
        }
    }

    /// <summary>A kernel that could not be made is tried again, and its failure told, where it is needed.</summary>
    private void AwaitAhead() => ahead?.ContinueWith(static task => task.Exception, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default).Wait();

    private static void ReadAhead(ModelSource source)
    {
        if (source.IsFileMapping)
        {
            foreach (TensorView tensor in source.Tensors)
            {
                PackedMemory.ReadAhead((byte*)tensor.Data, tensor.ByteCount);
            }
        }
    }
}
