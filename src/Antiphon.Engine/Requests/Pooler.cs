using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>
/// Makes one vector of the hidden states of a text, which come in chunks. States are added in the order of their tokens, in double precision, so the chunks
/// do not show in the result; after a preemption it goes on where it was.
/// </summary>
internal sealed class Pooler(Pooling pooling, int tokens)
{
    private readonly int first = pooling == Pooling.Last ? tokens - 1 : 0;
    private readonly int end = pooling == Pooling.First ? 1 : tokens;
    private double[] sum = [];

    /// <summary>The next token whose hidden state is needed.</summary>
    public int Next { get; private set; } = pooling == Pooling.Last ? tokens - 1 : 0;

    /// <summary>Whether it has all that it needs.</summary>
    public bool IsComplete => Next == end;

    /// <summary>Asks for the hidden states that it needs of a chunk.</summary>
    public void Want(StepBatch batch, int slice)
    {
        Slice chunk = batch.Slices[slice];
        int wanted = Math.Min(end, chunk.FirstRow + chunk.Count) - Next;
        if (wanted > 0)
        {
            batch.WantStates(slice, Next - chunk.FirstRow, wanted);
        }
    }

    /// <summary>Adds the hidden states of a chunk.</summary>
    public void Add(StepBatch batch, int slice)
    {
        int count = batch.Slices[slice].States;
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<float> state = batch.State(slice, i);
            if (sum.Length == 0)
            {
                sum = new double[state.Length];
            }

            for (int j = 0; j < state.Length; j++)
            {
                sum[j] += state[j];
            }
        }

        Next += count;
    }

    /// <summary>The vector.</summary>
    /// <exception cref="DecodingFailedException">The model did not give numbers.</exception>
    public float[] ToVector()
    {
        float[] vector = new float[sum.Length];
        for (int i = 0; i < vector.Length; i++)
        {
            vector[i] = (float)(sum[i] / (end - first));
            if (!float.IsFinite(vector[i]))
            {
                throw new DecodingFailedException("the hidden states of this text are not numbers");
            }
        }

        return vector;
    }
}
