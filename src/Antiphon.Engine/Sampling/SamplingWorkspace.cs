using Antiphon.Kernels;

namespace Antiphon.Engine;

/// <summary>Scratch memory that all samplers of an engine use in turn, on the engine thread.</summary>
internal sealed class SamplingWorkspace(int vocabularySize)
{
    private readonly float[] heap = new float[BlockMaxima.Count(vocabularySize)];

    public Candidates Candidates { get; } = new(vocabularySize);

    public Candidates TopCandidates { get; } = new(vocabularySize);

    public float[] Scores { get; } = new float[vocabularySize];

    public float[] RawLogits { get; } = new float[vocabularySize];

    public float[] RawMaxima { get; } = new float[BlockMaxima.Count(vocabularySize)];

    public Dry Dry { get; } = new();

    /// <summary>Room for so many values, or for one of each block of a row where that is less.</summary>
    public Span<float> Heap(int count) => heap.AsSpan(0, Math.Min(count, heap.Length));
}
