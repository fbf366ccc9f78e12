using System.Runtime.InteropServices;
using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Of which tokens of a slice the logits are wanted.</summary>
public enum LogitsWanted
{
    /// <summary>None: a prompt chunk that is not the last.</summary>
    None,

    /// <summary>The last token's: a decode step, or the end of a prompt.</summary>
    Last,

    /// <summary>Every token's: verification of drafts, scoring.</summary>
    All,
}

/// <summary>Tokens of one sequence inside a step batch.</summary>
/// <param name="Sequence">The sequence; the tokens are its newest tentative ones.</param>
/// <param name="Start">Index of the first token among the batch's tokens.</param>
/// <param name="Count">Number of tokens.</param>
/// <param name="FirstRow">Row of the first token in the sequence's cache: committed plus earlier tentative tokens.</param>
/// <param name="FirstLogits">Index of the slice's first row of logits, or -1.</param>
/// <param name="Wanted">Which logits are wanted.</param>
/// <param name="Visibility">Null: causal. Else an explicit rule among the slice's own tokens; everything before the slice is visible.</param>
public readonly record struct Slice(
    Sequence Sequence, int Start, int Count, int FirstRow, int FirstLogits, LogitsWanted Wanted, SliceVisibility? Visibility)
{
    /// <summary>The first token of the slice whose hidden state is wanted.</summary>
    public int StatesFrom { get; init; }

    /// <summary>Number of tokens, from that one on, whose hidden states are wanted.</summary>
    public int States { get; init; }

    /// <summary>Index of the slice's first row of hidden states.</summary>
    public int FirstState { get; init; }
}

/// <summary>Positions and visibility of tokens that do not simply follow each other: lookahead branches, draft trees.</summary>
/// <param name="Positions">Absolute position of each token of the slice.</param>
/// <param name="Visible">Row-major [count, count]: whether token i of the slice sees token j of the slice. The diagonal is true; j never exceeds i.</param>
public sealed record SliceVisibility(int[] Positions, bool[] Visible);

/// <summary>
/// What one forward pass computes: slices of several sequences, several tokens each. Prompt chunks, decode steps and draft verification are all slices.
/// Reused from step to step, so that a steady decode step allocates nothing.
/// </summary>
public sealed unsafe class StepBatch : IDisposable
{
    private readonly List<Slice> slices = [];
    private readonly List<int> tokens = [];
    private readonly List<int> positions = [];
    private NativeBuffer<float> logits = new(0);
    private NativeBuffer<float> maxima = new(0);
    private NativeBuffer<float> states = new(0);
    private int vocabularySize;
    private bool hasMaxima;
    private int width;

    /// <summary>The slices.</summary>
    public ReadOnlySpan<Slice> Slices => CollectionsMarshal.AsSpan(slices);

    /// <summary>The tokens of all slices, one slice after the other.</summary>
    public ReadOnlySpan<int> Tokens => CollectionsMarshal.AsSpan(tokens);

    /// <summary>The position of each token.</summary>
    public ReadOnlySpan<int> Positions => CollectionsMarshal.AsSpan(positions);

    /// <summary>Number of rows of logits that are wanted.</summary>
    public int LogitsRows { get; private set; }

    /// <summary>Number of hidden states that are wanted.</summary>
    public int StateRows { get; private set; }

    /// <summary>Forgets all slices.</summary>
    public void Clear()
    {
        slices.Clear();
        tokens.Clear();
        positions.Clear();
        LogitsRows = 0;
        StateRows = 0;
    }

    /// <summary>Adds tokens that follow the sequence's last one. The tokens become tentative in the sequence, whose room must have been reserved.</summary>
    /// <returns>The index of the slice.</returns>
    public int Add(Sequence sequence, ReadOnlySpan<int> added, LogitsWanted wanted) => Add(sequence, added, wanted, null);

    /// <summary>Adds tokens with explicit positions and visibility.</summary>
    /// <returns>The index of the slice.</returns>
    public int Add(Sequence sequence, ReadOnlySpan<int> added, LogitsWanted wanted, SliceVisibility? visibility)
    {
        ArgumentNullException.ThrowIfNull(sequence);
        ArgumentOutOfRangeException.ThrowIfZero(added.Length);
        if (visibility is not null && (visibility.Positions.Length != added.Length || visibility.Visible.Length != added.Length * added.Length))
        {
            throw new ArgumentException("positions and visibility must be as many as the tokens", nameof(visibility));
        }

        int firstRow = sequence.Tokens.Length;
        sequence.Append(added);
        int rows = wanted switch { LogitsWanted.None => 0, LogitsWanted.Last => 1, _ => added.Length };
        slices.Add(new Slice(sequence, tokens.Count, added.Length, firstRow, rows == 0 ? -1 : LogitsRows, wanted, visibility));
        LogitsRows += rows;
        tokens.AddRange(added);
        for (int i = 0; i < added.Length; i++)
        {
            positions.Add(visibility?.Positions[i] ?? firstRow + i);
        }

        return slices.Count - 1;
    }

    /// <summary>Asks for the hidden states of neighbouring tokens of a slice: what the head would read, behind the final norm. Once for a slice.</summary>
    /// <param name="slice">The slice.</param>
    /// <param name="first">The first of the tokens, counted from the slice's first.</param>
    /// <param name="count">Number of tokens, at least 1.</param>
    public void WantStates(int slice, int first, int count)
    {
        Slice chosen = slices[slice];
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, chosen.Count - first);
        if (chosen.States > 0)
        {
            throw new InvalidOperationException("the hidden states of this slice were asked for already");
        }

        slices[slice] = chosen with { StatesFrom = first, States = count, FirstState = StateRows };
        StateRows += count;
    }

    /// <summary>A hidden state of a slice: the first that was asked for is number 0.</summary>
    public ReadOnlySpan<float> State(int slice, int index)
    {
        Slice chosen = slices[slice];
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)chosen.States);
        return states.Span((long)(chosen.FirstState + index) * width, width);
    }

    /// <summary>The logits of a slice: of its last token, or, where all are wanted, of token <paramref name="index"/>. Writable: samplers work in place.</summary>
    public Span<float> Logits(int slice, int index = 0)
    {
        return logits.Span((long)LogitsRow(slice, index) * vocabularySize, vocabularySize);
    }

    /// <summary>The greatest of every <see cref="BlockMaxima.Length"/> logits of <see cref="Logits"/>, as they came from the model. Writable.</summary>
    public Span<float> Maxima(int slice, int index = 0)
    {
        int row = LogitsRow(slice, index);
        int blocks = BlockMaxima.Count(vocabularySize);
        if (!hasMaxima)
        {
            // A backend that left none.
            PrepareMaxima();
            for (int i = 0; i < LogitsRows; i++)
            {
                BlockMaxima.Find(logits.Span((long)i * vocabularySize, vocabularySize), maxima.Span((long)i * blocks, blocks));
            }
        }

        return maxima.Span((long)row * blocks, blocks);
    }

    /// <summary>Room for the logits of this batch: [<see cref="LogitsRows"/>, vocabulary]; a backend writes it.</summary>
    public float* PrepareLogits(int vocabulary)
    {
        vocabularySize = vocabulary;
        hasMaxima = false;
        return Room(ref logits, LogitsRows, vocabulary);
    }

    /// <summary>
    /// Room for the <see cref="BlockMaxima"/> of the logits: [<see cref="LogitsRows"/>, blocks]. A backend may write it behind <see cref="PrepareLogits"/>;
    /// where it does not, they are found when they are asked for.
    /// </summary>
    public float* PrepareMaxima()
    {
        hasMaxima = true;
        return Room(ref maxima, LogitsRows, BlockMaxima.Count(vocabularySize));
    }

    /// <summary>Room for the hidden states of this batch: [<see cref="StateRows"/>, width]; a backend writes it.</summary>
    public float* PrepareStates(int width)
    {
        this.width = width;
        return Room(ref states, StateRows, width);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        logits.Dispose();
        maxima.Dispose();
        states.Dispose();
    }

    private int LogitsRow(int slice, int index)
    {
        Slice chosen = slices[slice];
        int available = chosen.Wanted switch { LogitsWanted.None => 0, LogitsWanted.Last => 1, _ => chosen.Count };
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)available);
        return chosen.FirstLogits + index;
    }

    private static float* Room(ref NativeBuffer<float> buffer, int rows, int columns)
    {
        long needed = checked((long)rows * columns);
        if (needed > buffer.Length)
        {
            buffer.Dispose();
            buffer = new NativeBuffer<float>(needed);
        }

        return buffer.Pointer;
    }
}
