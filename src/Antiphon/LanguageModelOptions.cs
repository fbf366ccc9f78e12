using Antiphon.Engine;
using Antiphon.Models;

namespace Antiphon;

/// <summary>How a model is loaded and run. A property that is null takes what its text says.</summary>
public sealed record LanguageModelOptions
{
    /// <summary>The model's name for callers; null: the file's own name for it, or the file's name.</summary>
    public string? Name { get; init; }

    /// <summary>Compute threads, 1 to 1024, the engine's own included; null: one for each processor that this process may use.</summary>
    public int? Threads { get; init; }

    /// <summary>
    /// How products with weight matrices are computed. Default: <see cref="MatrixPrecision.Fast"/>, which rounds to bfloat16 where this processor has the instructions for it, is
    /// <see cref="MatrixPrecision.Int8"/> where it has AVX2 but not those,
    /// and rearranges the weights while loading (about half a second per gigabyte on two threads); <see cref="MatrixPrecision.Exact"/> gives the same bits on every processor
    /// and loads at once; <see cref="MatrixPrecision.Int8"/> multiplies quantised weights as the integers they are, with the same bits on every processor, after rearranging them likewise.
    /// </summary>
    public MatrixPrecision Precision { get; init; } = MatrixPrecision.Fast;

    /// <summary>
    /// How keys and values are kept in the cache. Default: <see cref="KvFormat.Auto"/>, what attention is fastest with at this <see cref="Precision"/>, 16 bits a number with
    /// <see cref="MatrixPrecision.Fast"/> and 32 with any other.
    /// </summary>
    public KvFormat KvFormat { get; init; } = KvFormat.Auto;

    /// <summary>
    /// Whether rearranging goes on while the model is already in use: it is ready in a fraction of a second, and the first answer waits for what is not done yet.
    /// False: loading ends when everything is rearranged. Default true. No answer depends on it.
    /// </summary>
    public bool PackInBackground { get; init; } = true;

    /// <summary>The engine: cache, batch, queue.</summary>
    public EngineOptions Engine { get; init; } = new();

    /// <summary>Sampling where a request says nothing; null: what the model's files recommend, else the model's own distribution.</summary>
    public SamplingOptions? DefaultSampling { get; init; }

    /// <summary>A chat template (Jinja) that replaces the model's own.</summary>
    public string? ChatTemplate { get; init; }

    /// <summary>Folders of LoRA adapters (PEFT) that are merged into the weights while loading.</summary>
    public IReadOnlyList<string> Adapters { get; init; } = [];

    /// <summary>
    /// File in which to keep which kernels are fastest on this machine (see <see cref="Antiphon.Kernels.Tuning.KernelTuning"/>); it need not exist. What it does not know is timed
    /// by the first answers, which it does not change. Null (default): the kernels that are usually fastest.
    /// </summary>
    public string? TuningFile { get; init; }
}
