using Antiphon.Kernels;
using Antiphon.Kernels.Tuning;

namespace Antiphon.Models;

/// <summary>How to load a model.</summary>
public sealed record ModelLoadOptions
{
    /// <summary>Compute threads, the caller's included; 0 (default) for one on each core that the process may use. Not used where <see cref="Team"/> is given.</summary>
    public int Threads { get; init; }

    /// <summary>A team to compute with, which the caller keeps and disposes; null (default) to start one that the model owns.</summary>
    public ComputeTeam? Team { get; init; }

    /// <summary>How keys and values are kept in the cache. Default: <see cref="KvFormat.Auto"/>.</summary>
    public KvFormat KvFormat { get; init; } = KvFormat.Auto;

    /// <summary>How products with weight matrices, and attention, are computed. Default: <see cref="MatrixPrecision.Exact"/>.</summary>
    public MatrixPrecision Precision { get; init; } = MatrixPrecision.Exact;

    /// <summary>
    /// Which kernels are fastest here; what is not known yet is found out while the model computes, and the caller writes it to its file (<see cref="KernelTuning.Save"/>).
    /// It must be for this machine and this number of threads. Null (default): the kernels that are usually fastest.
    /// </summary>
    public KernelTuning? Tuning { get; init; }

    /// <summary>
    /// Whether weights that <see cref="Precision"/> rearranges are rearranged while the model is already in use: it is ready sooner, and first answers wait for the weights
    /// that they need. Default false: a loaded model is quick at once.
    /// </summary>
    public bool PackInBackground { get; init; }

    /// <summary>Folders of PEFT adapters that are merged into the weights, one after the other.</summary>
    public IReadOnlyList<string> Adapters { get; init; } = [];

    /// <summary>Longest sequence in tokens; 0 (default) for what the model was made for, which it cannot exceed.</summary>
    public int ContextLength { get; init; }

    /// <summary>Bytes that snapshots of recurrent state may take in a cache, for models that have any; sequences replay tokens where a snapshot is missing. Default 256 MiB.</summary>
    public long RecurrentSnapshotBytes { get; init; } = 256L << 20;

    /// <summary>Changes the spec before weights are bound to it: for what a file's metadata cannot say. Null (default) takes the file's word.</summary>
    public Func<ModelSpec, ModelSpec>? AdjustSpec { get; init; }

    /// <summary>Told the share of the file's bytes that have their place in memory, from 0 to 1.</summary>
    public IProgress<double>? Progress { get; init; }
}

/// <summary>How products with weight matrices are computed.</summary>
public enum MatrixPrecision
{
    /// <summary>Weights as their format defines them, activations and sums in float32; the same bits on every processor.</summary>
    Exact,

    /// <summary>
    /// The fastest way that this processor has machine code for, which is generated for it; the weights are rearranged while loading. With AVX-512 and bfloat16 dot products: weights and
    /// activations rounded to bfloat16, sums in float32. With AVX2 but not those, and for half precision: as <see cref="Int8"/>. Several times
    /// as fast for prompts and batches. The same bits for every batch, but not on every processor. Where neither applies (other processors, no permission to generate code, a format without packed form or
    /// integer codes, routers of experts), the exact path stays. Attention likewise: on AMX with bfloat16, else with AVX2 with integers
    /// (see <see cref="KvFormat.I16"/>), without soft-cap and latent vectors.
    /// </summary>
    Fast,

    /// <summary>
    /// Quantised weights stay the integers they are, and a row of activations becomes integers of 16 bits with one scale, in products that are exact (multi-scale dequantisation, W8A16);
    /// the weights are rearranged while loading. Reads weights about as fast as memory gives them, so it is fastest for single answers; long prompts are faster with
    /// <see cref="Fast"/> where that rounds to bfloat16. The same bits for every batch and on every processor. Weights that are floats of 16 bits become integers of 12, with a power of two
    /// for each 32 of a row; float32, formats with code books and routers of experts stay on the exact path.
    /// </summary>
    Int8,

    /// <summary><see cref="Int8"/> with activations of 8 bits in one pass (W8A8): faster for batches and much less accurate. Floats of 16 bits stay on the exact path.</summary>
    Int8OnePass,
}

/// <summary>How keys and values are kept in a cache.</summary>
public enum KvFormat
{
    /// <summary>
    /// Where <see cref="MatrixPrecision.Fast"/> rounds products (but for latent vectors and layers with a soft-cap), what attention is fastest with: integers on AVX2 and AVX-512
    /// without AMX, else bfloat16. Elsewhere 32 bits.
    /// </summary>
    Auto = 0,

    /// <summary>32 bits: exact.</summary>
    F32 = 1,

    /// <summary>IEEE half precision.</summary>
    F16 = 2,

    /// <summary>bfloat16.</summary>
    BF16 = 3,

    /// <summary>
    /// 16-bit integers with one scale for each row, that is one head's key or value of one token: 12 bits and a sign of the row's greatest magnitude for keys, 11 for values. Nearer to
    /// the exact result than bfloat16, and attention adds up products of integers, exactly. Layers with latent vectors, a soft-cap or heads of more than 256 numbers keep 32 bits.
    /// </summary>
    I16 = 4,
}
