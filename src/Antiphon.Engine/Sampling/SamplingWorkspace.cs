namespace Antiphon.Engine;

/// <summary>Scratch memory that all samplers of an engine use in turn, on the engine thread.</summary>
internal sealed class SamplingWorkspace(int vocabularySize)
{
    public Candidates Candidates { get; } = new(vocabularySize);

    public Candidates TopCandidates { get; } = new(vocabularySize);

    public float[] Scores { get; } = new float[vocabularySize];

    public float[] RawLogits { get; } = new float[vocabularySize];

    public Dry Dry { get; } = new();
}
